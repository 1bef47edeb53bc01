"""Features of boxes: RoIAlign (He et al. 2017, arXiv 1703.06870)."""

import jax
import jax.numpy as jnp
import numpy as np


def pooled(features: jax.Array, box: jax.Array, size: int, samples: int = 2) -> jax.Array:
    """Return the features of boxes [b, n, size, size, c], out of those of pictures [b, h, w, c].

    box [b, n, 4]: (top, left, bottom, right) in parts of the sides. A cell is the mean of samples x samples places,
    each interpolated between the middles of the four pixels around it; beyond the outermost middles nothing changes.
    """
    h, w = features.shape[1:3]
    rows = _weights(box[..., 0], box[..., 2], h, size, samples)
    columns = _weights(box[..., 1], box[..., 3], w, size, samples)
    # products of matrices: on a CPU many times as fast, with their gradients, as to gather four pixels
    return jnp.einsum("bnjw,bniwc->bnijc", columns, jnp.einsum("bnih,bhwc->bniwc", rows, features))


def _weights(start, stop, pixels, size, samples):
    """Return what each pixel counts for in each cell of a stretch from `start` to `stop` [...]: [..., size, pixels]."""
    along = lambda n: np.arange(n, dtype=start.dtype).reshape(*[1] * start.ndim, n)
    at = (along(size * samples) + 0.5) / (size * samples)
    place = (start[..., None] + (stop - start)[..., None] * at) * pixels - 0.5
    away = jnp.clip(place, 0, pixels - 1)[..., None] - along(pixels)[..., None, :]
    return jnp.maximum(1 - jnp.abs(away), 0).reshape(*start.shape, size, samples, pixels).mean(-2)
