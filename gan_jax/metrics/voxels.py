"""How alike solids are, as sets of voxels, inside jit."""

import jax
import jax.numpy as jnp


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
    """Return the share of solids b that are the nearest one of some solid a, of overlaps [n, m].

    Achlioptas et al. 2018, arXiv 1707.02392, who have distances of point clouds.
    """
    return jnp.zeros(overlaps.shape[1], jnp.float32).at[overlaps.argmax(1)].set(1).mean()
