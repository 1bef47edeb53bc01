"""Mode coverage, bins and duplicates of samplers whose answer is known."""

import math
import statistics

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax.floor
from gan_jax import UserError, data, metrics
from gan_jax.metrics import bins, birthday, classifier, floor

MEANS, STD, _ = data.load("ring8").modes


def by_loops(x, means, std, shares):
    """Return modes, high_quality and reverse_kl, one sample at a time."""
    counts = [0] * len(means)
    for point in x:
        distances = [math.dist(point, mean) for mean in means]
        if min(distances) <= 3 * std:
            counts[distances.index(min(distances))] += 1
    kl = sum(c / sum(counts) * math.log(c / sum(counts) / q) for c, q in zip(counts, shares, strict=True) if c)
    kl = kl if any(counts) else math.inf
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
    uneven = rng.dirichlet(np.ones(6))
    for given, shares in (((), np.full(6, 1 / 6)), ((jnp.float32(uneven),), uneven)):
        scores = jax.jit(metrics.coverage)(jnp.float32(x), jnp.float32(means), 0.15, *given)
        for name, value in by_loops(x, means, 0.15, shares).items():
            np.testing.assert_allclose(scores[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("name, modes", [("ring8", 8), ("ring8_unit", 8), ("ring8_notebook", 7), ("grid25", 25)])
def test_perfect_sampler(name, modes):
    """The data itself: every mode, and 1 - exp(-4.5) = 98.9 % of high quality within four standard errors."""
    source, n = data.load(name), 20_000
    scores = jax.jit(lambda key: metrics.coverage(data.draw(source, key, n)["x"], *source.modes))(jax.random.key(0))
    share = 1 - math.exp(-4.5)
    assert scores["modes"] == modes
    assert abs(scores["high_quality"] - share) < 4 * math.sqrt(share * (1 - share) / n)


@pytest.mark.parametrize("name", ["ring8", "ring8_notebook", "ring8_unbalanced"])
def test_floor_of_the_kl(name):
    """A perfect sampler's KL is (m - 1) / 2n on average, whatever the shares: 0.0014 for 8 modes and 2,500 draws."""
    source = data.load(name)
    kl = lambda key: metrics.coverage(data.draw(source, key, 2500)["x"], *source.modes)["reverse_kl"]
    kls = np.asarray(jax.lax.map(kl, jax.random.split(jax.random.key(0), 100)))
    assert abs(kls.mean() - (source.classes - 1) / 5000) < 4 * kls.std() / 10
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


def test_a_mode_that_the_data_lack():
    """A sample where the shares are 0 costs an infinite KL; no sample there costs nothing."""
    kl = lambda *counts: float(metrics.modes.of_histogram(jnp.float32(counts), [0.75, 0.25, 0])["reverse_kl"])
    assert kl(1, 1, 1) == math.inf and abs(kl(3, 1, 0)) < 1e-7
    np.testing.assert_allclose(kl(1, 1, 0), 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(2), rtol=1e-6)


def test_label_switches():
    """At rest, half of the samples moved, all moved; several seeds side by side."""
    rows = [[1.0, 0, 0], [1.0, 0, 0], [0.5, 0.25, 0.25], [0, 1.0, 0]]
    np.testing.assert_allclose(metrics.label_switches(rows), [0, 0.5, 0.75])
    seeds = np.stack([rows, rows[::-1]], 1)  # [r, seeds, a]
    np.testing.assert_allclose(metrics.label_switches(seeds), [[0, 0.75], [0.5, 0.5], [0.75, 0]])


@pytest.mark.parametrize("seed", range(10))
def test_bins_by_loops(seed):
    """Cells whose shares differ, and the divergence, one cell at a time in plain arithmetic."""
    draw = np.random.default_rng(seed)
    real, fake = draw.poisson(60, 40), draw.poisson(15, 40)
    real[:3], fake[1:4] = [0, 0, 7], 0
    n, m, different, js = real.sum(), fake.sum(), 0, 0.0
    for a, b in zip(real.tolist(), fake.tolist(), strict=True):
        p, q, both = a / n, b / m, (a + b) / (n + m)
        if both:
            z = (p - q) / math.sqrt(both * (1 - both) * (1 / n + 1 / m))
            different += 1 - math.erf(abs(z) / math.sqrt(2)) < 0.05
        for share in (p, q):
            js += share * math.log(share / ((p + q) / 2)) / 2 if share else 0
    found = bins.of_counts(real, fake)
    assert 0 < different < 20 and (found["ndb"], found["ndb_share"]) == (different, different / 40)
    np.testing.assert_allclose(found["js"], js, rtol=1e-9)


def test_bins_of_an_exact_and_of_a_collapsed_sampler():
    """An exact sampler differs in 5 % of given cells, in fewer of fitted ones; the data in none, half a ring in all."""
    draw, given, fitted = np.random.default_rng(0), [], []
    for i in range(20):
        real, fake = draw.normal(size=(2, 1500, 2))
        cells = np.digitize(draw.normal(size=(2, 1500)), statistics.NormalDist().quantiles(50))
        given.append(bins.of_counts(*(np.bincount(c, minlength=50) for c in cells))["ndb_share"])
        fitted.append(bins.ndb(real, fake, k=50, seed=i)["ndb_share"])
    noise = math.sqrt(0.05 * 0.95 / (20 * 50))
    assert abs(np.mean(given) - 0.05) < 3 * noise and abs(np.mean(fitted) - 0.035) < 2 * noise
    drawn = data.draw(data.load("ring8"), jax.random.key(0), 4000)
    x, y = np.asarray(drawn["x"]), np.asarray(drawn["y"])
    assert bins.ndb(x, x, k=8) == {"ndb": 0, "ndb_share": 0, "js": 0}
    half = bins.ndb(x, x[y < 4], k=8)
    p = np.mean(y < 4)  # the share of the data that is left
    assert half["ndb"] == 8
    np.testing.assert_allclose(
        half["js"],
        -math.log((1 + p) / 2) / 2 + p / 2 * math.log(p / ((1 + p) / 2)) + (1 - p) / 2 * math.log(2),
        rtol=1e-9,
    )
    with pytest.raises(UserError, match="fewer than 9 different rows"):
        bins.ndb(np.repeat(MEANS, 5, axis=0), x, k=9)


@pytest.mark.parametrize("support, s", [(50, 12), (400, 20), (30, 60)])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_birthdays(support, s, noise):
    """Even draws from a known support: the probability of a duplicate, and the support, within four errors."""
    draw, batches = np.random.default_rng(s), 300
    x = draw.integers(0, support, (batches * s, 1)) + noise * draw.uniform(size=(batches * s, 1))
    found = birthday.birthday(np.concatenate([x, x[:1]]), s, within=0.1 if noise else 0.0)
    p = 1 - math.prod(1 - i / support for i in range(min(s, support + 1)))
    assert abs(found["duplicate"] - p) <= 4 * math.sqrt(p * (1 - p) / batches)
    pairs = batches * s * (s - 1) / 2 / support  # independent two by two, so their number's variance is that of draws
    assert abs(support / found["support"] - 1) < 4 / math.sqrt(pairs)


def test_birthdays_of_uneven_and_of_endless_supports():
    """Uneven draws estimate 1 / sum p^2, below the support; where nothing comes twice it is infinite."""
    draw = np.random.default_rng(0)
    p = np.array([0.5, *np.full(50, 0.01)])
    found = birthday.birthday(draw.choice(51, (9000, 1), p=p), 30)
    np.testing.assert_allclose(found["support"], 1 / np.sum(p**2), rtol=0.05)
    assert birthday.birthday(draw.normal(size=(100, 2)), 50) == {"duplicate": 0, "support": math.inf}
    with pytest.raises(UserError, match="can't be cut into batches of 101"):
        birthday.birthday(np.zeros((100, 1)), 101)


def test_closest_pairs():
    """The nearest rows of more than a block of them, against all pairs."""
    x = np.random.default_rng(0).normal(size=(1100, 3))
    x[1090] = x[5]
    rows, distances = birthday.closest_pairs(x, 7)
    i, j = np.triu_indices(1100, 1)
    apart = np.linalg.norm(x[i] - x[j], axis=1)
    best = np.argsort(apart)[:7]
    assert rows.tolist() == np.stack([i, j], 1)[best].tolist() and rows[0].tolist() == [5, 1090]
    np.testing.assert_allclose(distances, apart[best], rtol=1e-9, atol=1e-12)


@pytest.mark.long
def test_the_data_s_own_score(monkeypatch, capsys):
    """Of stacks: those of the images, each colour classified by itself; of a mixture: the shares of theory."""
    source, weights = data.load("stacked_digits"), np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    judge = lambda x: x.reshape(-1, 64) @ weights  # a stand-in that knows nothing of digits
    monkeypatch.setattr(classifier, "load", lambda source: judge)
    feed = jax.tree.map(jnp.asarray, data.resident(source))
    x = np.concatenate([data.batch(source, feed, jax.random.key(0), i, 1497)["x"] for i in range(2)])[:2000]
    red, green, blue = (np.asarray(judge(x[..., c : c + 1]).argmax(-1)) for c in range(3))
    counts = np.bincount(100 * red + 10 * green + blue, minlength=1000)
    share = counts[counts > 0] / 2000
    found = floor.scores(source, 2000, 2)
    assert found["n"] == 2000 and found["modes"][0] == (counts > 0).sum() < 1000
    np.testing.assert_allclose(found["reverse_kl"][0], np.sum(share * np.log(share * 1000)), rtol=1e-5)
    gan_jax.floor.main(["ring8", "--repeats=5"])
    said = capsys.readouterr().out
    assert "modes 8 ± 0" in said and "high_quality 0.98" in said and "(m - 1) / 2n = 0.0014" in said
    with pytest.raises(UserError, match="no modes to cover"):
        floor.scores(data.load("digits"))
