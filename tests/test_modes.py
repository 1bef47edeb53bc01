"""Mode coverage of samplers whose answer is known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import data, metrics

MEANS, STD = data.load("ring8").modes


def by_loops(x, means, std):
    """Return modes, high_quality and reverse_kl, one sample at a time."""
    counts = [0] * len(means)
    for point in x:
        distances = [math.dist(point, mean) for mean in means]
        if min(distances) <= 3 * std:
            counts[distances.index(min(distances))] += 1
    shares = [c / sum(counts) for c in counts if c]
    kl = sum(p * math.log(p * len(means)) for p in shares) if shares else math.inf
    return {"modes": sum(c > 0 for c in counts), "high_quality": sum(counts) / len(x), "reverse_kl": kl}


def test_small_case():
    """Four samples near three means, by hand: two at the first, one at the third, one too far from all."""
    means = jnp.float32([[0, 0], [10, 0], [0, 10]])
    x = jnp.float32([[0.1, 0], [0, -2.9], [0, 10.5], [5, 5]])
    scores = metrics.coverage(x, means, 1.0)
    kl = 2 / 3 * math.log(2 / 3 * 3) + 1 / 3 * math.log(1 / 3 * 3)
    assert (int(scores["modes"]), float(scores["high_quality"])) == (2, 0.75)
    np.testing.assert_allclose(scores["reverse_kl"], kl, rtol=1e-6)


def test_three_std_and_the_nearest_mean():
    """3 std is the edge of high quality; where two means are that near, the nearest gets the sample."""
    means = jnp.float32([[0, 0], [2, 0]])
    inside, outside = ([[-3 * s, 0.0]] for s in (0.9999, 1.0001))
    assert metrics.coverage(jnp.float32(inside), means, 1.0)["high_quality"] == 1
    assert metrics.coverage(jnp.float32(outside), means, 1.0)["high_quality"] == 0
    assert metrics.coverage(jnp.float32([[0.9, 0], [0.8, 0], [1.1, 0], [1.2, 0]]), means, 1.0)["reverse_kl"] < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_by_loops(seed):
    """Random samples around random means, against plain loops."""
    rng = np.random.default_rng(seed)
    means, x = rng.normal(size=(6, 2)), rng.normal(size=(40, 2))
    scores = jax.jit(metrics.coverage)(jnp.float32(x), jnp.float32(means), 0.15)
    for name, value in by_loops(x, means, 0.15).items():
        np.testing.assert_allclose(scores[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("name, modes", [("ring8", 8), ("ring8_unit", 8), ("ring8_notebook", 7), ("grid25", 25)])
def test_perfect_sampler(name, modes):
    """The data itself: every mode, and 1 - exp(-4.5) = 98.9 % of high quality within four standard errors."""
    source, n = data.load(name), 20_000
    scores = jax.jit(lambda key: metrics.coverage(source.draw(key, n)["x"], *source.modes))(jax.random.key(0))
    share = 1 - math.exp(-4.5)
    assert scores["modes"] == modes
    assert abs(scores["high_quality"] - share) < 4 * math.sqrt(share * (1 - share) / n)


def test_floor_of_the_kl():
    """A perfect sampler's KL is (m - 1) / 2n on average: 0.0014 for 8 modes and 2,500 draws."""
    source = data.load("ring8")
    kl = lambda key: metrics.coverage(source.draw(key, 2500)["x"], *source.modes)["reverse_kl"]
    kls = np.asarray(jax.lax.map(kl, jax.random.split(jax.random.key(0), 100)))
    assert abs(kls.mean() - 0.0014) < 4 * kls.std() / 10
    assert 0 < kls.std() / 10 < 0.0001


def test_collapse():
    """All samples at one mean: one mode, all of high quality, KL log 8."""
    scores = metrics.coverage(jnp.broadcast_to(MEANS[3], (100, 2)), MEANS, STD)
    assert (scores["modes"], scores["high_quality"]) == (1, 1)
    np.testing.assert_allclose(scores["reverse_kl"], math.log(8), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1e6, jnp.nan, jnp.inf])
def test_nothing_good(value):
    """Samples far from every mean, or not finite: no mode, none of high quality, and an infinite KL."""
    scores = metrics.coverage(jnp.full((10, 2), value), MEANS, STD)
    assert (scores["modes"], scores["high_quality"], scores["reverse_kl"]) == (0, 0, jnp.inf)


def test_under_vmap():
    """Several seeds at once give a row each."""
    x = jnp.stack([jnp.broadcast_to(MEANS[3], (8, 2)), jnp.float32(MEANS)])
    scores = jax.vmap(lambda x: metrics.coverage(x, MEANS, STD))(x)
    assert scores["modes"].tolist() == [1, 8]
    np.testing.assert_allclose(scores["reverse_kl"], [math.log(8), 0], atol=1e-6)


def test_stacked_coverage():
    """Known triples: their number, and the divergence from all triples in closed form."""
    shares = np.array([0, 1, 2, 2])  # of four images: one of (0, 0, 1), one of (0, 1, 2), two of (2, 0, 1)
    triples = np.array([[0, 0, 1], [0, 1, 2], [2, 0, 1]])

    def draw(key, m):  # a pixel that is the digit
        which = jnp.asarray(triples)[jnp.asarray(shares)[jnp.arange(m) % 4] % 3]
        return jnp.broadcast_to(which[:, None, None, :], (m, 2, 2, 3)).astype(jnp.float32)

    judge = lambda x: jax.nn.one_hot(x[:, 0, 0, 0].astype(int), 4)
    found = metrics.stacked_coverage(judge, draw, jax.random.key(0), n=800)
    expected = np.log(64) + 2 * 0.25 * np.log(0.25) + 0.5 * np.log(0.5)
    assert int(found["modes"]) == 3
    np.testing.assert_allclose(found["reverse_kl"], expected, rtol=1e-5)
