"""Pictures of solids along an axis: against a loop over their voxels."""

import jax
import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import depth


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_pixel_is_grey_by_its_first_voxel(axis):
    """The nearest is white, the farthest level 64, nothing is black; of both splits, in batches of any size."""
    source = depth.sights(data.load("primitives"), axis)
    assert source.fields["source"].shape == (16, 16, 1) and source.fields["source"].kind == "image"
    for split in (source, source.test):
        raw = split.read(np.array([0, 3, 5]))
        batch = split.make(raw, jax.random.key(0), 0, 3)
        for x, y in zip(raw["x"][..., 0], np.asarray(batch["source"])[..., 0], strict=True):
            for i, j in np.ndindex(16, 16):
                along = np.moveaxis(x, axis, 0)[:, i, j]
                first = next((k for k, voxel in enumerate(along) if voxel), None)
                level = 0 if first is None else 255 - first * 191 // 15
                assert y[i, j] == pytest.approx(level / 127.5 - 1, abs=1e-6)
        assert (batch["x"][..., 0] > 0).any() and (np.asarray(batch["source"]) > -1).any()


def test_what_has_no_sides():
    with pytest.raises(UserError, match="seen along axis 0, 1 or 2, not 3"):
        depth.sights(data.load("primitives"), 3)
    with pytest.raises(UserError, match="its x is of kind image"):
        depth.sights(data.load("digits"))
