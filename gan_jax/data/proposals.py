"""What a detector learns from: pictures, boxes that are proposed to it, and pictures with their things outlined."""

import functools

import jax.numpy as jnp
import numpy as np

from gan_jax.data import recipes
from gan_jax.data.source import Field, Source
from gan_jax.errors import UserError
from gan_jax.nets import boxes

MOVE, STRETCH = 0.4, 1.6  # of boxes around things: by parts of their sides, by factors up to this
LEAST = 0.05  # of a picture's sides: those of a box that is anywhere
STEPS = 2**10  # of a picture's side: corners are whole numbers of them, the same in every program


@functools.cache
def proposed(source: Source, n: int) -> Source:
    """Return the source of pictures with proposed boxes `proposals` [n, 4], to learn from.

    One half are those of the things, in turn, each of their sides stretched and their centres moved; of the others the
    centre is anywhere, and the logarithms of the sides are even, from LEAST of the picture's to all of it. They are
    drawn anew for each batch. Raises UserError where there are no boxes around things.
    """
    _suit(source, "given proposals", "proposals")

    def change(batch, uniform, _):
        box, there, u, i = batch["box"], batch["y"] >= 0, uniform(n, 4), jnp.arange(n)
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

    return recipes.wrapped(source, "proposals", lambda split: {"proposals": Field((n, 4), "series")}, change)


@functools.cache
def outlined(source: Source) -> Source:
    """Return the source whose x is the picture with the outlines of its things, and `source` the picture itself.

    So samples of a detector, what it finds drawn likewise, are compared with the truth. Raises UserError where there
    are no boxes around things.
    """
    _suit(source, "outlined", "source")
    change = lambda batch, *_: {"source": batch["x"], "x": boxes.outlined(batch["x"], batch["box"], batch["y"])}
    fields = lambda split: {"source": split.fields["x"]}
    return recipes.wrapped(source, "outlined", fields, change, "outlined", modes=None)


def _suit(source, recipe, new):
    recipes.suit(source, recipe, ("image",), new)
    if "box" not in source.fields:
        raise UserError(f"{source.name} has no boxes around things: choose a set that has, with data.boxed.")
