"""How near a predicted frame comes: against sums over pixels by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.metrics import frames


def pictures(seed, *shape):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_sharpness_is_that_of_plain_loops():
    """Steps up and to the left of each inner pixel, added; the mean of their differences, in dB below white."""
    x, y = pictures(0, 2, 4, 5, 3), pictures(1, 2, 4, 5, 3)
    for found, a, b in zip(frames.sharpness(x, y), (x + 1) / 2, (y + 1) / 2, strict=True):
        step = lambda v, i, j, c: abs(v[i, j, c] - v[i - 1, j, c]) + abs(v[i, j, c] - v[i, j - 1, c])
        places = [(i, j, c) for i in range(1, 4) for j in range(1, 5) for c in range(3)]
        mean = sum(abs(step(a, *at) - step(b, *at)) for at in places) / len(places)
        assert found == pytest.approx(-10 * math.log10(mean), rel=1e-5)


def test_a_blur_is_less_sharp_than_a_shade():
    """Frames darker all over have the edges of the truth; blurred ones have lost them."""
    x = pictures(2, 1, 8, 8, 1) / 2
    blurred = (x + jnp.roll(x, 1, 2)) / 2
    assert frames.sharpness(x - 0.3, x)[0] > 60 > 20 > frames.sharpness(blurred, x)[0]


def test_moving_pixels_alone():
    """An error of 0.2 in [0, 1], where one pixel of sixteen moves; of such as stand still nothing is said, least of all 100 dB."""
    last = np.zeros((1, 4, 4, 1), np.float32)
    truth, made = last.copy(), last.copy()
    truth[0, 1, 2], truth[0, 3, 3] = 0.5, 0.05  # the second one changes too little to count
    made[0, 1, 2] = 0.1
    found = frames.closeness(made, truth, last)
    assert found["moving"] == pytest.approx(-20 * math.log10(0.2), rel=1e-4)
    assert found["psnr"] == pytest.approx(-10 * math.log10((0.2**2 + 0.025**2) / 16), rel=1e-4)
    same = frames.closeness(last, last, last)
    assert same["psnr"] == same["sharpness"] == pytest.approx(100) and same["ssim"] == 1 and np.isnan(same["moving"])
