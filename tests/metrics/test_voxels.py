"""How alike solids are, against sets of voxels, and which are covered, counted by hand."""

import numpy as np
import pytest

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
