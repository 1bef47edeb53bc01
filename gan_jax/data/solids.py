"""Primitives: boxes, balls and cylinders as voxels, with a label, that need no download."""

import numpy as np

from gan_jax.data.composed import of_arrays
from gan_jax.data.source import Field, Source, label

NAMES = "box", "ball", "cylinder"


def primitives(name: str, n: int = 600, held_out: int = 150, side: int = 16) -> Source:
    """Return n boxes, balls and upright cylinders x [side, side, side, 1], y which of them it is.

    `held_out` more are the test split. Sizes and places are drawn; the axis of a cylinder is the last one. All are the
    same in every process.
    """
    generator = np.random.default_rng(0)
    y = generator.integers(len(NAMES), size=n + held_out).astype(np.int32)
    x = np.stack([solid(generator, NAMES[one], side) for one in y])
    raw = {"x": 255 * x[..., None].astype(np.uint8), "y": y}
    fields = {"x": Field((side, side, side, 1), "voxels"), "y": label(len(NAMES), NAMES)}
    test = of_arrays(name, fields, {k: a[n:] for k, a in raw.items()})
    return of_arrays(name, fields, {k: a[:n] for k, a in raw.items()}, test)


def solid(generator: np.random.Generator, what: str, side: int) -> np.ndarray:
    """Return which voxels [side, side, side] lie in one, bool; its centre is a corner of voxels (of an even side)."""
    reach = generator.uniform(side / 6, side / 2.5, 3)  # from the centre, along each axis
    if what != "box":
        reach[1] = reach[0]
    if what == "ball":
        reach[2] = reach[0]
    room = side / 2 - reach
    centre = (side - 1) / 2 + np.trunc(generator.uniform(-room, room))
    away = np.abs(np.indices((side,) * 3) - centre[:, None, None, None]) / reach[:, None, None, None]
    if what == "box":
        return away.max(0) <= 1
    if what == "ball":
        return (away**2).sum(0) <= 1
    return ((away[:2] ** 2).sum(0) <= 1) & (away[2] <= 1)
