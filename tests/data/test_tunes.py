"""Tunes as tones and as bars: written by hand, and what the sets hold against plain loops."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strangers
import tensorflow_datasets as tfds

from gan_jax import UserError, data
from gan_jax.data import builders, stored, tunes


def test_voices_and_rolls_are_tones():
    """A pitch that stays is one tone, silence none; what starts together is in the order of pitch."""
    notes = np.array([[60, 48, -1, -1], [60, 50, -1, -1], [62, 50, -1, 40], [-1, 50, -1, 40]])
    expected = [[0, 1, 48], [0, 2, 60], [1, 3, 50], [2, 2, 40], [2, 1, 62]]
    assert tunes.sounding({"notes": notes}).tolist() == expected
    roll = np.zeros((4, 88))
    for start, length, pitch in expected:
        roll[start : start + length, pitch - 21] = 1
    assert tunes.sounding({"roll": roll}).tolist() == expected
    assert tunes.sounding({"roll": roll[:0]}).shape == (0, 3)


def test_chords_sound_below_the_melody():
    """In sixteenths, each of their notes from C3 on."""
    melody, chords = np.array([[6, 12, 72], [18, 6, 74]]), np.zeros((1, 14), int)
    chords[0, [0, 1, 2, 9]] = 0, 48, 1, 1  # C and G
    found = tunes.sounding({"melody": melody, "chords": chords})
    assert found.tolist() == [[0, 16, 48], [0, 16, 55], [2, 4, 72], [6, 2, 74]]


def test_windows_of_tones():
    """One after another; waits go on over the border, and what is long is cut."""
    found = np.array([[3, 1, 60], [3, 40, 61], [40, 2, 62], [41, 2, 63], [42, 2, 64]])
    assert tunes._windows(found, 2).tolist() == [[[0, 1, 60], [0, 16, 61]], [[16, 2, 62], [1, 2, 63]]]
    assert tunes._windows(found, 6).shape == (0, 6, 3)


def test_tones_have_mean_0_and_deviation_1():
    """Over the training split; `undo` takes them back to whole steps and pitches, in jit too, held out or not."""
    source = data.tones("ditties", 8)
    x, field = source.whole()["x"], source.row["x"]
    assert field.names == ("wait", "length", "pitch") and x.dtype == np.float32 and source.shape == (8, 3)
    np.testing.assert_allclose(x.mean((0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(x.std((0, 1)), 1, rtol=1e-3)
    for split in (source, source.test):
        back = np.asarray(jax.jit(field.undo)(jnp.asarray(split.whole()["x"])))
        np.testing.assert_allclose(back, np.rint(back), atol=1e-4)
        assert back[..., 0].min() >= -1e-4 and back[..., 2].min() > 47 and back[..., 2].max() < 85
    assert source.says == f"ditties: tones (windows of 8); train {source.n}, test {source.test.n}"
    assert (tunes.tones.__wrapped__("ditties", 8).whole()["x"] == x).all()
    with pytest.raises(UserError, match="no tune has 5000 tones: ask for fewer"):
        data.tones("ditties", 5000)


def test_a_chord_is_one_triad():
    """In any order and with a seventh; where two could be meant, or none is, it has no number."""
    flags = np.array(
        [np.isin(np.arange(12), c) for c in ([0, 4, 7], [7, 11, 2, 5], [9, 0, 4], [9, 0, 4, 7], [11, 2, 5])]
    )
    assert tunes.triads(flags).tolist() == [0, 7, 21, -1, -1]
    assert [sorted(one) for one in tunes.CHORDS[[0, 7, 21]].tolist()] == [[0, 4, 7], [2, 7, 11], [0, 4, 9]]
    assert [np.flatnonzero(roll).tolist() for roll in tunes.ROLLS[[0, 7]]] == [[48, 52, 55], [50, 55, 59]]
    vector = np.asarray(tunes.chord(jnp.array([[7, 21]])))
    assert vector.shape == (1, 2, 13)
    np.testing.assert_array_equal(np.argwhere(vector), [[0, 0, 7], [0, 1, 9], [0, 1, 12]])


def test_rests_are_filled():
    """By the note before, at the beginning by the first one; other octaves are brought into two."""
    bar = np.full(16, -1)
    bar[4:6], bar[9:] = 59, 90
    assert tunes.filled(bar).tolist() == [71] * 9 + [78] * 7
    assert tunes.filled(np.full(16, 84)).tolist() == [72] * 16 and tunes.filled(np.full(16, 60)).tolist() == [60] * 16


def tune(melody, chords, signature=(4, 4)):
    rows = [[start, length, *np.isin(np.arange(12), classes)] for start, length, classes in chords]
    return {"melody": np.array(melody), "chords": np.array(rows), "time_signature": np.array(signature)}


def test_bars_that_are_left_out():
    """Those without a chord, off the sixteenths, or after one of these; not those after a bar of another chord."""
    c, none = [0, 4, 7], [0, 6]
    melody = [[36, 12, 62], [48, 48, 60], [96, 48, 64], [144, 4, 60], [148, 44, 62], [192, 48, 65], [240, 50, 67]]
    chords = [[48, 48, c], [96, 28, none], [124, 20, c], [144, 150, c]]
    found = list(tunes._bars_of(tune(melody, chords)))
    assert [(bar[0], before[0], number) for bar, before, number in found] == [(60, -1, 0), (67, 65, 0), (67, 67, 0)]
    assert list(tunes._bars_of(tune(melody, chords, (6, 8)))) == []
    assert [bar[2] for bar in tunes._bars_of(tune([[0, 48, 60]], [[0, 20, c], [20, 28, [9, 0, 4]]]))] == [21]


def test_a_batch_is_transposed():
    """Melody, bar before and chord alike, within two octaves, each row by its own half tones; not what is held out."""
    source, key = data.bars("ditties"), jax.random.key(0)
    raw = {name: jnp.asarray(a[:40]) for name, a in source.whole().items()}
    still, moved = (jax.jit(s.make, static_argnums=3)(raw, key, 3, 40) for s in (source.test, source))
    root = lambda batch: np.asarray(batch["chord"][:, :12].argmax(-1))
    up = (root(moved) - root(still)) % 12
    assert len(set(up.tolist())) > 6 and (root(still) == raw["chord"] % 12).all()
    assert (still["chord"][:, 12] == raw["chord"] // 12).all() and (
        moved["chord"][:, 12] == still["chord"][:, 12]
    ).all()
    for name in ("x", "before"):
        there = np.asarray(raw[name]) >= 0
        for batch, by in ((still, 0 * up), (moved, up)):
            roll = np.asarray(batch[name])
            assert roll.dtype == np.int32 and (roll.sum(-1) == there).all()
            expected = 60 + (np.asarray(raw[name]) - 60 + by[:, None]) % 24
            assert (roll.argmax(-1) == np.where(there, expected, 0)).all()
    assert not np.asarray(raw["before"][0] >= 0).any() and (raw["before"][1] == raw["x"][0]).all()


def test_whole_tunes_come_first():
    """Of tunes of 2, 4 and 3 bars, those of at least three."""
    before = np.zeros((9, 16), int)
    before[[0, 2, 6]] = -1
    assert tunes.beginnings(before, 2, 3).tolist() == [[2, 3, 4], [6, 7, 8]]


@pytest.mark.parametrize(
    "record, says",
    [
        ({"notes": np.zeros((4, 4, 2), int)}, "its notes are numbers of the shape"),
        ({"notes": np.array(["C4", "D4"])}, "not <U2"),
        ({"notes": np.array([[0, 480, 60], [480, 480, 62]])}, "pitches"),  # start, length, pitch and not voices
        ({"roll": np.zeros((8, 128), int)}, "not int64 \\(8, 128\\)"),  # of all pitches and not of a piano's
        ({"melody": np.array([[0, 4, 200]])}, "pitches"),
        ({"melody": np.array([[-48, 48, 60]])}, "numbers below 0"),
        ({"chords": np.zeros((3, 12), int)}, "its chords are numbers of the shape"),
        ({"time_signature": np.array([4, 4, 4])}, "time_signature"),
    ],
)
def test_records_of_the_same_name_that_are_no_music(record, says):
    """A feature may be called `notes` and be another thing: said of the record, nothing made of it."""
    good = {
        "notes": np.array([[60, -1]]),
        "roll": np.zeros((8, 88)),
        "melody": np.zeros((0,)),
        "chords": np.zeros((0, 14)),
    }
    assert tunes.odd(good) == ""
    assert re.search(says, tunes.odd(good | record))


def test_a_set_with_such_a_record_is_refused(tmp_path, monkeypatch):
    """In a line with the record and its split, before training."""
    features = {"roll": tfds.features.Tensor(shape=(None, 128), dtype=np.uint8)}
    strangers.written(tmp_path, "wide", features, train=[{"roll": np.ones((40, 128), np.uint8)}] * 2)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(
        UserError, match="record 0 of wide, split train, is no music: its roll are numbers of the shape"
    ):
        data.tones("wide", 4)


@functools.cache
def records(name, *features):
    flat = stored.flat(builder := builders.found(name)[0])
    split = stored.Split(name, "test", builder, "")
    return list(split.rows(range(split.n), {f: flat[f] for f in features}, dict))


def test_tfds_sets_are_music(tfds_dir):
    """Three forms of tunes give as many windows as their tones, told in their own units."""
    for name, feature in (("jsb_chorales", "notes"), ("piano_midi_rolls", "roll")):
        source = data.tones(name, 32)
        counts = [len(tunes.sounding(one)) // 32 for one in records(name, feature)]
        assert source.test.n == sum(counts) and source.fingerprint != source.test.fingerprint
        first = np.concatenate(
            [tunes.sounding(one)[: 32 * n] for one, n in zip(records(name, feature), counts, strict=True)]
        )
        pitch = source.row["x"].undo(source.test.whole()["x"])[..., 2].ravel()
        np.testing.assert_allclose(pitch, first[:, 2], atol=1e-3)
    with pytest.raises(UserError, match="mnist is no music of this kind"):
        data.tones("mnist", 32)
    with pytest.raises(UserError, match="melody, chords, time_signature"):
        data.bars("jsb_chorales")


def test_bars_of_nottingham(tfds_dir):
    """Most bars of tunes in 4/4 are taken, and their notes are those of the set at their sixteenth."""
    source = data.bars("nottingham")
    raw, tunes_in_4 = source.test.whole(), [r for r in records("nottingham", "melody", "chords", "time_signature")]
    tunes_in_4 = [one for one in tunes_in_4 if one["time_signature"][0] == one["time_signature"][1]]
    bars = sum(int(one["melody"][-1, 0]) // 48 for one in tunes_in_4)
    assert 0.7 * bars < source.test.n <= bars + len(tunes_in_4) and source.n > 10_000
    assert raw["x"].min() >= 60 and raw["x"].max() < 84 and set(raw["chord"].tolist()) <= set(range(24))
    first = next(iter(tunes_in_4))
    played = {int(start) // 3: int(pitch) for start, _, pitch in first["melody"]}
    at = -(-int(first["melody"][0, 0]) // 48) * 16
    assert [played[at + i] % 12 for i in range(16) if at + i in played] == [
        int(raw["x"][0, i]) % 12 for i in range(16) if at + i in played
    ]
