"""Proposed boxes: around each thing, and anywhere, drawn anew for each batch; pictures with outlines."""

import jax
import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import composed, proposals
from gan_jax.nets import boxes

BOX = np.array([[[0.25, 0.25, 0.5, 0.75], [0.5, 0.5, 0.75, 0.75], [0, 0, 0, 0]], np.zeros((3, 4))], np.float32)
Y = np.array([[1, 0, -1], [-1, -1, -1]], np.int32)


def source():
    """Two pictures, of two things and of none, in training as well as held out."""
    fields = {
        "x": data.Field((8, 8, 1), "image"),
        "box": data.Field((3, 4), "series"),
        "y": data.Field((3,), "label", np.int32, 2),
    }
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype(np.uint8)
    of = lambda test: composed.of_arrays("hand", fields, {"x": x, "box": BOX, "y": Y}, test)
    return of(of(None))


def made(split, key=0, i=0):
    return np.asarray(split.make(split.whole(), jax.random.key(key), i, 2)["proposals"])


def test_every_second_box_is_around_a_thing():
    """The things in turn, each as often: moved and stretched no farther than is said; without things all are anywhere."""
    split = data.proposed(source(), 400)
    assert split.fields["proposals"].shape == split.test.fields["proposals"].shape == (400, 4)
    found = made(split)
    assert found.shape == made(split.test).shape == (2, 400, 4)
    near = found[0, ::2].reshape(100, 2, 4)  # [of each thing, thing, 4]
    for j in range(2):
        side = BOX[0, j, 2:] - BOX[0, j, :2]
        size, middle = near[:, j, 2:] - near[:, j, :2], (near[:, j, 2:] + near[:, j, :2]) / 2
        away = np.abs(middle - (BOX[0, j, :2] + BOX[0, j, 2:]) / 2) / side
        assert 0.95 * proposals.MOVE < away.max() <= proposals.MOVE + 0.02
        factor = np.log(size / side) / np.log(proposals.STRETCH)
        assert -1.02 < factor.min() < -0.9 and 0.9 < factor.max() < 1.02
    assert (boxes.iou(BOX[0, :1], near[:, 0])[0] >= 0.5).mean() > 0.2
    for anywhere in (found[0, 1::2], found[1]):
        size = anywhere[:, 2:] - anywhere[:, :2]
        assert anywhere.min() >= 0 and anywhere.max() <= 1 and size.min() > 0 and size.max() > 0.7
        assert np.median(size) < 0.3


def test_they_are_drawn_for_each_batch():
    """In training by key and number; of what is held out by the record alone."""
    split = data.proposed(source(), 16)
    assert not np.array_equal(made(split), made(split, 0, 1)) and not np.array_equal(made(split), made(split, 1))
    np.testing.assert_array_equal(made(split.test), made(split.test, 1, 5))


def test_outlined():
    """x is the picture with the outlines of its things, `source` the picture; held out likewise."""
    first = source()
    split = data.outlined(first)
    for one, plain in ((split, first), (split.test, first.test)):
        batch, x = (of.make(of.whole(), jax.random.key(0), 0, 2) for of in (one, plain))
        assert one.fields["source"] == one.fields["x"] == plain.fields["x"]
        np.testing.assert_array_equal(batch["source"], x["x"])
        np.testing.assert_array_equal(batch["x"], boxes.outlined(x["x"], BOX, Y))
        assert (batch["x"] != batch["source"])[0].any() and (batch["x"] == batch["source"])[1].all()


def test_a_set_without_boxes():
    with pytest.raises(UserError, match="digits has no boxes around things: choose a set that has"):
        data.proposed(data.load("digits"), 4)
