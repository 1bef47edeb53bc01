"""Pictures with a part out of another light."""

import jax
import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import composites

X = np.random.default_rng(0).integers(0, 256, (12, 8, 10, 3), np.uint8)


def kept(x, test=None):
    """Return a source of these pictures."""
    fields = {"x": data.Field(x.shape[1:], "image")}
    read = lambda indices: {"x": x[indices]}
    pick = lambda key, i, b: data.order(key, i, b, len(x))
    return data.Source("fake", fields, len(x), pick, read, lambda: {"x": x}, test=test)


def made(source, indices, key=0, i=0):
    indices = np.asarray(indices)
    return jax.tree.map(np.asarray, source.make(source.read(indices), jax.random.key(key), i, len(indices)))


def levels(x):
    return np.round((x + 1) * 127.5).astype(int)


def test_light_in_whole_numbers():
    """Around mid-grey by a factor, then moved; what is drawn in the middle changes nothing, at an end it is the most."""
    v = X.astype(np.int32)
    u = np.full((12, 2, 1, 1, 3), 0.5, np.float32)
    np.testing.assert_array_equal(composites.relit(v, u, 0.4), v)
    u[:, 0], u[:, 1] = 0, np.nextafter(np.float32(1), np.float32(0))
    most = round(256 * 0.4)
    lighter = np.floor(((v - 128.0) * (256 - most) + 128 * (256 + most) + 128) / 256)
    np.testing.assert_array_equal(composites.relit(v, u, 0.4), np.clip(lighter, 0, 255))


def test_a_box_out_of_another_light():
    """`source` is `other` in the middle and x around it; other is x in a light of its own, one a picture and channel."""
    batch = made(data.pasted(kept(X), 0.5, 0.4), range(12))
    inside = np.zeros((12, 8, 10, 1))
    inside[:, 2:6, 2:7] = 1
    np.testing.assert_array_equal(batch["mask"], inside)
    np.testing.assert_array_equal(batch["source"], np.where(inside, batch["other"], batch["x"]))
    np.testing.assert_array_equal(levels(batch["x"]), X)
    slopes = []
    for x, other in zip(levels(batch["x"]).reshape(12, 80, 3), levels(batch["other"]).reshape(12, 80, 3), strict=True):
        for c in range(3):
            whole = (other[:, c] > 0) & (other[:, c] < 255)
            slope, start = np.polyfit(x[whole, c], other[whole, c], 1)
            np.testing.assert_allclose(other[whole, c], slope * x[whole, c] + start, atol=1)
            slopes.append(slope)
    assert 0.59 < min(slopes) < 0.75 and 1.25 < max(slopes) < 1.41 and len(np.unique(np.round(slopes, 3))) > 20


def test_light_is_that_of_the_batch_or_of_the_record():
    """Other batches, another light; a held-out picture has its own in every batch."""
    source = data.pasted(kept(X, kept(X)))
    first, again, later = (made(source, range(12), i=i)["other"] for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != later).any((1, 2, 3)).all()
    whole = made(source.test, range(12))["other"]
    np.testing.assert_array_equal(made(source.test, [7, 2, 2], key=5, i=3)["other"], whole[[7, 2, 2]])


def test_what_can_not_be_pasted():
    """No pictures, no box, no light, or twice."""
    for part, light in ((0, 0.4), (1, 0.4), (0.5, 0), (0.5, 1)):
        with pytest.raises(UserError, match="between 0 and 1"):
            data.pasted(kept(X), part, light)
    with pytest.raises(UserError, match="can't be pasted: its x is of kind points"):
        data.pasted(data.load("ring8"))
    with pytest.raises(UserError, match="has a field called source already"):
        data.pasted(data.pasted(kept(X)))
