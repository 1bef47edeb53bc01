"""Toys: mixtures of Gaussians in the plane, whose modes are known. Each function returns a `Source`."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data.source import Field, Source, label
from gan_jax.game import rng
from gan_jax.metrics.modes import Mixture


def mixture(name: str, means: np.ndarray, std: float) -> Source:
    """Return the even mixture of N(mean, std^2 I) over `means` [m, c]; a mean that is given k times weighs k times."""
    means = np.asarray(means, np.float32)

    def make(raw, key, i, b):
        which, noise = jax.random.split(jax.random.fold_in(rng.at(key, 0, "data"), i))
        drawn = jax.random.randint(which, (b,), 0, len(means), jnp.int32)
        centre = jnp.asarray(means)[drawn]
        return {"x": centre + std * rng.normal(noise, centre.shape), "y": jnp.asarray(labels)[drawn]}

    modes, labels, weights = np.unique(means, axis=0, return_inverse=True, return_counts=True)
    labels, shares = labels.reshape(-1).astype(np.int32), np.float32(weights / len(means))
    fields = {"x": Field(means.shape[1:], "points"), "y": label(len(modes))}
    return Source(name, fields, make=make, modes=Mixture(modes, std, shares))


def ring(
    name: str,
    modes: int = 8,
    radius: float = 2.0,
    std: float = 0.02,
    turn: float = 1.0,
    weights: int | Sequence[int] = 1,
) -> Source:
    """Return `modes` Gaussians on a circle, at even angles; weights: whole numbers [modes], where they are unequal."""
    angle = 2 * np.pi * np.arange(modes) / modes * turn
    means = (radius * np.stack([np.cos(angle), np.sin(angle)], -1)).round(6)
    return mixture(name, np.repeat(means, weights, axis=0), std)


def grid(name: str, side: int = 5, spacing: float = 2.0, std: float = 0.05) -> Source:
    """Return side x side Gaussians on a square lattice centred on 0."""
    at = spacing * (np.arange(side) - (side - 1) / 2)
    return mixture(name, np.stack(np.meshgrid(at, at), -1).reshape(-1, 2), std)


def spiral(name: str, modes: int = 50, turns: float = 1.5, radius: float = 2.0, std: float = 0.02) -> Source:
    """Return `modes` Gaussians at even distances along an Archimedean spiral, the last at `radius`."""
    t = np.sqrt((np.arange(modes) + 1) / modes)  # the arc grows with the square of the angle
    angle = 2 * np.pi * turns * t
    return mixture(name, (radius * t[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)).round(6), std)


def scattered(name: str, modes: int = 10, reach: float = 15.0) -> Source:
    """Return `modes` Gaussians anywhere in a square, the same for every number of them: AdaGAN's, arXiv 1701.02386.

    The means are uniform in [-reach, reach]^2. The variance is that of the authors' code (tolstikhin/adagan): reach
    divided by 3, 3, 8, 20 or 10 for 1 to 5 modes, and by 3 modes^2 for more.
    """
    means = np.random.default_rng(modes).uniform(-reach, reach, (modes, 2)).round(6)
    return mixture(name, means, math.sqrt(reach / {1: 3, 2: 3, 3: 8, 4: 20, 5: 10}.get(modes, 3 * modes**2)))
