"""Boxes are around what they name, in windows too; pictures with fewer things are padded."""

import dataclasses

import jax
import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import composed


def test_shapes_fill_their_boxes():
    """The last shape of a picture, which nothing covers, is bright from edge to edge of its box, and nothing is beyond."""
    source = data.boxed("strewn_shapes")
    assert (source.n, source.test.n, source.shape, source.classes) == (200, 50, (32, 32, 1), 0)
    for split in (source, source.test):
        raw = split.whole()
        assert {name: a.shape[1:] for name, a in raw.items()} == {name: f.shape for name, f in source.fields.items()}
        for x, box, y in zip(raw["x"][..., 0], raw["box"], raw["y"], strict=True):
            things = (y >= 0).sum()
            assert things > 0 and (y[:things] >= 0).all() and not box[things:].any()
            left = x >= 160
            for top, start, bottom, end in np.int32(32 * box[:things]):
                assert top < bottom <= 32 and start < end <= 32
                left[top:bottom, start:end] = False
            top, start, bottom, end = np.int32(32 * box[things - 1])
            ink = x[top:bottom, start:end] >= 160
            assert not left.any() and all(edge.any() for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]))
    assert set(np.unique(source.whole()["y"])) == {-1, 0, 1, 2}


def test_digits_in_clutter():
    """The ink of a digit of its class goes to the edges of each box, in which nothing is darker; splits stay apart."""
    source, digits = data.boxed("cluttered_digits"), data.load("digits")
    assert (source.n, source.test.n, source.shape) == (1000, 200, (24, 24, 1)) and source.row["y"].classes == 10
    for split, base in ((source, digits), (source.test, digits.test)):
        raw, of_base = split.whole(), base.whole()
        for x, boxes, y in list(zip(raw["x"][..., 0], raw["box"], raw["y"], strict=True))[:40]:
            things = (y >= 0).sum()
            assert 1 <= things <= 4 and not boxes[things:].any()
            for (top, left, bottom, right), label in zip(np.int32(np.round(24 * boxes[:things])), y, strict=False):
                seen, found = x[top:bottom, left:right], False
                for digit in of_base["x"][of_base["y"] == label][..., 0]:
                    rows, columns = np.flatnonzero(digit.any(1)), np.flatnonzero(digit.any(0))
                    ink = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                    found |= ink.shape == seen.shape and (ink <= seen).all()
                assert found
    assert set(np.unique(source.whole()["y"])) == set(range(-1, 10))


def picture(box):
    """Return the source of one black picture of 24x36 whose box, in pixels, is white; the same one is held out."""
    top, left, bottom, right = box
    x = np.zeros((1, 24, 36, 1), np.uint8)
    x[0, top:bottom, left:right] = 255
    raw = {"x": x, "box": np.zeros((1, 2, 4), np.float32), "y": np.array([[1, -1]], np.int32)}
    raw["box"][0, 0] = np.float32(box) / [24, 36, 24, 36]
    fields = {
        "x": data.Field((24, 36, 1), "image"),
        "box": data.Field((2, 4), "series"),
        "y": data.Field((2,), "label", np.int32, 2),
    }
    return composed.of_arrays("hand", fields, raw, composed.of_arrays("hand", fields, raw))


def test_windows_move_boxes_with_what_is_in_them():
    """Wherever a window is, mirrored or not, its box is around what is bright; less than half of it is no box."""
    whole = np.int32([6, 12, 18, 30])
    source = data.windows(picture(whole), (6, 9), (2, 4))
    assert source.shape == (6, 9, 1) and source.fields["box"].shape == (2, 4)
    batch = jax.jit(source.make, static_argnums=3)(
        jax.tree.map(lambda a: np.repeat(a, 300, 0), source.whole()), jax.random.key(0), 0, 300
    )
    seen, lost, areas = 0, 0, set()
    for x, box, y in zip(batch["x"][..., 0], batch["box"], batch["y"], strict=True):
        assert y[1] == -1 and not box[1].any()
        bright = np.asarray(x) > -1
        if y[0] == -1:
            lost += 1
            assert not box.any()
            continue
        assert y[0] == 1
        top, left, bottom, right = box[0] * np.float32([6, 9, 6, 9])
        rows, columns = (np.flatnonzero(bright.any(axis)) for axis in (1, 0))
        # pixels that a box covers in part are grey
        assert np.abs(np.float32([rows[0], columns[0]]) - [np.floor(top + 1e-4), np.floor(left + 1e-4)]).max() == 0
        assert np.abs(np.float32([rows[-1] + 1, columns[-1] + 1]) - np.ceil([bottom - 1e-4, right - 1e-4])).max() == 0
        np.testing.assert_allclose((np.asarray(x) + 1).sum() / 2, (bottom - top) * (right - left), rtol=0.02)
        seen += 1
        areas.add(round(float((bottom - top) * (right - left))))
    assert seen > 200 and lost > 10 and {13, 14} & areas and 54 in areas  # 12x18 by 4, or all of a window of 12x18


def test_windows_of_what_is_held_out():
    """They are the same in every batch, and none is mirrored; all of a picture is the picture, its mirror now and then."""
    source = picture([0, 0, 12, 12])
    small = data.windows(source, (12, 18), (1,))
    make = jax.jit(small.test.make, static_argnums=3)
    first, again = (make(source.whole(), jax.random.key(i), i, 1) for i in (0, 1))
    assert all((first[name] == again[name]).all() for name in first)
    lefts = set()
    for split, flip in ((small, True), (small.test, True), (small, False)):
        all_of_it = data.windows(dataclasses.replace(source), (24, 36), (1,), flip)
        split = all_of_it.test if split is small.test else all_of_it
        raw = jax.tree.map(lambda a: np.repeat(a, 20, 0), source.whole())
        box = jax.jit(split.make, static_argnums=3)(raw, jax.random.key(0), 0, 20)["box"][:, 0]
        lefts.add(tuple(np.unique(np.round(36 * np.asarray(box[:, 1])))))
    assert lefts == {(0, 24), (0,)}


def test_windows_are_refused():
    with pytest.raises(UserError, match="strewn_shapes is 32x32: it has no windows of 16x16, shrunk by 1 or 3"):
        data.windows(data.boxed("strewn_shapes"), (16, 16), (1, 3))
    with pytest.raises(UserError, match="it has no windows of 16x16, shrunk by nothing"):
        data.windows(data.boxed("strewn_shapes"), (16, 16), ())
    with pytest.raises(UserError, match="digits has no boxes around things: choose a set that has"):
        data.windows(data.load("digits"), (4, 4))


def test_squares_all_over_a_picture():
    """Each half a side from the next, all within, every pixel in one of each side."""
    box = data.anchors(10, 12, (4, 8))
    assert len(box) == 4 * 5 + 2 * 2 and box.dtype == np.float32 and box.min() == 0 and box.max() == 1
    np.testing.assert_allclose(box[:2] * [10, 12, 10, 12], [[0, 0, 4, 4], [0, 2, 4, 6]], atol=1e-5)
    for rows in (box[:20], box[20:]):
        covered = np.zeros((10, 12), bool)
        for top, left, bottom, right in np.round(rows * [10, 12, 10, 12]).astype(int):
            covered[top:bottom, left:right] = True
        assert covered.all()
    assert data.anchors(4, 4, (9,)).tolist() == [[0, 0, 1, 1]]
    for none in ((), (4, 0)):
        with pytest.raises(UserError, match="squares have sides from 1 pixel on, not"):
            data.anchors(10, 12, none)


def test_records_of_tfds(tfds_dir):
    """Boxes come first and lie within pictures; where there is none, y is -1 and the box is empty."""
    source = data.boxed("bccd_small")
    assert (source.n, source.test.n, source.shape) == (205, 72, (240, 320, 3))
    assert source.fields["y"].names == ("RBC", "WBC", "Platelets") and source.fields["box"].shape == (28, 4)
    raw = source.test.read(np.arange(72))
    there = raw["y"] >= 0
    assert (np.sort(~there) == ~there).all() and there.any(1).all() and not raw["box"][~there].any()
    assert np.bincount(raw["y"][there]).tolist() == [805, 71, 69]
    size = raw["box"][..., 2:] - raw["box"][..., :2]
    assert (size[there] > 0).all() and raw["box"].min() >= 0 and raw["box"].max() <= 1
    assert data.boxed("bccd_small,split=validation,length=5").fields["y"].shape == (5,)
    for name, says in (
        ("bccd_small,size=64", "bccd_small with its boxes leaves no choice of size."),
        ("mnist", "mnist has no feature 'objects/label'"),
        ("digits", "digits has no feature 'objects/label'"),
    ):
        with pytest.raises(UserError, match=says):
            data.boxed(name)
