"""The area under the ROC curve against its definition."""

import numpy as np
import pytest

from gan_jax.metrics.roc import auroc, of_rows


@pytest.mark.parametrize("levels", [3, 1000])
def test_it_is_the_share_of_pairs_in_order(levels):
    """With many ties and with hardly any; each pair once."""
    rng = np.random.default_rng(0)
    a, b = np.float32(rng.integers(1, levels, 40)), np.float32(rng.integers(0, levels, 30))
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in a for n in b]
    np.testing.assert_allclose(auroc(a, b), np.mean(pairs), rtol=1e-6)
    order = rng.permutation(70)
    of = of_rows(np.concatenate([a, b])[order], order < 40)
    np.testing.assert_allclose(of, np.mean(pairs), rtol=1e-6)


def test_its_ends():
    """1 and 0 where no score overlaps, a half where all are equal."""
    low, high = np.float32([-2, -1]), np.float32([1, 2, 3])
    assert (auroc(high, low), auroc(low, high), auroc(low * 0, high * 0)) == (1, 0, 0.5)
