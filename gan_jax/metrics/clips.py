"""How much the content of a clip changes from frame to frame."""

import jax
import jax.numpy as jnp


def content_distance(features: jax.Array) -> jax.Array:
    """Return the average distance of the features [n, t, f] of each two frames of a clip: [n].

    Tulyakov et al. 2018 (arXiv 1707.04993): the average content distance (ACD), there of OpenFace's features of faces
    or of the mean colour of a shape. 0 for a clip whose frames all have the same content.
    """
    apart = features[:, :, None] - features[:, None]  # [n, t, t, f]
    t = features.shape[1]
    squares = (apart**2).sum(3)
    distances = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
    return distances.sum((1, 2)) / (t * (t - 1))
