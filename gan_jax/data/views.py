"""Pairs of views of one object, for nets that turn it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import chance
from gan_jax.data.composed import labelled
from gan_jax.data.source import Field, Source
from gan_jax.errors import UserError


@functools.cache
def views(source: Source) -> Source:
    """Return the source of pairs of views: `source` is another view of x's object, `turn` [2] the way from it to x.

    y says which object it is, the field `angle` from where it is seen, in degrees; turn is (cos, sin) of x's angle less
    that of the other view. That one is drawn evenly of the views in the same split. Raises UserError where there are no
    images with these fields, or an object has one view alone.
    """
    lacking = [name for name in ("y", "angle") if name not in source.fields or source.fields[name].shape != ()]
    names = () if lacking else source.fields["angle"].names
    lacking += ["angle"] * (names != tuple(map(str, range(len(names)))))  # numbers of classes, which are no degrees
    if isinstance(source.fields["x"], dict) or source.kind != "image" or lacking:
        raise UserError(
            f"{source.name} has no views of objects: it takes images, which object each shows, its angle in degrees.\n"
            f"Where it has these, say which features they are: {source.name},y=FEATURE,angle=FEATURE"
        )

    def pick(key, i, b):
        y, by_object, first, count, place = map(jnp.asarray, _objects(source))
        at = source.pick(key, i, b)
        of = y[at]
        further = 1 + chance.below(chance.of_batch(key, i, "views", b)(), count[of] - 1)
        return jnp.stack([at, by_object[first[of] + (place[at] + further) % count[of]]], 1)

    def make(raw, key, i, b):
        x, other = (source.make({name: a[:, k] for name, a in raw.items()}, key, i, b) for k in (0, 1))
        turn = jnp.deg2rad((x["angle"] - other["angle"]).astype(jnp.float32))
        return x | {"source": other["x"], "turn": jnp.stack([jnp.cos(turn), jnp.sin(turn)], 1)}

    return dataclasses.replace(
        source,
        fields=source.fields | {"source": source.fields["x"], "turn": Field((2,), "row", names=("cos", "sin"))},
        pick=pick,
        make=make,
        test=source.test and views(source.test),
    )


@functools.cache
def _objects(source):
    """Return y of each record, the records object by object, where each object begins there, how many views it has, and
    which of them a record is: all in int32.
    """
    y = np.asarray(labelled(source).whole()["y"])
    count = np.bincount(y)
    if (count == 1).any():
        raise UserError(f"{source.name} has a split with one view of object {count.tolist().index(1)}: two are a pair.")
    by_object, first = np.argsort(y, kind="stable"), np.cumsum(count) - count
    place = np.empty_like(by_object)
    place[by_object] = np.arange(len(y)) - first[y[by_object]]
    return tuple(a.astype(np.int32) for a in (y, by_object, first, count, place))


def view_pairs(source: Source, most: int) -> np.ndarray:
    """Return the indices [m, 2] of all pairs (x, another view of its object), shuffled, the first `most` of them."""
    y, *_ = _objects(source)
    found = np.argwhere((y[:, None] == y[None]) & ~np.eye(len(y), dtype=bool)).astype(np.int32)
    return np.random.default_rng(0).permutation(found)[:most]


def nearest_view(train: dict, test: dict) -> jax.Array:
    """Return of each record of `test` the index of that of `train` with the same object and the nearest angle: [m].

    Both are raw records with y and angle; for use inside jit.
    """
    apart = jnp.abs((test["angle"][:, None] - train["angle"][None] + 180) % 360 - 180)
    return (apart + 360 * (test["y"][:, None] != train["y"][None])).argmin(1)
