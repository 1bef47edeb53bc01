"""Structural similarity of pairs of images, inside jit."""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.metrics.images import SIGMA, WINDOW


def ssim(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the structural similarity of each pair of images, x and y [n, h, w, c] in [-1, 1]: [n], 1 for equal ones.

    Wang, Bovik, Sheikh and Simoncelli 2004 (no arXiv id): the mean over pixels and channels, a Gaussian window of 11
    pixels without borders, K = 0.01 and 0.03 of the dynamic range. Of images smaller than the window it shrinks, and
    its sigma alike.
    """
    size = min(WINDOW, *x.shape[1:3])
    rows, columns = (_windows(n, size) for n in x.shape[1:3])
    blur = lambda x: jnp.einsum("ph,bhwc,qw->bpqc", rows, x, columns, precision="highest")
    a, b = (x + 1) / 2, (y + 1) / 2
    mean_a, mean_b = blur(a), blur(b)
    variances = blur(a**2) - mean_a**2 + blur(b**2) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return (likeness * (2 * covariance + 0.03**2) / (variances + 0.03**2)).mean((1, 2, 3))


def _windows(n, size):
    """Return the window at each place where it fits into n pixels: [n - size + 1, n]."""
    window = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * (SIGMA * size / WINDOW) ** 2))
    places = [np.pad(window / window.sum(), (at, n - size - at)) for at in range(n - size + 1)]
    return np.array(places, np.float32)
