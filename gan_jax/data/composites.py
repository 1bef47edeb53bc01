"""The data of blending: pictures with a part that was pasted in out of another light."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import chance, colours, recipes
from gan_jax.data.source import Field, Source
from gan_jax.errors import UserError


@functools.cache
def pasted(source: Source, part: float = 0.5, light: float = 0.4) -> Source:
    """Return the source for blending: `source` is x with its middle out of `other`, the same picture in another light.

    other: each channel of x, stretched around mid-grey by a factor drawn from 1 - light to 1 + light, then moved by up
    to `light` of half the range, and cut to the range: as if the same place had been photographed at another time, as
    GP-GAN's pairs were (Wu et al. 2019, arXiv 1703.07195). part: of each side that the box takes. `mask` [h, w, 1] is 1
    in the box. Raises UserError where there are no images, or the box or the light is none.
    """
    recipes.suit(source, "pasted", ("image",), "source", "mask", "other")
    if not (0 < part < 1 and 0 < light < 1):
        raise UserError(f"a box takes a part between 0 and 1, in a light between 0 and 1, not {part} and {light}.")

    def change(batch, uniform, _):
        x = batch["x"]  # [b, h, w, c]
        h, w, c = x.shape[1:]
        other = recipes.decoded(relit(colours.levels(x), uniform(2, 1, 1, c), light))
        inside = recipes.HOLES["centre"](None, h, w, part, part)[..., None]  # [1, h, w, 1]
        mask = jnp.broadcast_to(inside, (*x.shape[:3], 1)).astype(np.float32)
        return {"other": other, "source": jnp.where(inside, other, x), "mask": mask}

    def fields(split):
        x = split.fields["x"]
        return {"other": x, "source": x, "mask": Field((*split.shape[:2], 1), "image")}

    return recipes.wrapped(source, "pasted", fields, change)


def relit(v: jax.Array, u: jax.Array, light: float) -> jax.Array:
    """Return levels v [b, h, w, c] in another light; u [b, 2, 1, 1, c] in [0, 1): at 1/2 they stay as they are."""
    most = round(256 * light)
    factor, move = (chance.below(u[:, i], 2 * most + 1) - most for i in range(2))  # 1/256 of themselves, 1/2 level
    return jnp.clip(((v - 128) * (256 + factor) + 128 * (256 + move) + 128) >> 8, 0, 255)
