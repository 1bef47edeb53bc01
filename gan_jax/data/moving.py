"""Moving digits: two digits of a set that bounce about in a frame, drawn in the jitted step as a toy is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import chance
from gan_jax.data.batches import order
from gan_jax.data.source import Field, Source, decode, label
from gan_jax.game import rng

SPEED = 0.1  # of the room that a digit has, a frame
PARTS = 2**10  # of a pixel
DIRECTIONS = 4096


def moving_digits(name: str, base: Source, frames: int = 20, side: int = 64) -> Source:
    """Return the source of clips x [frames, side, side, c] in which two digits of `base` bounce off the borders.

    Moving MNIST (Srivastava, Mansimov and Salakhutdinov 2015, arXiv 1502.04681), as their public code draws it: a digit
    begins anywhere in the frame, moves a tenth of the room that it has (the frame's side less its own) a frame, in any
    direction; at a border it stops, and goes back from there with the next frame. Where digits overlap, the brighter
    pixel is seen. Positions and speeds are whole numbers of 1/1024 pixel, in 4096 directions, so that the same clip has
    the same bits in every program.

    y is the pair of digits without their order, since a clip doesn't show which is first: 55 classes of ten digits.
    The clips of a training batch are two orders of the records, drawn anew; those that are held out are one for each
    record of the base's test split, always the same: that record with the one half the split away from it.
    """
    pairs, names = pairs_of(base.fields["y"])
    room = np.array([side - size for size in base.shape[:2]])

    def make(held_out, raw, key, i, b):
        digits, y = raw["x"], raw["y"]  # [b, 2, h, w, c], [b, 2]
        uniform = chance.of_records("moving", digits) if held_out else chance.of_batch(key, i, "moving", len(digits))
        at = jax.vmap(lambda u: bounced(*thrown(u, room), room, frames))(uniform(2, 3))  # [b, frames, 2, 2]
        x = jax.vmap(lambda digits, at: jax.vmap(lambda at: drawn(digits, at, side))(at))(digits, at)
        return decode({"x": x, "y": jnp.asarray(pairs)[y[:, 0], y[:, 1]]})

    fields = {"x": Field((frames, side, side, base.shape[2]), "video"), "y": label(len(names), names)}
    return Source(
        name,
        fields,
        n=base.n,
        pick=lambda key, i, b: jnp.stack([order(rng.at(key, k, "data"), i, b, base.n) for k in range(2)], -1),
        read=base.read,
        whole=base.whole,
        make=functools.partial(make, False),
        test=base.test and _held_out(name, fields, base.test, functools.partial(make, True)),
        nbytes=base.nbytes,
    )


def _held_out(name, fields, base, make) -> Source:
    """Return the source of one clip for each record of the base."""

    def read(indices):
        indices = np.asarray(indices)
        return base.read(np.stack([indices, (indices + base.n // 2) % base.n], -1))

    return Source(
        name,
        fields,
        n=base.n,
        pick=lambda key, i, b: order(rng.at(key, 0, "data"), i, b, base.n),
        read=read,
        whole=lambda: jax.tree.map(lambda a: np.stack([a, np.roll(a, -(len(a) // 2), 0)], 1), base.whole()),
        make=make,
        nbytes=2 * base.nbytes,
    )


def pairs_of(labels: Field) -> tuple[np.ndarray, list[str]]:
    """Return (the number of each pair of labels without their order [classes, classes], what the pairs are called)."""
    first, second = np.triu_indices(labels.classes)
    pairs = np.zeros((labels.classes, labels.classes), np.int32)
    pairs[first, second] = pairs[second, first] = np.arange(len(first))
    called = labels.names or range(labels.classes)
    return pairs, [f"{called[a]} and {called[b]}" for a, b in zip(first, second, strict=True)]


def thrown(u: jax.Array, room: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return where digits begin and how far they move a frame, both [digits, (y, x)], in 1/1024 pixel.

    u [digits, 3]: uniform in [0, 1). room [(y, x)]: how many pixels a digit can be moved by.
    """
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    steps = np.int32(np.round(SPEED * PARTS * room * np.stack([np.sin(angles), np.cos(angles)], -1)))
    return chance.below(u[:, :2], PARTS * room[None] + 1), jnp.asarray(steps)[chance.below(u[:, 2], DIRECTIONS)]


def bounced(start: jax.Array, step: jax.Array, room: jax.Array, frames: int) -> jax.Array:
    """Return the upper left corners [frames, digits, (y, x)], whole pixels from 0 to `room`, the first a step away."""
    end = jnp.asarray(PARTS * room, np.int32)[None]

    def move(carry, _):
        at, step = carry
        at = jnp.clip(at + step, 0, end)
        step = jnp.where((at == 0) | (at == end), -step, step)
        return (at, step), at // PARTS

    return jax.lax.scan(move, (start, step), length=frames)[1]


def drawn(digits: jax.Array, at: jax.Array, side: int) -> jax.Array:
    """Return the frame [side, side, c] with two digits [2, h, w, c] at their corners `at` [2, (y, x)], overlaid."""
    room = [side - size for size in digits.shape[1:3]]
    padded = jnp.pad(digits, ((0, 0), *((r, r) for r in room), (0, 0)))
    one = lambda a, at: jax.lax.dynamic_slice(a, (room[0] - at[0], room[1] - at[1], 0), (side, side, a.shape[-1]))
    return jnp.maximum(one(padded[0], at[0]), one(padded[1], at[1]))  # `max` over an axis is 100 times slower on a CPU
