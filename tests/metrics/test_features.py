"""Metrics of features: closed forms, plain loops, and the published implementations where they are installed."""

import contextlib
import io
import itertools
import math

import numpy as np
import pytest
import scipy.linalg

from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.metrics import bins, birthday, features, floor, images, neighbours

REFERENCE = "a published implementation to compare with: pip install -e '.[reference]'"
RNG = np.random.default_rng


def exact(mean, cov, n, seed=0):
    """Return n points whose mean and covariance are exactly these."""
    x = RNG(seed).normal(size=(n, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return x @ np.linalg.cholesky(np.asarray(cov)).T + mean


def random_cov(d, rank, seed):
    root = RNG(seed).normal(size=(d, rank))
    return root @ root.T


# Frechet distance


def test_frechet_of_two_gaussians():
    """Diagonal covariances commute: |m - m'|^2 + sum (s - s')^2; and a case by hand with rotated axes."""
    real = exact([1.0, 2.0, 3.0], np.diag([1.0, 4.0, 9.0]), 50)
    fake = exact([1.5, 2.0, 1.0], np.diag([4.0, 0.25, 9.0]), 30, seed=1)
    np.testing.assert_allclose(features.frechet(real, fake), 0.25 + 4 + 1 + 2.25, rtol=1e-10)
    turn = np.array([[1.0, -1.0], [1.0, 1.0]]) / math.sqrt(2)
    cov, other = np.diag([4.0, 1.0]), turn @ np.diag([4.0, 1.0]) @ turn.T
    # of 2x2 matrices, tr M^(1/2) = sqrt(tr M + 2 sqrt(det M)), with M = cov other: tr = 12.5, det = 16
    expected = 10 - 2 * math.sqrt(12.5 + 2 * 4)
    np.testing.assert_allclose(features.frechet_of_moments([0, 0], cov, [0, 0], other), expected, rtol=1e-12)
    np.testing.assert_allclose(features.frechet(exact([0, 0], cov, 9), exact([0, 0], other, 9)), expected, rtol=1e-10)


@pytest.mark.parametrize("rank", [8, 3])
def test_frechet_by_sqrtm(rank):
    """The root of the product itself, of full and (a little raised, for sqrtm) of low rank."""
    cov, other = random_cov(8, rank, 0), random_cov(8, rank, 1)
    mean, other_mean = RNG(2).normal(size=(2, 8))
    raised = 1e-12 * np.eye(8)
    root = scipy.linalg.sqrtm((cov + raised) @ (other + raised))
    expected = np.sum((mean - other_mean) ** 2) + np.trace(cov + other - 2 * root.real)
    np.testing.assert_allclose(features.frechet_of_moments(mean, cov, other_mean, other), expected, rtol=1e-6)


def test_frechet_is_a_distance():
    """0 to itself, symmetric, blind to rotation and to a common shift however large, a square in scale."""
    real, fake = RNG(0).normal(size=(40, 6)), RNG(1).normal(1, 2, size=(30, 6))
    turn, _ = np.linalg.qr(RNG(2).normal(size=(6, 6)))
    distance = features.frechet(real, fake)
    assert 0 <= features.frechet(real, real) < 1e-10
    np.testing.assert_allclose(features.frechet(fake, real), distance, rtol=1e-9)
    np.testing.assert_allclose(features.frechet(real @ turn + 100, fake @ turn + 100), distance, rtol=1e-9)
    np.testing.assert_allclose(features.frechet(3 * real, 3 * fake), 9 * distance, rtol=1e-9)
    assert isinstance(distance, float)


def test_frechet_of_fewer_images_than_features():
    """5 images in 50 dimensions: singular covariances, and still the distance along the one axis that differs."""
    real = np.zeros((5, 50))
    real[:, 7] = [-2, -1, 0, 1, 2]  # variance 2.5
    np.testing.assert_allclose(features.frechet(real, 3 * real + 0.1), 50 * 0.01 + (3 - 1) ** 2 * 2.5, rtol=1e-9)
    assert features.frechet(real, real) < 1e-9


# Kernel distance


def kernel_by_loops(x, y):
    """Return the unbiased squared MMD of two lists of points, one pair at a time."""
    k = lambda a, b: (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3
    mean = lambda values: sum(values) / len(values)
    within = [mean([k(a, b) for a, b in itertools.permutations(s, 2)]) for s in (x, y)]
    return sum(within) - 2 * mean([k(a, b) for a in x for b in y])


def test_kernel_by_loops():
    """One block of all rows is the estimate itself, with no spread."""
    x, y = RNG(0).normal(size=(7, 3)), RNG(1).normal(1, 2, size=(7, 3))
    mean, std = features.kernel(x, y, block=7, blocks=3)
    np.testing.assert_allclose(mean, kernel_by_loops(x, y), rtol=1e-10)
    assert std < 1e-12


def test_kernel_is_unbiased():
    """In one dimension E k(x, y) = sum_j binom(3, j) E x^j E y^j: the mean over fresh sets is the moments' distance."""
    rng = RNG(0)
    estimates = [features.kernel(rng.normal(size=(20, 1)), rng.uniform(0, 1, (20, 1)), 20, 1)[0] for _ in range(4000)]
    moments = np.array([[0, 1, 0], [1 / 2, 1 / 3, 1 / 4]])  # of the normal, of the uniform
    expected = np.sum([3, 3, 1] * (moments[0] - moments[1]) ** 2)
    error = np.std(estimates) / math.sqrt(4000)
    assert error < 0.1 * expected
    assert abs(np.mean(estimates) - expected) < 4 * error


def test_kernel_of_blocks():
    """Blocks are drawn without repetition inside them, from all rows, by the seed; the spread is over blocks."""
    x, y = RNG(0).normal(size=(60, 4)), RNG(1).normal(0.5, 1, size=(50, 4))
    mean, std = features.kernel(x, y, block=10, blocks=2000)
    assert features.kernel(x, y, 10, 2000) == (mean, std) != features.kernel(x, y, 10, 2000, seed=1)
    whole = kernel_by_loops(x.tolist(), y.tolist())  # the mean over all blocks that there are
    assert abs(mean - whole) < 4 * std / math.sqrt(2000) < 0.2 * whole
    assert features.kernel(x[:12], y[:12], block=12, blocks=5)[1] < 1e-12  # a repeated row would make a spread


# Class score and label histogram


def test_class_score_of_known_cases():
    """Sure and balanced: the number of classes. Equal rows: 1. Two classes of four: 2."""
    sure = np.tile(np.eye(4), (50, 1))
    np.testing.assert_allclose(features.class_score(sure), (4, 0), atol=1e-12)
    np.testing.assert_allclose(features.class_score(np.full((200, 4), 0.25)), (1, 0), atol=1e-12)
    np.testing.assert_allclose(features.class_score(np.tile(np.eye(4)[:2], (50, 1))), (2, 0), atol=1e-12)


def test_class_score_by_loops():
    """Every part has its own p(y); mean and deviation over the parts."""
    p = RNG(0).dirichlet(np.ones(3), 12)
    scores = []
    for part in (p[:4], p[4:8], p[8:]):
        marginal = [sum(row[c] for row in part) / 4 for c in range(3)]
        kls = [sum(row[c] * math.log(row[c] / marginal[c]) for c in range(3)) for row in part]
        scores.append(math.exp(sum(kls) / 4))
    spread = math.sqrt(sum((s - sum(scores) / 3) ** 2 for s in scores) / 3)
    np.testing.assert_allclose(features.class_score(p, splits=3), (sum(scores) / 3, spread), rtol=1e-12)


def test_label_histogram():
    """By hand: 2 of 3 classes, and the reverse KL is of the fakes against the data."""
    real, fake = [0, 0, 1, 2], [0, 1, 1, 1]
    scores = features.label_histogram(real, fake, 3)
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.25)
    assert scores["modes"] == 2
    np.testing.assert_allclose(scores["reverse_kl"], expected, rtol=1e-12)
    assert features.label_histogram(real, real, 3) == {"modes": 3, "reverse_kl": 0}
    one = features.label_histogram(np.arange(1000), np.full(5, 3), 1000)
    np.testing.assert_allclose([one["modes"], one["reverse_kl"]], [1, math.log(1000)])
    assert features.label_histogram([0, 0], [0, 1], 2)["reverse_kl"] == math.inf
    with pytest.raises(ValueError, match="0 to 1"):
        features.label_histogram([0, 1], [0, 2], 2)


# Neighbours


def balls_by_loops(real, fake, k):
    """Return the four numbers of precision, recall, density and coverage, one pair at a time."""
    radius = lambda s, i: sorted(math.dist(s[i], s[j]) for j in range(len(s)) if j != i)[k - 1]
    reach, fake_reach = ([radius(s, i) for i in range(len(s))] for s in (real, fake))
    inside = [[math.dist(x, y) <= r for x, r in zip(real, reach, strict=True)] for y in fake]  # [fake][real]
    reached = [any(math.dist(x, y) <= r for y, r in zip(fake, fake_reach, strict=True)) for x in real]
    return {
        "precision": sum(map(any, inside)) / len(fake),
        "recall": sum(reached) / len(real),
        "density": sum(map(sum, inside)) / (k * len(fake)),
        "coverage": sum(any(row[i] for row in inside) for i in range(len(real))) / len(real),
    }


def balls(real, fake, k):
    return neighbours.precision_recall(real, fake, k) | neighbours.density_coverage(real, fake, k)


@pytest.mark.parametrize("n, m, k", [(40, 25, 3), (25, 40, 5), (20, 20, 1)])
@pytest.mark.parametrize("shift", [0, 1.5])
def test_balls_by_loops(n, m, k, shift):
    real, fake = RNG(0).normal(size=(n, 3)), RNG(1).normal(shift, 0.5, size=(m, 3))
    expected = balls_by_loops(real, fake, k)
    assert balls(real, fake, k) == pytest.approx(expected, rel=1e-12)
    assert 0 < expected["recall"] < 1 and expected["precision"] > 0


def test_balls_by_hand():
    """Reals at 0, 1, 3, 7 (k = 1: radii 1, 1, 2, 4), fakes at 2, 2.5, 11, 30 (radii 0.5, 0.5, 8.5, 19)."""
    real, fake = np.array([[0.0], [1], [3], [7]]), np.array([[2.0], [2.5], [11], [30]])
    assert balls(real, fake, 1) == {
        "precision": 3 / 4,  # 2 and 2.5; 11 is on the rim of 7
        "recall": 2 / 4,  # 3 is on the rim of 2.5; 7 is within 8.5 of 11
        "density": 4 / 4,  # 2 is in the balls of 1, its rim, and 3; 2.5 in that of 3; 11 in that of 7
        "coverage": 3 / 4,
    }


def test_equal_and_disjoint_sets():
    real = RNG(0).normal(size=(30, 4))
    assert balls(real, real, 3) == pytest.approx({"precision": 1, "recall": 1, "density": 4 / 3, "coverage": 1})
    assert balls(real, real + 1000, 3) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_collapse_is_seen_by_recall_and_coverage():
    """Fakes that are all one real: precise, but hardly a real is reached; copies lie at a distance of exactly 0."""
    real = RNG(0).normal(size=(50, 64)) + 30
    scores = balls(real, np.repeat(real[:1], 40, axis=0), 3)
    assert scores["precision"] == 1 and scores["recall"] == 1 / 50 and scores["coverage"] < 0.2


def test_coverage_of_equal_distributions():
    """Its expectation is 1 - prod_i (n - i) / (n + m - i), i = 1 .. k (lemma 2 of 2002.09797): by ranks alone."""
    n, m, k = 300, 200, 2
    rng = RNG(0)
    values = [neighbours.density_coverage(rng.normal(size=(n, 2)), rng.normal(size=(m, 2)), k) for _ in range(60)]
    for name, expected in ("coverage", 1 - math.prod((n - i) / (n + m - i) for i in (1, 2))), ("density", n / (n - 1)):
        drawn = np.array([v[name] for v in values])
        assert abs(drawn.mean() - expected) < 4 * drawn.std() / math.sqrt(60), name


def test_memorisation_by_loops():
    """All pairs of distances, ties counting half."""
    rng = RNG(0)
    train, test, fake = (rng.integers(0, 6, size=(n, 2)).astype(float) for n in (9, 14, 11))
    nearest = lambda x: min(math.dist(x, t) for t in train)
    wins = [(nearest(f) < nearest(t)) + (nearest(f) == nearest(t)) / 2 for f in fake for t in test]
    z = (len(wins) / 2 - sum(wins)) / math.sqrt(11 * 14 * 26 / 12)

    def copied(x):
        i = min(range(9), key=lambda i: math.dist(x, train[i]))
        return math.dist(x, train[i]) < min(math.dist(train[i], train[j]) for j in range(9) if j != i)

    scores = neighbours.memorisation(train, test, fake)
    assert any(w == 0.5 for w in wins)
    np.testing.assert_allclose([scores["closer"], scores["z"]], [sum(wins) / len(wins), z], rtol=1e-12)
    assert scores["copied"] == sum(map(copied, fake)) / 11 and scores["copied_test"] == sum(map(copied, test)) / 14


def test_memorisation_of_known_samplers():
    """Copies, fresh draws, and samples far from everything."""
    rng = RNG(0)
    train, test, fresh = (rng.normal(size=(400, 5)) for _ in range(3))
    copies = neighbours.memorisation(train, test, train[rng.integers(0, 400, 400)] + 1e-6)
    assert copies["closer"] == 1 and copies["z"] < -20 and copies["copied"] == 1 and copies["copied_test"] < 0.8
    perfect = neighbours.memorisation(train, test, fresh)
    assert abs(perfect["closer"] - 0.5) < 0.07 and abs(perfect["z"]) < 3.5
    assert abs(perfect["copied"] - perfect["copied_test"]) < 0.12
    far = neighbours.memorisation(train, test, fresh + 100)
    assert far["closer"] == 0 and far["z"] > 20 and far["copied"] == 0
    assert neighbours.memorisation(train, test, test)["closer"] == 0.5


def test_distances():
    """In chunks, against the plain difference; equal points are at 0 exactly, far from the origin too."""
    a, b = RNG(0).normal(100, 1, size=(37, 300)), RNG(1).normal(100, 1, size=(23, 300))
    b[:20] = a[-20:]
    parts = list(neighbours.distances(a, b, rows=10))
    squared = np.concatenate([part for _, part in parts])
    assert [rows.start for rows, _ in parts] == [0, 10, 20, 30] and (
        squared[np.arange(17, 37), np.arange(20)] == 0
    ).all()
    np.testing.assert_allclose(squared, ((a[:, None] - b) ** 2).sum(-1), rtol=1e-9)


# What is not accepted


@pytest.mark.parametrize(
    "metric",
    [
        features.frechet,
        lambda a, b: features.kernel(a, b, block=5, blocks=1),
        neighbours.precision_recall,
        neighbours.density_coverage,
        lambda a, b: neighbours.memorisation(a, a, b),
    ],
)
def test_broken_features(metric):
    """NaN, too few rows and unlike widths are named; float32 and jax arrays are fine."""
    good = RNG(0).normal(size=(20, 3))
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[4, 1] = value
        with pytest.raises(UserError, match="not finite"):
            metric(good, bad)
    with pytest.raises(UserError, match="too few"):
        metric(good, good[:1])
    with pytest.raises(ValueError, match="one d"):
        metric(good, good[:, :2])
    with pytest.raises(ValueError, match=r"\[n, d\]"):
        metric(good[..., None], good[..., None])
    metric(np.float32(good), np.float32(good))


FEW = RNG(0).normal(size=(30, 3))
COUNTS = {
    "precision_recall k": lambda n: neighbours.precision_recall(FEW, FEW, k=n),
    "density_coverage k": lambda n: neighbours.density_coverage(FEW, FEW, k=n),
    "kernel blocks": lambda n: features.kernel(FEW, FEW, block=5, blocks=n),
    "kernel block": lambda n: features.kernel(FEW, FEW, block=n, blocks=2),
    "class_score splits": lambda n: features.class_score(np.full((30, 3), 1 / 3), splits=n),
    "sliced directions": lambda n: features.sliced(FEW, FEW, directions=n),
    "sliced_wasserstein directions": lambda n: images.sliced_wasserstein(*[np.zeros((4, 8, 8, 1))] * 2, 4, n),
    "sliced_wasserstein patches": lambda n: images.sliced_wasserstein(*[np.zeros((4, 8, 8, 1))] * 2, n, 4),
    "ndb k": lambda n: bins.ndb(FEW, FEW, k=n),
    "closest_pairs pairs": lambda n: birthday.closest_pairs(FEW, pairs=n),
    "floor repeats": lambda n: floor.scores(data.load("ring8"), 10, repeats=n),
}


@pytest.mark.parametrize("count", [0, -3])
@pytest.mark.parametrize("metric", COUNTS)
def test_a_count_below_one(metric, count):
    """It is refused by its name, where it would give a number that means nothing."""
    with pytest.raises(UserError, match=f"^{metric.split()[1]} is {count}: it must be a whole number, [12] or more"):
        COUNTS[metric](count)


def test_a_count_that_is_not_whole():
    with pytest.raises(UserError, match=r"k is 2\.5"):
        neighbours.precision_recall(FEW, FEW, k=2.5)


def test_sliced_distance_of_rows():
    """Of a shift v of the same rows, the mean of |v.u| over the unit vectors that the seed draws; of unlike counts none."""
    shift = np.array([0.3, -1.0, 2.0])
    axes = RNG(4).normal(size=(300, 3))
    expected = np.abs(axes @ shift / np.sqrt((axes**2).sum(1))).mean()
    np.testing.assert_allclose(features.sliced(FEW, FEW[::-1] + shift, 300, seed=4), expected, rtol=1e-9)
    with pytest.raises(UserError, match="30 rows of data and 20 of samples"):
        features.sliced(FEW, FEW[:20])


def test_broken_probabilities():
    with pytest.raises(ValueError, match="probabilities"):
        features.class_score(np.zeros((20, 3)))
    with pytest.raises(UserError, match="fewer splits"):
        features.class_score(np.eye(3))


# Published implementations


@pytest.mark.parametrize("n, m, d, k", [(200, 150, 2, 5), (120, 120, 64, 3)])
def test_prdc(n, m, d, k):
    """The authors' own package of density and coverage."""
    prdc = pytest.importorskip("prdc", reason=REFERENCE)
    real, fake = RNG(0).normal(size=(n, d)), RNG(1).normal(0.3, 0.9, size=(m, d))
    with contextlib.redirect_stdout(io.StringIO()):
        expected = prdc.compute_prdc(real, fake, nearest_k=k)
    assert balls(real, fake, k) == pytest.approx(expected, abs=1e-4)
    assert 0 < expected["precision"] < 1


def test_torch_fidelity():
    """FID, KID and Inception Score of torch-fidelity, from features."""
    torch = pytest.importorskip("torch", reason=REFERENCE)
    pytest.importorskip("torch_fidelity", reason=REFERENCE)
    from torch_fidelity import metric_fid, metric_isc, metric_kid

    real, fake = RNG(0).normal(size=(300, 16)), RNG(1).normal(0.3, 1.2, size=(200, 16))
    statistics = [metric_fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (real, fake)]
    (expected,) = metric_fid.fid_statistics_to_metric(*statistics, verbose=False).values()
    np.testing.assert_allclose(features.frechet(real, fake), expected, rtol=1e-6)

    gram = lambda a, b: metric_kid.kernel_poly(a, b, kid_kernel_poly_degree=3, kid_kernel_poly_coef0=1)
    expected = metric_kid.mmd2(gram(real[:200], real[:200]), gram(real[:200], fake), gram(fake, fake))
    np.testing.assert_allclose(features.kernel(real[:200], fake, block=200, blocks=1)[0], expected, rtol=1e-6)

    logits = torch.from_numpy(RNG(2).normal(0, 3, size=(95, 10)))
    expected = metric_isc.isc_features_to_metric(logits, splits=10, shuffle=False).values()
    np.testing.assert_allclose(features.class_score(logits.softmax(1).numpy()), list(expected), rtol=1e-6)
