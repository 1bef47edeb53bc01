"""How near predicted frames of clips come to the true ones: peak signal-to-noise ratio, SSIM, sharpness."""

import jax
import jax.numpy as jnp

from gan_jax.metrics.ssim import ssim

LEAST = 1e-10  # of a mean error in [0, 1]: equal frames have 100 dB
MOVES = 0.05  # of the way from black to white, by which a pixel that moves changes


def decibels(error: jax.Array) -> jax.Array:
    """Return a mean error of frames in [0, 1] in dB below 1."""
    return -10 * jnp.log10(error + LEAST)


def sharpness(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return in dB how alike the edges of frames x and y [n, h, w, c] in [-1, 1] are: [n].

    Mathieu, Couprie and LeCun 2016 (arXiv 1511.05440): by the mean difference of |dx / di| + |dx / dj| of both, the
    steps to the neighbours above and on the left, of frames in [0, 1].
    """
    steps = lambda a: jnp.abs(a[:, 1:, 1:] - a[:, :-1, 1:]) + jnp.abs(a[:, 1:, 1:] - a[:, 1:, :-1])
    return decibels(jnp.abs(steps(x) - steps(y)).mean((1, 2, 3)) / 2)


def closeness(made: jax.Array, truth: jax.Array, last: jax.Array) -> dict[str, jax.Array]:
    """Return {"psnr", "ssim", "sharpness", "moving"} of frames [n, h, w, c] in [-1, 1] beside the true ones.

    last: the frame before. moving: the PSNR of all pixels together that changed since then by more than MOVES; NaN
    where none did. The others are means over frames.
    """
    errors = ((made - truth) / 2) ** 2
    where = (jnp.abs(truth - last).max(3, keepdims=True) > 2 * MOVES).astype(jnp.float32)
    moving = (where * errors).sum() / (where.sum() * errors.shape[3])  # 0 / 0: nothing can be said of them
    found = {"psnr": decibels(errors.mean((1, 2, 3))).mean(), "ssim": ssim(made, truth).mean()}
    return found | {"sharpness": sharpness(made, truth).mean(), "moving": decibels(moving)}
