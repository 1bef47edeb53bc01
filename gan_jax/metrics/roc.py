"""How well a score tells two kinds apart, whatever the threshold."""

import jax.numpy as jnp


def auroc(positive, negative):
    """Return the area under the ROC curve, in [0, 1]: how often a positive scores above a negative, ties by half.

    positive [n], negative [m]: scores. 0.5: no better than chance. (Mann and Whitney 1947's U over n m.)
    """
    return of_rows(jnp.concatenate([positive, negative]), jnp.arange(positive.size + negative.size) < positive.size)


def of_rows(score, positive):
    """Return the same area, where positive [n], bool, says which of the scores [n] are; inside jit."""
    ordered = jnp.sort(jnp.where(positive, jnp.inf, score))
    below, not_above = (jnp.searchsorted(ordered, score, side) for side in ("left", "right"))
    pairs = jnp.where(positive, below + not_above, 0).sum(dtype=jnp.float32)
    return pairs / (2 * positive.sum() * (~positive).sum(dtype=jnp.float32))
