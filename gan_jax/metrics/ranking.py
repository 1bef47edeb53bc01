"""How well scores put the rows of one kind before all others, inside jit."""

import jax.numpy as jnp


def average_precision(score, positive):
    """Return the area under the curve of precision over recall of scores [n]; positive [n]: whether a row is sought.

    The mean, over positive rows, of the share of positives among rows that score at least as much: no interpolation
    (Davis and Goadrich 2006), equal scores together. About the share of positives for scores by chance, 1 at best; NaN
    without positives.
    """
    order = jnp.argsort(-score)
    falling, right = -score[order], positive[order].astype(jnp.float32)
    end = jnp.searchsorted(falling, falling, side="right")  # [n]: how many score at least as much
    precision = jnp.cumsum(right)[end - 1] / end
    return (precision * right).sum() / right.sum()


def caught(score, positive, share):
    """Return what share of positive rows is among the share of all rows [n] that score highest, equal ones in order."""
    first = jnp.argsort(-score)[: max(1, round(share * len(score)))]
    return positive[first].sum() / positive.sum()
