"""SSIM in jit against windows one by one, and against what MS-SSIM has of it."""

import itertools
import math

import jax
import numpy as np
import pytest

from gan_jax.metrics import images
from gan_jax.metrics.ssim import ssim


def by_windows(x, y):
    """The SSIM of two images [h, w, c] in [-1, 1], window by window."""
    x, y = (x + 1) / 2, (y + 1) / 2
    h, w, channels = x.shape
    size = min(11, h, w)
    middle, sigma = (size - 1) / 2, 1.5 * size / 11
    window = np.array(
        [
            [math.exp(-((i - middle) ** 2 + (j - middle) ** 2) / (2 * sigma**2)) for j in range(size)]
            for i in range(size)
        ]
    )
    window, found = window / window.sum(), []
    for top, left, c in itertools.product(range(h - size + 1), range(w - size + 1), range(channels)):
        a, b = (image[top : top + size, left : left + size, c] for image in (x, y))
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
        cov = (window * (a - mean_a) * (b - mean_b)).sum()
        light = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
        found.append(light * (2 * cov + 9e-4) / (var_a + var_b + 9e-4))
    return np.mean(found)


@pytest.mark.parametrize("shape", [(13, 17, 2), (8, 9, 1)])
def test_ssim_by_windows(shape):
    """Images that share something, also smaller than the window; equal ones have 1, and it is symmetric."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (3, *shape)).astype(np.float32)
    y = (0.7 * x + 0.3 * rng.uniform(-1, 1, x.shape)).astype(np.float32)
    found = jax.jit(ssim)(x, y)
    np.testing.assert_allclose(found, [by_windows(*pair) for pair in zip(x, y, strict=True)], rtol=2e-5)
    np.testing.assert_allclose(found, images._similarity((x + 1.0) / 2, (y + 1.0) / 2)[0], rtol=2e-5)
    np.testing.assert_allclose(ssim(x, x), 1, rtol=1e-5)
    np.testing.assert_allclose(ssim(y, x), found, rtol=1e-5)
    assert (found < 0.95).all()
