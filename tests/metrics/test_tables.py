"""Rows of bits against definitions in plain loops, and logistic regressions against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from gan_jax.metrics import tables


@pytest.fixture(scope="module")
def rows():
    """Rows of six bits, of which some follow from others, some are noise, and one is rare."""
    random = np.random.default_rng(0)
    x = (random.random((600, 6)) < [0.5, 0.5, 0.3, 0.5, 0.5, 0.1]).astype(np.float32)
    x[:, 2] = x[:, 0] * x[:, 1]
    x[:, 4] = np.where(random.random(600) < 0.9, x[:, 3], 1 - x[:, 3])
    return x


def test_shares_are_the_correlation_of_means(rows):
    found, most = tables.shares(rows, rows[:100])
    p, q = rows.mean(0), rows[:100].mean(0)
    np.testing.assert_allclose(found, np.corrcoef(p, q)[0, 1], rtol=1e-5)
    np.testing.assert_allclose(most, abs(p - q).max(), rtol=1e-5)


def test_each_number_is_told_of_the_others_as_by_scikit_learn(rows, monkeypatch):
    """The same regressions, of which none sees the number that it tells, and the same F1 on rows held out."""
    monkeypatch.setattr(tables, "L2", 0.02)
    monkeypatch.setattr(tables, "STEPS", 400)
    known, real = rows[:500], rows[500:]
    kernel, bias = tables.predictors(known)
    found = tables.f1((kernel, bias), real)
    assert not np.diag(kernel).any()
    for k in range(6):
        others = [i for i in range(6) if i != k]
        model = LogisticRegression(C=1 / (tables.L2 * len(known)), max_iter=1000, tol=1e-9).fit(
            known[:, others], known[:, k]
        )
        np.testing.assert_allclose(kernel[others, k], model.coef_[0], atol=2e-3)
        np.testing.assert_allclose(bias[k], model.intercept_[0], atol=2e-3)
        np.testing.assert_allclose(
            found[k], f1_score(real[:, k], model.predict(real[:, others]), zero_division=0), rtol=1e-5
        )
    assert found[2] == 1 and found[4] > 0.8 and found[5] == 0


def test_the_nearest_row_and_copies(rows):
    """By plain loops; a copy is at 0."""
    some = np.concatenate([rows[:3], 1 - rows[:5]])
    expected = [min(int((row != other).sum()) for other in rows[:200]) for row in some]
    np.testing.assert_array_equal(tables.nearest(some, rows[:200], batch=4), expected)
    assert expected[:3] == [0, 0, 0]
