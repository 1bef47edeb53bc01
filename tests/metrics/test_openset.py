"""OpenMax against SciPy's Weibull fits and plain loops; F against counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats

from gan_jax.metrics import openmax, openset


def test_weibull_is_the_likeliest():
    """SciPy's maximum likelihood, of a few rows of several shapes; what is not there does not count."""
    rng = np.random.default_rng(0)
    x = np.stack([scale * rng.weibull(shape, 40) for shape, scale in ((0.7, 2), (3, 1), (40, 1.2))])
    there = np.arange(40)[None] < np.array([[40], [40], [25]])
    shape, scale = openmax.weibull(jnp.array(x), jnp.array(there))
    for i in range(3):
        k, _, size = scipy.stats.weibull_min.fit(x[i][there[i]], floc=0)
        np.testing.assert_allclose([shape[i], scale[i]], [k, size], rtol=2e-3)


def test_openmax_by_loops():
    """Tails of the right rows alone, moved to 1; logits recalibrated class by class; the probability of none."""
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(3), 30)
    logits = 4 * np.eye(3)[y] + 1.5 * rng.normal(size=(90, 3))
    asked = np.concatenate([logits[::9], rng.normal(size=(4, 3))])
    tails = openmax.fitted(jnp.array(logits), jnp.array(y), 3, tail=8)
    found, alone = (openmax.recalibrated(jnp.array(asked), tails, 2, room) for room in (True, False))
    far = lambda a, b: scipy.spatial.distance.euclidean(a, b) / 200 + scipy.spatial.distance.cosine(a, b)
    of = [logits[(y == c) & (logits.argmax(1) == c)] for c in range(3)]
    means = [rows.mean(0) for rows in of]
    tail = [np.sort([far(row, mean) for row in rows])[-8:] for rows, mean in zip(of, means, strict=True)]
    fits = [scipy.stats.weibull_min.fit(d - d[0] + 1, floc=0) for d in tail]
    for row, p, q in zip(asked, found, alone, strict=True):
        likeliest, new, none = np.argsort(-row), row.copy(), 0.0
        for i, c in enumerate(likeliest[:2], 1):
            k, _, scale = fits[c]
            w = scipy.stats.weibull_min.cdf(far(row, means[c]) - tail[c][0] + 1, k, scale=scale)
            new[c] = row[c] * (1 - w * (2 + 1 - i) / 2)
            none += row[c] - new[c]
        e = np.exp([*new, none])
        np.testing.assert_allclose(p, e / e.sum(), rtol=2e-3, atol=1e-5)
        np.testing.assert_allclose(q, e[:3] / e[:3].sum(), rtol=2e-3, atol=1e-5)


def test_a_class_of_which_no_row_is_right():
    """It is never beyond, and nothing is NaN."""
    logits = jnp.array([[1.0, 0, 0], [2, 0, 0], [0, 0, 3]])
    tails = openmax.fitted(logits, jnp.array([0, 0, 1]), 3)
    found = openmax.recalibrated(logits, tails, 3)
    assert list(tails.rows) == [2, 0, 0] and np.isfinite(found).all() and np.isfinite(jax.tree.leaves(tails)[0]).all()


@pytest.mark.parametrize("drop", [False, True])
def test_best_f(drop):
    """2 right / (answered + known), for each threshold in turn; equal scores go together; some rows may not count."""
    rng = np.random.default_rng(2)
    score, known = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.6
    right, there = rng.random(40) < 0.7, (rng.random(40) < 0.5) | (not drop)
    f = []
    for threshold in np.unique(score[there]):
        answered = there & (score >= threshold)
        precision = (right & known & answered).sum() / answered.sum()
        recall = (right & known & answered).sum() / (known & there).sum()
        f.append(2 * precision * recall / (precision + recall) if precision else 0)
    found = openset.best_f(*map(jnp.array, (score, right, known, there)))
    np.testing.assert_allclose(found, max(f), rtol=1e-6)


def test_openness():
    """Nothing new: 0; as many new as known: 1 - sqrt(2/3)."""
    assert openset.openness(6, 6) == 0 and np.isclose(openset.openness(5, 10), 1 - np.sqrt(2 / 3))


def test_told():
    """Three known classes and two new ones: all by itself for each openness; the worst score is of what is wrong."""
    p = jnp.array([[0.9, 0, 0], [0, 0.8, 0], [0.1, 0.2, 0], [0.6, 0, 0], [0.3, 0, 0]])
    found = openset.told(p, jnp.array([0, 1, 2, 3, 4]), 3, 5)
    np.testing.assert_allclose(found["auroc"], 4 / 6, rtol=1e-6)
    np.testing.assert_allclose(found["accuracy"], 2 / 3, rtol=1e-6)
    names = ["F at 0.00", "F at 0.07", "F at 0.13"]
    np.testing.assert_allclose([found[name] for name in names], [4 / 5] * 3, rtol=1e-6)
