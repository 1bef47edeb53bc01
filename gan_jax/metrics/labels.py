"""What is measured by the labels of records, of which some may have none (-1), and of samples."""

import jax
import jax.numpy as jnp

from gan_jax.data.tokens import SPECIAL, UNK


def agreement(said, y):
    """Return the share of the records with a label y [n] for which said [n] is that label."""
    return ((said == y) & (y >= 0)).sum() / (y >= 0).sum()


def known(who):
    """Return which rows say who it is [n]: labels [n] that are not missing, names in tokens [n, t] that are known.

    Names that training never saw are alike, <unk> through and through, and so are missing labels: they say nothing. A
    name is known where more than half of it is: of its letters, or of its words.
    """
    return who >= 0 if who.ndim == 1 else (who == UNK).sum(1) < (who >= len(SPECIAL)).sum(1)


def asked(draw, key, classes, n=2000):
    """Return samples [classes, about n / classes, ...], at least ten of each label, drawn one of each at a time.

    draw: (key, y [classes]) -> x [classes, ...].
    """
    keys = jax.random.split(key, max(10, n // classes))
    return jax.lax.map(lambda key: draw(key, jnp.arange(classes, dtype=jnp.int32)), keys).swapaxes(0, 1)


def within(x, y, classes):
    """Return how much the records x [n, ...] of one label y [n] differ: their mean square from the label's mean."""
    x = x.reshape(len(x), -1)
    of = jax.nn.one_hot(y, classes, dtype=jnp.float32)  # [n, classes]; of records without a label 0
    mean = (of.T @ x) / jnp.maximum(of.sum(0), 1)[:, None]
    return (((x - of @ mean) ** 2).mean(1) * (y >= 0)).sum() / (y >= 0).sum()
