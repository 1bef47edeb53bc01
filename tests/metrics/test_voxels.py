"""How alike solids are, against sets of voxels, and which are covered, counted by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gan_jax.metrics import voxels


def test_overlaps_are_those_of_sets():
    """Whatever the size of the parts in which they are compared; of an empty solid there is nothing in common."""
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(size=(n, 3, 2, 2, 1)) < 0.5 for n in (4, 5))
    a[1] = False
    a[2] = b[3]
    sets = lambda x: [set(np.flatnonzero(one)) for one in x]
    expected = [[len(s & t) / len(s | t) for t in sets(b)] for s in sets(a)]
    for batch in (2, 256):
        np.testing.assert_allclose(voxels.overlaps(a, b, batch), expected, rtol=1e-6)
    assert expected[2][3] == 1 and not any(expected[1])
    assert np.asarray(voxels.overlaps(a[1:2], a[1:2])) == 0


def test_coverage_by_hand():
    """Both samples are nearest to the first of three shapes; each of the shapes is nearest to another sample."""
    assert voxels.coverage(np.float32([[0.5, 0.2, 0.1], [0.9, 0.1, 0.8]])) == pytest.approx(1 / 3)
    assert voxels.coverage(np.float32([[0, 0, 0], [0, 0.1, 0]])) == pytest.approx(1 / 3)  # the first has none of them
    assert voxels.coverage(np.zeros((2, 3), np.float32)) == 0


def test_average_precision_is_scikit_learn_s():
    """Of rankings with many ties, of a perfect one, and of a constant, which has the share of filled voxels."""
    draw = np.random.default_rng(0)
    truth = draw.random((5, 3, 4, 5, 1)) < 0.3
    values = np.round(draw.random(truth.shape) + 0.3 * truth, 1).astype(np.float32)
    values[3], values[4] = truth[3], 0.5
    found = voxels.average_precision(jnp.asarray(values), jnp.asarray(truth), batch=2)
    expected = [average_precision_score(t.ravel(), v.ravel()) for t, v in zip(truth, values, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[3] == 1 and found[4] == pytest.approx(truth[4].mean(), rel=1e-5)


def test_overlap_row_by_row():
    """Those on the diagonal of all pairs; of two empty solids 0."""
    a, b = (np.random.default_rng(i).random((4, 3, 3, 3)) < 0.5 for i in range(2))
    a[3] = b[3] = False
    np.testing.assert_allclose(voxels.overlap(a, b), np.diag(voxels.overlaps(a, b)), rtol=1e-6)
