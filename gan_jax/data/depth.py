"""Pictures of solids: what is seen of them from one side."""

import functools

import jax
import jax.numpy as jnp

from gan_jax.data import colours
from gan_jax.data.recipes import decoded, suit, wrapped
from gan_jax.data.source import Field, Source
from gan_jax.errors import UserError

NEAR, FAR = 255, 64  # levels of grey; where nothing is it is black


@functools.cache
def sights(source: Source, axis: int = 1) -> Source:
    """Return the source of solids with `source`, the picture of x along one of its axes (0 to 2), from its beginning.

    Each pixel is grey by how near the first voxel is that is filled, from NEAR to FAR. Its sides are those of the two
    axes that are left. Raises UserError where x is no solid, or there is no such axis.
    """
    suit(source, "seen", ("voxels",), "source")
    if axis not in range(3):
        raise UserError(f"a solid is seen along axis 0, 1 or 2, not {axis}.")

    def fields(split):
        sides = [side for i, side in enumerate(split.shape[:3]) if i != axis]
        return {"source": Field((*sides, 1), "image")}

    return wrapped(source, "sights", fields, lambda batch, *_: {"source": seen(batch["x"], axis)})


def seen(x: jax.Array, axis: int = 1) -> jax.Array:
    """Return pictures [b, h, w, 1] in [-1, 1] of solids x [b, d, h, w, 1], as `sights` has them."""
    filled = jnp.moveaxis(colours.levels(x)[..., 0] > 127, axis + 1, 1)  # [b, depth, h, w]
    depth = filled.shape[1]
    levels = NEAR - filled.argmax(1) * (NEAR - FAR) // max(depth - 1, 1)
    return decoded(jnp.where(filled.any(1), levels, 0)[..., None])
