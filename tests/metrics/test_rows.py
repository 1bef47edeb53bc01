"""How rows of numbers stand for others: against scipy, plain loops and what can be known of classifiers."""

import jax
import numpy as np
import pytest
from scipy.stats import ks_2samp

from gan_jax.metrics import rows

draws = lambda seed, n, d: np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_columns_are_apart_as_scipy_says():
    """Kolmogorov's statistic of each column, ties and sets of two sizes among them."""
    a, b = draws(0, 60, 3), draws(1, 45, 3) * 1.5 + 0.3
    a[:, 2], b[:, 2] = a[:, 2].round(), b[:, 2].round()
    expected = [ks_2samp(a[:, i], b[:, i]).statistic for i in range(3)]
    np.testing.assert_allclose(jax.jit(rows.apart)(a, b), expected, rtol=1e-5)


def test_correlations_and_triples_in_loops():
    """All pairs, and all triples of different columns; a constant column correlates with none."""
    a, b = draws(0, 50, 4), draws(1, 50, 4)
    a[:, 1] += a[:, 0]
    b[:, 3] = 2
    p, q = np.corrcoef(a, rowvar=False), np.eye(4)
    q[:3, :3] = np.corrcoef(b[:, :3], rowvar=False)
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    triples = [(i, j, k) for i, j in pairs for k in range(4) if k not in (i, j)]
    off, agree = jax.jit(rows.correlated)(a, b)
    np.testing.assert_allclose(off, np.mean([abs(p[ij] - q[ij]) for ij in pairs]), rtol=1e-4)
    expected = np.mean([(p[i, j] > p[i, k]) == (q[i, j] > q[i, k]) for i, j, k in triples])
    np.testing.assert_allclose(agree, expected, rtol=1e-6)
    assert rows.correlated(a, a)[0] == 0 and rows.correlated(a, a)[1] == 1


def test_clusters_are_found():
    """Three heaps far apart: every row goes to its own heap's centre, which is the heap's mean."""
    which = np.arange(90) % 3
    x = draws(0, 90, 2) + 20 * np.array([[0, 0], [1, 0], [0, 1]], np.float32)[which]
    for seed in range(20):  # from three rows of three heaps; from others it may rest elsewhere
        found = rows.centres(jax.random.key(seed), x, 3)
        names = np.asarray(rows.cluster(x, found))
        if len({*names[:3]}) == 3:
            break
    assert (names == names[:3][which]).all()
    for i in range(3):
        np.testing.assert_allclose(found[names[i]], x[which == i].mean(0), rtol=1e-4, atol=1e-4)
    table = rows.table(names, which, 3)
    assert table.shape == (3, 3) and float(table.sum()) == pytest.approx(1) and (np.asarray(table) > 0).sum() == 3
    assert rows.variation(np.array([0.5, 0.5, 0]), np.array([0, 0.5, 0.5])) == 0.5


def test_a_classifier_tells_what_differs():
    """A shift by logistic regression; a spread by a hidden layer alone; nothing where both are of one distribution."""
    told = jax.jit(rows.told, static_argnums=3)
    a, b, key = draws(0, 800, 3), draws(1, 800, 3), jax.random.key(0)
    assert abs(told(key, a, b, 0) - 0.5) < 0.05 and told(key, a, b + 2, 0) > 0.9
    assert abs(told(key, a, 5 * b, 0) - 0.5) < 0.15 and told(key, a, 5 * b, 2) > 0.85


def test_the_nearest_centre():
    """By brute force."""
    x, to = (np.random.default_rng(i).normal(size=(n, 3)).astype(np.float32) for i, n in enumerate((20, 7)))
    expected = ((x[:, None] - to[None]) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal(jax.jit(rows.cluster)(x, to), expected)
