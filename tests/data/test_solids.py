"""Boxes, balls and cylinders: each has the properties that its label says."""

import numpy as np

from gan_jax import data
from gan_jax.data import solids


def cut(x):
    """Return a solid [d, h, w] without the air around."""
    where = np.argwhere(x)
    return x[tuple(slice(low, high + 1) for low, high in zip(where.min(0), where.max(0), strict=True))]


def test_every_primitive_is_what_its_label_says():
    """A box is full; a ball looks the same along each axis; all layers of a cylinder are one disc."""
    source = data.load("primitives")
    assert (source.n, source.test.n, source.kind, source.row["y"].names) == (600, 150, "voxels", solids.NAMES)
    assert not source.test.test
    for split in (source, source.test):
        raw = split.whole()
        assert raw["x"].shape == (split.n, 16, 16, 16, 1) and set(np.unique(raw["x"])) == {0, 255}
        assert np.bincount(raw["y"]).min() > split.n / 5
        for x, y in zip(raw["x"][..., 0] > 0, raw["y"], strict=True):
            x = cut(x)
            of_itself = [x[::-1], x[:, ::-1], x[:, :, ::-1]]
            assert all((x == other).all() for other in of_itself) and min(x.shape) > 3
            if solids.NAMES[y] == "box":
                assert x.all()
            else:
                assert not x[0, 0].any() and x.shape[0] == x.shape[1] and (x == x.swapaxes(0, 1)).all()
                ball = solids.NAMES[y] == "ball"
                assert (x.shape[0] == x.shape[2] and (x == x.swapaxes(0, 2)).all()) if ball else (x == x[..., :1]).all()
        assert (split.read(np.array([5, 3]))["x"] == raw["x"][[5, 3]]).all()
    again = solids.primitives("primitives")
    assert (again.whole()["x"] == source.whole()["x"]).all()
