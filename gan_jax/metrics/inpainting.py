"""Holes in pictures: how much the pixels around them weigh in a search for what was there, and how near it came."""

from typing import Literal

import jax.numpy as jnp
from jax import lax

Way = Literal["paper", "code", "none"]


def weights(hole, way: Way = "paper", window: int = 7):
    """Return how much each pixel weighs in the context of a hole [b, h, w, 1]: 0 in the hole, and around it

    paper: the share of its window that is missing, so most at the rim, and 0 far away (Yeh et al. 2017, arXiv
    1607.07539, eq. 3; 7x7). code: the share that is there, so 1 far away and about half at the rim: the opposite, as in
    what the authors released first. none: 1. Windows that reach beyond the border see the picture mirrored there.
    """
    hole = jnp.asarray(hole, jnp.float32)
    if way == "none":
        return 1 - hole
    reach = window // 2, (window - 1) // 2
    padded = jnp.pad(hole, ((0, 0), reach, reach, (0, 0)), "symmetric")
    missing = lax.reduce_window(padded, 0.0, lax.add, (1, window, window, 1), (1, 1, 1, 1), "VALID") / window**2
    return (1 - hole) * (missing if way == "paper" else 1 - missing)


def psnr(x, y, where=None):
    """Return the peak signal-to-noise ratio in dB of each picture x [b, h, w, c] beside y, both in [-1, 1]: [b].

    where [b, h, w, 1]: 1 where pixels count; by default all do. 10 log10(2^2 / mean squared error).
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    where = jnp.ones_like(x[..., :1]) if where is None else jnp.asarray(where).astype(x.dtype)
    errors = (where * (x - y) ** 2).sum((1, 2, 3)) / (where.sum((1, 2, 3)) * x.shape[-1])
    return 10 * jnp.log10(4 / errors)


def errors(made, x, mask):
    """Return {"psnr", "l1", "l2"}: how far pictures are from x in their hole [n, h, w, 1], each a mean over pictures.

    l1 and l2 are means over the hole's pixels and channels of the distance and its square, in pictures in [0, 1]; psnr
    is -10 log10 of l2 of each picture, in dB.
    """
    within = lambda error: (mask * error).sum((1, 2, 3)) / (mask.sum((1, 2, 3)) * x.shape[3])  # [n]
    l1, l2 = within(jnp.abs(made - x) / 2), within(((made - x) / 2) ** 2)
    return {"psnr": (-10 * jnp.log10(l2 + 1e-10)).mean(), "l1": l1.mean(), "l2": l2.mean()}
