"""Moving digits: where they are, what a clip shows, its label, and that it is the same every time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import data
from gan_jax.data import moving
from gan_jax.game import rng

KEY = jax.random.key(0)


def digits(n=30, h=5, w=4, seed=0):
    """Return a source of n records, full rectangles of ink, each with a level of its own, labelled 0, 1 and 2."""
    x = np.broadcast_to(np.arange(1, n + 1, dtype=np.uint8)[:, None, None, None] * 8 + seed, (n, h, w, 1))
    arrays = {"x": x.copy(), "y": np.arange(n, dtype=np.int32) % 3}
    return data.Source(
        "rectangles",
        {"x": data.Field((h, w, 1), "image"), "y": data.label(3)},
        n=n,
        pick=lambda key, i, b: data.order(rng.at(key, 0, "data"), i, b, n),
        read=lambda indices: {k: a[indices] for k, a in arrays.items()},
        whole=lambda: arrays,
        nbytes=x.nbytes,
        test=digits(11, h, w, 3) if n == 30 else None,
    )


SOURCE = moving.moving_digits("clips", digits(), frames=12, side=16)


def made(source, key=KEY, i=0, b=8):
    """Return (batch i, the raw records that it is made of), as numpy."""
    raw = source.read(jax.tree.map(np.asarray, source.pick(key, i, b)))
    return jax.tree.map(np.asarray, jax.jit(lambda raw: source.make(raw, key, i, b))(raw)), raw


def ink(x):
    """Return clips in [-1, 1] as uint8 [b, frames, h, w]."""
    return np.round((x + 1) * 127.5).astype(np.uint8)[..., 0]


def test_paths_are_those_of_a_plain_loop():
    """Whole-number paths equal a loop over digits, axes and frames, which begins with the published code's floats."""
    room = np.array([11, 12])
    u = np.random.default_rng(0).random((200, 3)).astype(np.float32)
    start, step = (np.asarray(a) for a in moving.thrown(jnp.asarray(u), room))
    found = np.asarray(moving.bounced(jnp.asarray(start), jnp.asarray(step), room, 40))
    assert found.shape == (40, 200, 2)
    for k, axis in np.ndindex(200, 2):
        angle, end = 2 * np.pi * u[k, 2], room[axis] * 1024
        assert abs(start[k, axis] - u[k, axis] * end) < 2
        assert abs(step[k, axis] - 0.1 * end * [np.sin, np.cos][axis](angle)) < 3
        at, by = int(start[k, axis]), int(step[k, axis])
        for t in range(40):
            at += by
            if at <= 0:
                at, by = 0, -by
            elif at >= end:
                at, by = end, -by
            assert found[t, k, axis] == at // 1024


def published(place, speed, frames):
    """Return the places of one coordinate as the authors' code has them: in floats, the room being [0, 1]."""
    found = []
    for _ in range(frames):
        place += speed
        if place <= 0:
            place, speed = 0.0, -speed
        if place >= 1.0:
            place, speed = 1.0, -speed
        found.append(place)
    return np.array(found)


def test_paths_are_those_that_were_published():
    """In pixels, less than 0.05 off in 20 frames, but where rounding puts a bounce one frame later, which is rare."""
    u = np.random.default_rng(1).random((300, 3)).astype(np.float32)
    start, step = moving.thrown(jnp.asarray(u), np.array([36, 36]))
    found = (
        np.asarray(moving.bounced(start * 1024, step * 1024, np.array([36, 36]) * 1024, 20)) / 1024
    )  # in finer units
    angle = 2 * np.pi * np.floor(u[:, 2] * 4096) / 4096
    far = 0
    for k in range(300):
        for axis, speed in enumerate((0.1 * np.sin(angle[k]), 0.1 * np.cos(angle[k]))):
            far += abs(36 * published(float(u[k, axis]), speed, 20) - found[:, k, axis]).max() > 0.05
    assert far < 6


def test_digits_begin_anywhere_and_go_anywhere():
    """Starts are even over the room, both ends included; directions are even over the circle, at a tenth of the room."""
    room = np.array([11, 11])
    u = np.asarray(jax.random.uniform(KEY, (20_000, 3)))
    start, step = (np.asarray(a) for a in moving.thrown(jnp.asarray(u), room))
    assert start.min() >= 0 and start.max() <= 11 * 1024
    for axis in (0, 1):
        counts = np.histogram(start[:, axis], 11, (0, 11 * 1024))[0]
        assert (abs(counts - 20_000 / 11) < 5 * np.sqrt(20_000 / 11)).all()
    np.testing.assert_allclose(np.hypot(*step.T) / 1024, 1.1, atol=1e-3)
    counts = np.histogram(np.arctan2(*step.T), 16, (-np.pi, np.pi))[0]
    assert (abs(counts - 1250) < 6 * np.sqrt(1250)).all()


def test_a_clip_is_its_digits_overlaid():
    """Each frame in plain loops: both digits whole, the brighter pixel where they overlap, and paper around them."""
    batch, raw = made(SOURCE, b=20)
    u = jax.random.uniform(rng.at(KEY, 0, "moving"), (20, 2, 3))
    overlaps = 0
    for k in range(20):
        corners = np.asarray(moving.bounced(*moving.thrown(u[k], np.array([11, 12])), np.array([11, 12]), 12))
        for t in range(12):
            frame = np.zeros((16, 16), np.uint8)
            for one, (top, left) in zip(raw["x"][k], corners[t], strict=True):
                for y, x in np.ndindex(5, 4):
                    overlaps += frame[top + y, left + x] > 0
                    frame[top + y, left + x] = max(frame[top + y, left + x], one[y, x, 0])
            np.testing.assert_array_equal(ink(batch["x"])[k, t], frame)
    assert overlaps > 100 and batch["x"].dtype == np.float32


def test_digits_never_leave_the_frame_and_get_everywhere():
    """The brighter of two rectangles is seen whole in every frame; over many clips it touches all four borders."""
    tops, lefts = [], []
    for i in range(3):
        batch, raw = made(SOURCE, i=i, b=30)
        for clip, levels in zip(ink(batch["x"]), raw["x"][:, :, 0, 0, 0], strict=True):
            for frame in clip:
                y, x = np.nonzero(frame == levels.max())
                if levels[0] != levels[1]:
                    assert (np.ptp(y), np.ptp(x), len(y)) == (4, 3, 20)
                    tops.append(y.min())
                    lefts.append(x.min())
    assert set(tops) == set(range(12)) and set(lefts) == set(range(13))


def test_the_label_is_the_pair_without_its_order():
    """Three classes make six labels, named; a clip's is that of its two records, either way round."""
    batch, raw = made(SOURCE, b=30)
    field = SOURCE.fields["y"]
    assert field.classes == 6 and field.names == ("0 and 0", "0 and 1", "0 and 2", "1 and 1", "1 and 2", "2 and 2")
    for y, (a, b) in zip(batch["y"], raw["y"], strict=True):
        assert field.names[y] == f"{min(a, b)} and {max(a, b)}"
    assert len(set(batch["y"].tolist())) == 6 and any(a > b for a, b in raw["y"]) and any(a < b for a, b in raw["y"])


def test_clips_are_drawn_anew_out_of_the_training_records():
    """A function of (key, i), other for others; a digit's record comes once an epoch in each place, on other paths."""
    (one, raw), (again, _) = made(SOURCE, b=30), made(SOURCE, b=30)
    jax.tree.map(np.testing.assert_array_equal, one, again)
    for other in (made(SOURCE, i=1, b=30)[0], made(SOURCE, key=jax.random.key(1), b=30)[0]):
        assert (other["x"] != one["x"]).any((1, 2, 3, 4)).all()
    for place in (0, 1):
        assert sorted(raw["x"][:, place, 0, 0, 0].tolist()) == [8 * k for k in range(1, 31)]
    assert (raw["x"][:, 0] != raw["x"][:, 1]).any((1, 2, 3)).sum() > 20


@pytest.mark.long
def test_held_out_clips_are_of_held_out_digits_and_always_the_same():
    """One for each record of the test split, with another record beside it, whatever the key, the number and the batch."""
    test = SOURCE.test
    assert test.n == 11 and test.test is None and test.fields == SOURCE.fields
    make = jax.jit(lambda raw, key, i: test.make(raw, key, i, 0))
    whole = jax.tree.map(np.asarray, make(test.whole(), KEY, 0))
    raw = test.whole()
    assert set(raw["x"].ravel().tolist()) == {8 * k + 3 for k in range(1, 12)}
    np.testing.assert_array_equal(raw["x"][:, 0, 0, 0, 0], [8 * k + 3 for k in range(1, 12)])
    assert (raw["x"][:, 0] != raw["x"][:, 1]).any((1, 2, 3)).all()
    some = make(test.read(np.array([7, 2, 9])), jax.random.key(3), 5)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[[7, 2, 9]]), some, whole)
    batch, raw = made(test, i=2, b=4)
    np.testing.assert_array_equal(ink(batch["x"]).max((1, 2, 3)), raw["x"].max((1, 2, 3, 4)))
    shown = jax.jit(lambda key: data.examples(SOURCE, key, 4)["x"])(KEY)
    clips = {clip.tobytes() for clip in whole["x"]}
    assert all(clip.tobytes() in clips for clip in np.asarray(shown))


@pytest.mark.parametrize("which", ["train", "test"])
def test_streamed_and_resident_are_the_same(which):
    """Bit for bit, for two seeds, across the end of an epoch."""
    source, keys = SOURCE if which == "train" else SOURCE.test, jax.random.split(KEY)
    arrays = jax.tree.map(jnp.asarray, data.resident(source))
    resident = jax.jit(jax.vmap(lambda key, i: data.batch(source, arrays, key, i, 4), (0, None)))
    streamed = jax.jit(jax.vmap(lambda raw, key, i: source.make(raw, key, i, 4), (0, 0, None)))
    for i, raw in zip(range(6, 9), data.stream(source, keys, 4, 6), strict=False):
        batch = resident(keys, i)
        jax.tree.map(np.testing.assert_array_equal, streamed(raw, keys, i), batch)
        assert (batch["x"][0] != batch["x"][1]).any() and batch["x"].shape == (2, 4, 12, 16, 16, 1)


def test_base_records_are_no_constants():
    """All records of the base stay arguments of the compiled step: nothing near their size is written into it."""
    source = data.load("moving_digits")
    shapes = {"x": jax.ShapeDtypeStruct((1497, 8, 8, 1), np.uint8), "y": jax.ShapeDtypeStruct((1497,), np.int32)}
    program = jax.jit(lambda arrays, key: data.batch(source, arrays, key, 0, 8)).trace(shapes, KEY)
    constants = sum(np.asarray(c).nbytes for c in program.jaxpr.consts)
    assert constants < 64_000 < 1497 * 64


def test_moving_sets_by_name(tfds_dir):
    """moving_mnist: 20 frames of 64x64, clips of MNIST's own splits, 55 pairs; moving_digits: 16 frames of 32x32."""
    source = data.load("moving_mnist")
    assert (source.kind, source.shape, source.classes, source.n) == ("video", (20, 64, 64, 1), 55, 60_000)
    assert source.test.n == 10_000 and source.fits
    batch, raw = made(source, b=3)
    assert raw["x"].shape == (3, 2, 28, 28, 1) and batch["x"].shape == (3, 20, 64, 64, 1)
    small = data.load("moving_digits")
    assert (small.kind, small.shape, small.classes, small.n) == ("video", (16, 32, 32, 1), 55, 1497)
    assert small.fields["y"].names[:2] == ("0 and 0", "0 and 1") and small.test.n == 300
