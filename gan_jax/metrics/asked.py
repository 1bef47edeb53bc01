"""Whether pictures show what they were asked for."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gan_jax import data
from gan_jax.metrics import classifier, lpips, vgg


class Classified(NamedTuple):
    """Asks the classifier of a set's labels."""

    source: Any

    @property
    def classifiers(self) -> tuple:
        """Return the sources whose classifiers must be trained before `right`."""
        return (self.source,)

    def right(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Return whether pictures x [n, ...] are seen as of these labels y [n]."""
        return classifier.load(self.source)(x).argmax(1) == y


def judge(source: Any) -> Any:
    """Return what tells whether pictures of a set show what y asks for: `right(x, y)`, and its `classifiers`.

    That is the set's own `judge`, or else its classifier; None where it has no labels or nothing held out.
    """
    return source.judge or (Classified(source) if source.classes and source.test else None)


def classifiers(source: Any) -> tuple:
    """Return the sources whose classifiers a set's judge asks; () where it has no judge."""
    by = judge(source)
    return by.classifiers if by else ()


def batches(source: Any, train: dict, test: dict, key: jax.Array, n: int = 500) -> dict[str, dict]:
    """Return {"seen": a batch, "held_out": a batch} of up to n rows, of what `measure` is given; for use inside jit.

    train, test: the raw records of the splits, of which an empty one is left out.
    """
    found = {"seen": data.batch(source, train, key, 0, min(n, source.n))} if train else {}
    if test:
        rows = jax.tree.map(lambda a: a[:n], test)
        found["held_out"] = source.test.make(rows, key, 0, len(jax.tree.leaves(rows)[0]))
    return found


def shares(source: Any, batch: dict, made: jax.Array) -> dict[str, jax.Array]:
    """Return {"asked": the share of pictures that show what y asks for, "data": that of the data itself}, or {}.

    Rows without a label (-1) don't count; without any label there is nothing to be asked for.
    """
    by, y = judge(source), batch.get("y")
    if not by or y is None:
        return {}
    share = lambda x: (by.right(x, y) & (y >= 0)).sum() / (y >= 0).sum()
    return {"asked": share(made), "data": share(batch["x"])}


def apart(batch: dict, made: jax.Array, again: jax.Array, perceptual: bool = False) -> dict[str, jax.Array]:
    """Return {"apart", "apart_data", ...}: how far two pictures of one caption are apart, on average.

    The pairs are up to 100 pictures `made` [b, h, w, c] of the captions of a batch, each with the one made `again`; of
    data ("..._data") pictures whose captions are the same, and without any NaN. "apart" is the root of the mean square,
    black and white being 1 apart; "lpips", beside it where `perceptual`, is LPIPS.
    """
    x, text = batch["x"][:100], batch["text"][:100]
    same = (text[:, None] == text[None]).all(-1) & ~jnp.eye(len(text), dtype=bool)
    pairs = {"": (made[:100], again[:100], jnp.ones(len(x), bool)), "_data": (x, x[same.argmax(1)], same.any(1))}
    of = {"apart": lambda a, b: jnp.sqrt(((a - b) ** 2).mean((1, 2, 3))) / 2}
    of |= {"lpips": functools.partial(lpips.distance, vgg.load(), vgg.heads())} if perceptual else {}
    mean = lambda f, a, b, there: f(a, b).mean(where=there)
    return {name + whose: mean(f, *pair) for name, f in of.items() for whose, pair in pairs.items()}
