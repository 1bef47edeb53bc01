"""How alike solids are, as sets of voxels, inside jit."""

import jax
import jax.numpy as jnp

from gan_jax.metrics import ranking


def overlaps(a, b, batch=256):
    """Return the intersection over union, in [0, 1], of each pair of solids a [n, ...] and b [m, ...], bools: [n, m].

    `batch` of b are compared at once. Of two empty solids it is 0.
    """
    a, b = (x.reshape(len(x), -1) for x in (a, b))
    rows = a.astype(jnp.float32)
    sizes = rows.sum(1)

    def with_all(one):
        both = rows @ one.astype(jnp.float32)
        return both / jnp.maximum(sizes + one.sum() - both, 1)

    return jax.lax.map(with_all, b, batch_size=batch).T


def coverage(overlaps):
    """Return the share of solids b that are the nearest one of some solid a, of overlaps [n, m], and share a voxel.

    Achlioptas et al. 2018, arXiv 1707.02392, who have distances of point clouds.
    """
    near = (overlaps.max(1) > 0).astype(jnp.float32)  # of what overlaps with nothing the first would be the nearest
    return jnp.zeros(overlaps.shape[1], jnp.float32).at[overlaps.argmax(1)].max(near).mean()


def overlap(a, b):
    """Return the intersection over union [n] of solids a and b [n, ...], bools, row by row; of two empty ones 0."""
    both, either = ((of.reshape(len(a), -1).sum(1)) for of in (a & b, a | b))
    return both / jnp.maximum(either, 1)


def average_precision(values, truth, batch=32):
    """Return the average precision [n] with which `values` [n, ...] rank the filled voxels of `truth` [n, ...], bools.

    The sum over thresholds of precision, times the recall that is won at each; voxels of one value count at once. Of an
    empty solid it is 0.
    """

    def of_one(values_truth):
        values, truth = values_truth
        return jnp.where(truth.any(), ranking.average_precision(values, truth), 0)

    rows = values.reshape(len(values), -1), truth.reshape(len(truth), -1)
    return jax.lax.map(of_one, rows, batch_size=batch)
