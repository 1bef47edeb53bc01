"""Pairs of records that agree in all but one label, windows of pictures, and pictures that are mirrored by a label."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_recipes import KEY, kept, levels, made, mapped

from gan_jax import UserError, data

FIELDS = {
    "x": data.Field((6, 7, 1), "image"),
    "y": data.label(3),
    "pose": data.label(3),
    "person": data.Field((4,), "tokens", np.int32, 9),
    "eyes": data.label(2),
}


def portraits(rows, **held_out):
    """Return the source of pictures of (person, pose, eyes): record i has the levels i at its left, i + 100 beside."""

    def some(rows):
        person, pose, eyes = np.array(rows, np.int32).T
        x = np.arange(len(rows), dtype=np.uint8)[:, None, None, None] + np.uint8(100) * (np.arange(7) > 2)[:, None]
        x = np.broadcast_to(x, (len(rows), 6, 7, 1)).astype(np.uint8)
        return {
            "x": x,
            "y": person,
            "pose": pose,
            "person": person[:, None] + np.arange(4, dtype=np.int32),
            "eyes": eyes,
        }

    return kept(some(rows), FIELDS, **{name: some(rows) for name, rows in held_out.items()})


# straight is pose 0. Person 0 has both eyes straight, person 1 only one, person 2 is never seen straight.
ROWS = [(0, 1, 1), (0, 0, 0), (0, 0, 1), (1, 2, 1), (2, 1, 0), (1, 0, 0), (0, 2, 0), (0, 0, 0)]
PAIRS = {0: 2, 3: 5, 6: 1}  # side view: straight one; of 1 and 7, which are alike, the first


def numbers(x):
    """Return which records pictures are."""
    return levels(x)[:, 0, 0, 0].tolist()


def test_pairs_are_of_one_person():
    """With the same eyes where there is such a record, else with others; never of somebody else; each side view once."""
    source = data.counterparts(portraits(ROWS, held_out=ROWS[:3]), "pose", 0)
    batch = made(source)
    assert dict(zip(numbers(batch["source"]), numbers(batch["x"]), strict=True)) == PAIRS and source.n == len(PAIRS)
    assert batch["pose"].tolist() == [ROWS[k][1] for k in PAIRS] and batch["y"].tolist() == [0, 1, 0]
    assert batch["eyes"].tolist() == [ROWS[k][2] for k in PAIRS.values()]
    held = made(source.test)
    assert numbers(held["source"]) == [0] and numbers(held["x"]) == [2]
    assert source.fingerprint == "print-pose0"


def test_what_stands_first_counts_most():
    """Where no record agrees in both, the eyes are given up, not the person."""
    rows = [(1, 0, 0), (0, 0, 1), (0, 1, 0)]
    batch = made(data.counterparts(portraits(rows), "pose", 0))
    assert numbers(batch["x"]) == [1]


def test_pairs_streamed_and_resident_are_the_same():
    """Bit for bit; every pair comes once in an epoch."""
    source = data.counterparts(portraits(ROWS), "pose", 0)
    arrays = jax.tree.map(jnp.asarray, data.resident(source))
    resident = jax.jit(lambda key, i: data.batch(source, arrays, key, i, 3))
    streamed = jax.jit(lambda raw, key, i: source.make(raw, key, i, 3))
    for i, raw in zip((0, 1), data.stream(source, KEY, 3, 0), strict=False):
        jax.tree.map(np.testing.assert_array_equal, resident(KEY, i), streamed(raw, KEY, i))
        assert sorted(numbers(resident(KEY, i)["source"])) == sorted(PAIRS)


def test_sets_without_pairs():
    """No such label, nothing in common, or a split in which all look one way."""
    source = portraits(ROWS)
    with pytest.raises(UserError, match="hand has no pairs by age: say age=FEATURE"):
        data.counterparts(source, "age", 0)
    bare = dataclasses.replace(source, fields={name: FIELDS[name] for name in ("x", "y", "pose")})
    with pytest.raises(UserError, match="hand has no pairs by pose"):
        data.counterparts(bare, "pose", 0)
    with pytest.raises(UserError, match="hand has a split without any pair of pose 0"):
        data.counterparts(portraits(ROWS, held_out=ROWS[1:3]), "pose", 0)


def test_a_frame_is_cut_out_of_all_pictures_of_a_row():
    """The pixels of that window, labels too, in both splits; a classifier of it is another one."""
    source = mapped(9, 12)
    framed = data.framed(source, 2, 3, 5)
    for split, new in ((source, framed), (source.test, framed.test)):
        whole, batch = made(split), made(new)
        for name in ("x", "y"):
            np.testing.assert_array_equal(batch[name], whole[name][:, 2:7, 3:8])
    assert framed.fingerprint == "print-framed2-3-5" and framed.modes is None
    for frame in ((5, 3, 5), (2, 8, 5), (0, 0, 0)):
        with pytest.raises(UserError, match="x of hand is 9x12: no square of"):
            data.framed(source, *frame)


def test_pictures_are_mirrored_by_their_label():
    """All pictures of a row, and no other row; held out too; twice is as before."""
    source = data.counterparts(portraits(ROWS, held_out=ROWS), "pose", 0)
    mirrored = data.mirrored(source, "pose", 1)
    for split, new in ((source, mirrored), (source.test, mirrored.test)):
        whole, batch = made(split), made(new)
        left = whole["pose"] == 1
        assert left.any() and not left.all()
        for name in ("x", "source"):
            np.testing.assert_array_equal(batch[name][left], whole[name][left][:, :, ::-1])
            np.testing.assert_array_equal(batch[name][~left], whole[name][~left])
        jax.tree.map(np.testing.assert_array_equal, made(data.mirrored(new, "pose", 1)), whole)
    assert mirrored.fingerprint == "print-pose0-mirrored-pose1"
    with pytest.raises(UserError, match="hand has no 3 among the values of a label pose"):
        data.mirrored(source, "pose", 3)
