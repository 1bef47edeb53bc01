"""What scores put first."""

import jax
import numpy as np
from sklearn.metrics import average_precision_score

from gan_jax.metrics import ranking


def test_average_precision_is_sklearn_s():
    """With equal scores among good and bad, and none; at best 1."""
    generator = np.random.default_rng(0)
    for levels in (3, 1000):
        score, positive = generator.integers(0, levels, 80).astype(np.float32), generator.uniform(size=80) < 0.2
        found = jax.jit(ranking.average_precision)(score, positive)
        np.testing.assert_allclose(found, average_precision_score(positive, score), rtol=1e-6)
    assert ranking.average_precision(np.arange(5.0), np.arange(5) > 2) == 1


def test_caught():
    """Of four positives two are among the highest fifth of ten."""
    score = np.array([9.0, 8, 1, 2, 3, 4, 5, 6, 7, 0])
    positive = np.isin(np.arange(10), [0, 1, 2, 9])
    assert ranking.caught(score, positive, 0.2) == 0.5 and ranking.caught(score, positive, 0.1) == 0.25
