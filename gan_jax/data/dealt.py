"""Splits that every run draws for itself: which records are held out is a function of its key."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data.batches import order
from gan_jax.data.source import Source
from gan_jax.errors import UserError
from gan_jax.game import rng


@functools.cache
def _labels(source):
    y = np.asarray(source.whole()["y"]) if source.classes and source.n else np.zeros(0, int)
    if len(np.unique(y[y >= 0])) < 2:
        raise UserError(f"{source.name} has no records of two classes, one of which could be the rare one.")
    return y


def rarest(source: Source) -> int:
    """Return the class that fewest records have, the first of several; raise UserError where there is one class."""
    y = _labels(source)
    values, counts = np.unique(y[y >= 0], return_counts=True)
    return int(values[counts.argmin()])


def _sides(source, held, few):
    """Return of (the rarest class, all others) the records, and how many of them are held out and trained on."""
    y, rare = _labels(source), rarest(source)
    for rows, most in ((np.flatnonzero(y == rare), few), (np.flatnonzero((y != rare) & (y >= 0)), 0)):
        out = round(held * len(rows))
        if not 0 < out < len(rows):
            raise UserError(f"{source.name}: {held:g} of {len(rows)} records of a class leaves none of it on one side.")
        yield rows, out, min(most or len(rows), len(rows) - out)


def dealt(source: Source, key: jax.Array, held: float, few: int = 0) -> tuple[tuple, tuple]:
    """Return ((rare, others) that are trained on, (rare, others) held out), indices of records, a function of the key.

    Rare are records of the rarest class. A share `held` is held out of these, and of all others. few: how many rare
    ones are trained on at most (0: all that are not held out). A record without a label (-1) is on neither side. Raises
    UserError where there is one class, or a side would have none of it.
    """
    known, out = [], []
    for i, (rows, n, kept) in enumerate(_sides(source, held, few)):
        shuffled = jax.random.permutation(rng.at(key, i, "held"), jnp.asarray(rows, jnp.int32))
        known.append(shuffled[n : n + kept])
        out.append(shuffled[:n])
    return tuple(known), tuple(out)


@functools.cache
def redealt(source: Source, held: float, few: int = 0) -> Source:
    """Return the source of the records that `dealt` says are trained on, each run its own; a test split is left aside.

    `test` is all of the records, of which `dealt` says which ones are held out. Raises UserError as `dealt` does.
    """

    def pick(key, i, b):
        rows = jnp.concatenate(dealt(source, key, held, few)[0])
        return rows[order(rng.at(key, 0, "data"), i, b, n)]

    n = sum(kept for *_, kept in _sides(source, held, few))
    every = dataclasses.replace(source, test=None)
    return dataclasses.replace(source, n=n, pick=pick, test=every)
