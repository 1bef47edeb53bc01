"""Measures of series against closed forms, published definitions in plain loops, and NumPy's least squares."""

import math

import numpy as np
import pytest
from scipy import stats

from gan_jax.metrics import series

RANDOM = np.random.default_rng(0)


def close(found, expected, **tolerance):
    np.testing.assert_allclose(found, expected, **{"rtol": 1e-4, "atol": 1e-5} | tolerance)


def test_correlations_of_a_series_with_itself_and_with_squares():
    """A moving average of order 1 has theta / (1 + theta^2) and then nothing; and by plain loops, the lag first."""
    shocks = RANDOM.normal(size=(40, 501))
    x = np.float32(shocks[:, 1:] + 0.5 * shocks[:, :-1])
    close(series.autocorrelation(x, 3), [0.4, 0, 0], atol=0.03)
    x, m = np.float32(RANDOM.gamma(2, size=(3, 6))), 18
    z, q = (x - x.mean()) / x.std(), (x**2 - (x**2).mean()) / (x**2).std()
    loop = lambda a, b, k: np.mean([a[i, t] * b[i, t + k] for i in range(3) for t in range(6 - k)])
    close(series.autocorrelation(x, 4), [loop(z, z, k) for k in range(1, 5)])
    close(series.leverage(x, 4), [loop(z, q, k) for k in range(1, 5)])
    assert m == x.size and abs(loop(z, q, 2) - loop(q, z, 2)) > 1e-3


def test_moments_and_tails():
    """Two points, SciPy; and the quantiles of Pareto's law P(-x > u) = u^-3, whose index is 3."""
    close(series.moments(np.array([-1.0, 1, -1, 1])), [0, -2])
    x = np.float32(RANDOM.exponential(size=300))
    close(series.moments(x), [stats.skew(x), stats.kurtosis(x)], rtol=1e-3)
    u = (np.arange(20_000) + 0.5) / 20_000
    assert series.tail_index(np.float32(-(u ** (-1 / 3)))) == pytest.approx(3, rel=0.01)
    x = np.array([-8.0, -4, -2, -1] + 36 * [1])
    close(series.tail_index(x, 0.05), 2 / (math.log(8 / 2) + math.log(4 / 2)))


def test_earth_movers_distance():
    """A shift is its length; of unequal numbers SciPy's."""
    a, b = np.float32(RANDOM.normal(size=50)), np.float32(RANDOM.normal(size=31))
    close(series.earth_movers(a, a + 2), 2)
    close(series.earth_movers(a, b), stats.wasserstein_distance(a, b))


def test_risk_of_draws():
    """Of 0 .. 100 the 5 % quantile is 5, and the mean of those up to it 2.5; of a normal law both are known."""
    var, es = series.risk(np.arange(101.0)[None], 0.05)
    close([var[0], es[0]], [5, 2.5])
    nodes = np.float32(stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000))
    close(series.risk(nodes, 0.025), [-1.95996, -stats.norm.pdf(-1.95996) / 0.025], rtol=1e-3)


def test_kupiec():
    """The proportion of failures of Kupiec 1995: 10 in 250 at 1 % give 12.96, none 2 T log(1 / 0.99), 2.5 % of 40 none."""
    hits = np.arange(250) < 10
    ratio = -2 * (math.log(0.99**240 * 0.01**10) - math.log(0.96**240 * 0.04**10))
    found = series.kupiec(hits, 0.01)
    close(found, [ratio, stats.chi2.sf(ratio, 1)], rtol=1e-3)
    assert ratio == pytest.approx(12.9555, abs=1e-3)
    close(series.kupiec(np.zeros(250, bool), 0.01)[0], -500 * math.log(0.99), rtol=1e-3)
    close(series.kupiec(np.arange(40) == 3, 0.025), [0, 1], atol=1e-3)


def test_christoffersen():
    """By the counts of four transitions; where they are as of chance the ratio is 0; hits in a row are found."""
    hits = np.array([0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0], bool)
    n00, n01, n10, n11 = 4, 3, 3, 3
    of = lambda a, b: a * math.log(a / (a + b)) + b * math.log(b / (a + b))
    ratio = 2 * (of(n00, n01) + of(n10, n11) - of(n00 + n10, n01 + n11))
    close(series.christoffersen(hits), [ratio, stats.chi2.sf(ratio, 1)], rtol=1e-3, atol=1e-4)
    assert series.christoffersen(np.array([0, 0, 1, 1, 0], bool))[0] == pytest.approx(0, abs=1e-5)
    assert series.christoffersen((np.arange(400) // 10) % 20 == 0)[1] < 1e-3
    close(series.christoffersen(np.zeros(9, bool)), [0, 1], atol=1e-5)


def test_shortfall_and_pinball():
    """Right where losses beyond VaR are as the ES says and as many as the level; one half less where ES is twice that."""
    x = np.array([-3.0, 1, 1, 1, -5, 1, 1, 1, 1, 1])
    var = np.full(10, -2.0)
    close(series.shortfall(x, var, np.full(10, -4.0), 0.2), 0)
    close(series.shortfall(x, var, np.full(10, -8.0), 0.2), 0.5)
    close(series.shortfall(x, var, np.full(10, -2.0), 0.2), -1)
    close(series.pinball(np.array([-1.0, 3]), np.array([0.0, 1]), 0.1), (0.9 * 1 + 0.1 * 2) / 2)
    found = series.backtest(x, var, np.full(10, -4.0), 0.2)
    close([found["hits"], found["kupiec"], found["shortfall"]], [0.2, 1, 0], atol=1e-3)


def test_crps():
    """By all pairs; of one draw the absolute error; of a normal law on its median sigma (sqrt 2 - 1) / sqrt pi."""
    draws, x = np.float32(RANDOM.normal(size=(3, 5, 2))), np.float32(RANDOM.normal(size=(3, 2)))
    pairs = [
        np.mean([abs(draws[i, a, h] - x[i, h]) for a in range(5)])
        - np.mean([[abs(draws[i, a, h] - draws[i, b, h]) for a in range(5)] for b in range(5)]) / 2
        for i in range(3) for h in range(2)
    ]  # fmt: skip
    close(series.crps(draws, x), np.mean(pairs))
    close(series.crps(draws[:, :1], x), np.abs(draws[:, 0] - x).mean())
    nodes = np.float32(2 * stats.norm.ppf((np.arange(2000) + 0.5) / 2000))
    close(series.crps(nodes[None], np.zeros(1)), 2 * (math.sqrt(2) - 1) / math.sqrt(math.pi), rtol=1e-3)


def test_provision():
    over, under, short = series.provision(np.array([1.0, 2, 3, 2]), np.array([2.0, 2, 1, 4]))
    close([over, under, short], [(1 + 2) / 8, 2 / 8, 1 / 4])


def test_autoregression_is_least_squares_and_goes_on():
    """As by NumPy; the continued mean by a loop; of order 1 the variance is s^2 (1 - phi^2h) / (1 - phi^2)."""
    past, noise = RANDOM.normal(size=(200, 3)), RANDOM.normal(size=200)
    x = 2 + past @ [0.1, -0.4, 0.6] + 0.3 * noise
    best = np.linalg.lstsq(np.column_stack([past, np.ones(200)]), x, rcond=None)[0]
    fitted = series.autoregression(np.float32(past), np.float32(x))
    close(np.append(fitted[0], fitted[1]), best, rtol=1e-3, atol=1e-4)
    close(fitted[2], (x - np.column_stack([past, np.ones(200)]) @ best).std(), rtol=1e-3)
    mean, _ = series.continued(fitted, np.float32(past[:2]), 4)
    seen = [list(row) for row in past[:2]]
    for _ in range(4):
        for row in seen:
            row.append(float(best[3] + np.dot(best[:3], row[-3:])))
    close(mean, np.array(seen)[:, 3:], rtol=1e-2, atol=1e-3)
    one = np.array([0.8], np.float32), np.float32(1), np.float32(2)
    mean, deviation = series.continued(one, np.array([[10.0]], np.float32), 5)
    h = np.arange(1, 6)
    close(deviation, 2 * np.sqrt((1 - 0.8 ** (2 * h)) / (1 - 0.64)))
    close(mean[0], 5 + 5 * 0.8**h)
