"""Boxes that are proposed to a detector, as selective search would do it: some around the things, others anywhere."""

import functools

import jax.numpy as jnp
import numpy as np

from gan_jax.data import recipes
from gan_jax.data.source import Field, Source
from gan_jax.errors import UserError

MOVE, STRETCH = 0.4, 1.6  # of boxes around things: by parts of their sides, by factors up to this
LEAST = 0.05  # of a picture's sides: those of a box that is anywhere
STEPS = 2**10  # of a picture's side: corners are whole numbers of them, the same in every program


@functools.cache
def proposed(source: Source, n: int, held_out: int) -> Source:
    """Return the source of pictures with proposed boxes `proposals` [n, 4], of those that are held out so many.

    One half are those of the things, in turn, each of their sides stretched and their centres moved; of the others the
    centre is anywhere, and the logarithms of the sides are even, from LEAST of the picture's to all of it. They are
    drawn anew for each batch, those of records that are held out once for all. Raises UserError where there are no
    boxes around things.
    """
    recipes.suit(source, "proposed boxes", ("image",), "proposals")
    if "box" not in source.fields:
        raise UserError(f"{source.name} has no boxes around things: choose a set that has, with data.boxed.")

    def change(batch, uniform, is_held_out):
        box, there = batch["box"], batch["y"] >= 0
        u, i = uniform(held_out if is_held_out else n, 4), jnp.arange(held_out if is_held_out else n)
        things, some = jnp.argsort(~there, stable=True), there.sum(1, keepdims=True)  # the things come first
        which = jnp.take_along_axis(things, i[None] // 2 % jnp.maximum(some, 1), 1)
        of = jnp.take_along_axis(box, which[..., None], 1)
        size = of[..., 2:] - of[..., :2]
        near = (of[..., :2] + of[..., 2:]) / 2 + size * MOVE * (2 * u[..., :2] - 1)
        about = (some[..., None] > 0) & (i % 2 == 0).reshape(1, -1, 1)
        size = jnp.where(about, size * STRETCH ** (2 * u[..., 2:] - 1), LEAST ** u[..., 2:])
        at = jnp.where(about, near, u[..., :2])
        corners = jnp.concatenate([at - size / 2, at + size / 2], -1)
        return {"proposals": jnp.round(jnp.clip(corners, 0, 1) * STEPS) / np.float32(STEPS)}

    fields = lambda split: {"proposals": Field((held_out if split is source.test else n, 4), "series")}
    return recipes.wrapped(source, "proposals", fields, change)
