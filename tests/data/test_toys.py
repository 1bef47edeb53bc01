"""Toys: each is the mixture that it says."""

import functools
import math

import jax
import numpy as np
import pytest
from oracle import chi_square_is_small

from gan_jax import data
from gan_jax.data import toys

KEY = jax.random.key(0)


@functools.cache
def draw(name, n=40_000):
    return np.asarray(jax.jit(lambda: data.draw(data.load(name), KEY, n))()["x"], np.float64)


def nearest(x, means):
    return np.linalg.norm(x[:, None] - means[None], axis=-1).argmin(1)


@pytest.mark.parametrize(
    "name, modes, std",
    [
        ("ring8", 8, 0.02), ("ring8_unit", 8, 0.01), ("ring8_notebook", 7, 0.01), ("ring5", 5, 0.02),
        ("ring8_unbalanced", 8, 0.02), ("grid25", 25, 0.05), ("spiral", 50, 0.02), ("gaussians7", 7, (15 / 147) ** 0.5), ("gaussians10", 10, 0.05**0.5),
    ],
)  # fmt: skip
def test_toy_is_its_mixture(name, modes, std):
    """Around every mean: as many samples as its weight says, mean at the mean, covariance std^2 I."""
    source, x = data.load(name), draw(name)
    means = np.float64(source.modes.means)
    assert means.shape == (modes, 2) and source.modes.std == std and source.shape == (2,) and x.shape == (40_000, 2)
    at = nearest(x, means)
    weights = np.full(modes, 1 / modes)
    if name == "ring8_unbalanced":
        angle = np.arctan2(means[:, 1], means[:, 0]) % (2 * np.pi - 1e-3)
        weights = (np.round(angle / (2 * np.pi) * 8) + 1) / 36
        assert sorted(weights * 36) == pytest.approx(range(1, 9))
    if name == "ring8_notebook":
        weights = np.where(np.linalg.norm(means - [1, 0], axis=1) < 1e-6, 2 / 8, 1 / 8)
        assert sorted(weights) == [1 / 8] * 6 + [2 / 8]
    assert chi_square_is_small(np.bincount(at, minlength=modes), weights * 40_000)
    np.testing.assert_allclose(source.modes.shares, weights, rtol=1e-6)
    for k, mean in enumerate(means):
        off = x[at == k] - mean
        assert (np.abs(off.mean(0)) < 4.5 * std / math.sqrt(len(off))).all()
        np.testing.assert_allclose(off.T @ off / len(off) / std**2, np.eye(2), atol=5 * math.sqrt(2 / len(off)))


@pytest.mark.parametrize(
    "name, radius, n", [("ring8", 2, 8), ("ring8_unit", 1, 8), ("ring8_notebook", 1, 7), ("ring30", 2, 30)]
)
def test_ring(name, radius, n):
    """The means are on the circle at even angles, one of them at angle 0."""
    means = data.load(name).modes.means
    np.testing.assert_allclose(np.hypot(*means.T), radius, rtol=1e-6)
    angles = np.sort((np.arctan2(means[:, 1], means[:, 0]) + 0.1) % (2 * np.pi))
    np.testing.assert_allclose(angles - 0.1, 2 * np.pi * np.arange(n) / n, atol=1e-5)


def test_notebook_ring_is_that_of_the_notebook():
    """Eight angles over [0, 2 pi] with both ends: the first and the last mean are one."""
    angles = np.linspace(0, 2 * np.pi, 8)
    means = np.unique(np.stack([np.cos(angles), np.sin(angles)], 1).round(5) + 0.0, axis=0)
    ours = data.load("ring8_notebook").modes.means
    assert len(means) == 7
    np.testing.assert_allclose(ours[np.lexsort(ours.round(5).T)], means[np.lexsort(means.T)], atol=1e-5)


def test_grid():
    """25 means at -4, -2, 0, 2, 4 in both coordinates."""
    means = {tuple(m) for m in data.load("grid25").modes.means.tolist()}
    assert means == {(float(x), float(y)) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}


def test_moments_of_the_ring():
    """Mean 0 and covariance (r^2 / 2 + std^2) I."""
    x = draw("ring8")
    np.testing.assert_allclose(x.mean(0), 0, atol=4 * math.sqrt(2 / 40_000))
    np.testing.assert_allclose(x.T @ x / len(x), (2 + 0.02**2) * np.eye(2), atol=4 * math.sqrt(2 / 40_000))


def test_toy_batches():
    """A toy's batch is a function of (key, i): float32 [b, 2], deterministic, other for other keys and numbers."""
    source = data.load("ring8")
    one = lambda key, i: np.asarray(data.batch(source, {}, key, i, 6)["x"])
    assert one(KEY, 3).shape == (6, 2) and one(KEY, 3).dtype == np.float32
    np.testing.assert_allclose(one(KEY, 3), jax.jit(lambda: data.batch(source, {}, KEY, 3, 6))()["x"], rtol=1e-6)
    assert (one(KEY, 3) != one(KEY, 4)).any() and (one(KEY, 3) != one(jax.random.key(1), 3)).any()
    assert data.resident(source) == {} and source.fits and source.classes == 8


def test_a_toy_s_label_is_its_mode():
    """y is the number of the mode, in the order of `modes`, also where a mean is given twice."""
    for name in ("ring8_notebook", "ring8_unbalanced", "grid25"):
        source = data.load(name)
        drawn = data.draw(source, KEY, 500)
        assert (nearest(np.asarray(drawn["x"]), source.modes.means) == np.asarray(drawn["y"])).all()
        assert source.classes == len(source.modes.means) and drawn["y"].dtype == np.int32


def test_repeated_modes_weigh_double():
    """`mixture` draws a mean that is given twice twice as often, and tells it once."""
    source = toys.mixture("twice", [[0.0], [5], [5], [9]], 0.0)
    x = np.asarray(data.draw(source, KEY, 8000)["x"])[:, 0]
    assert source.modes.means.ravel().tolist() == [0, 5, 9]
    assert chi_square_is_small(np.array([(x == m).sum() for m in (0, 5, 9)]), np.array([2000, 4000, 2000]))


def test_few_gaussians_have_the_published_variances():
    """Those of the code of AdaGAN for a reach of 15; their means lie in the square, others for each number of them."""
    found = [data.load(f"gaussians{n}").modes for n in range(1, 6)]
    np.testing.assert_allclose([of.std**2 for of in found], [5, 5, 15 / 8, 15 / 20, 1.5])
    assert all(len(of.means) == n and np.abs(of.means).max() <= 15 for n, of in enumerate(found, 1))
    assert not np.allclose(found[1].means[0], found[2].means[0])
