"""Larger images: the same records, each pixel a square."""

import jax
import numpy as np
import pytest

from gan_jax import data


@pytest.mark.parametrize("held_out", [False, True])
def test_every_pixel_becomes_a_square(held_out):
    """Rows and labels are those of the digits, whichever way they are read; what the cache keeps has another name."""
    small, large = (data.load(name).test if held_out else data.load(name) for name in ("digits", "digits16"))
    assert large.shape == (16, 16, 1) and large.n == small.n and large.classes == 10
    assert large.nbytes == sum(a.nbytes for a in data.resident(large).values())
    assert large.fingerprint not in ("", small.fingerprint)
    indices = np.array([[3, 5], [0, 7]])
    of_small, of_large = (source.make(source.read(indices), jax.random.key(0), 0, 2) for source in (small, large))
    assert of_large["x"].shape == (2, 2, 16, 16, 1)
    for corner in (0, 1):
        np.testing.assert_array_equal(of_large["x"][..., corner::2, 1 - corner :: 2, :], of_small["x"])
    np.testing.assert_array_equal(of_large["y"], of_small["y"])
    np.testing.assert_array_equal(data.take(data.resident(large), indices)["x"], large.read(indices)["x"])
