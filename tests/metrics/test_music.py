"""What is said of music, by hand and against plain loops."""

import itertools

import jax
import numpy as np
import pytest

from gan_jax.metrics import music


def test_polyphony_counts_moments():
    """Not tones: of three moments two have more than one tone, of one, one, and the last one counts."""
    start = np.array([[0, 0, 0, 4, 7, 7], [0, 1, 2, 3, 4, 5], [3, 3, 3, 3, 3, 3]])
    np.testing.assert_allclose(music.polyphony(start), [2 / 3, 0, 1])


def test_the_best_of_all_scales():
    """Major in any key and octave, its relative minor, harmonic minor; of twelve half tones seven fit."""
    major, harmonic = np.array([0, 2, 4, 5, 7, 9, 11]), np.array([0, 2, 3, 5, 7, 8, 11])
    rows = [major + 60, (major + 3) % 12 + 24, harmonic + 51, [*(major + 61)[:-1], 61 + 1]]
    np.testing.assert_allclose(music.scale_consistency(np.array(rows)), [1, 1, 1, 6 / 7])
    np.testing.assert_allclose(music.scale_consistency(np.arange(12)[None]), 7 / 12)


def test_repetitions_by_plain_loops():
    """Pairs that overlap don't count; the last ones do."""
    pitch = np.random.default_rng(0).integers(60, 62, (5, 14))
    pitch[0], pitch[1] = [1, 2, 3, 1, 2, 3, 0, 4, 5, 6, 7, 1, 2, 3], 5
    for k in (2, 3):
        expected = [
            sum(list(row[i : i + k]) == list(row[j : j + k]) for i in range(14) for j in range(i + k, 15 - k))
            for row in pitch
        ]
        np.testing.assert_array_equal(music.repetitions(pitch, k), expected)
    assert list(music.repetitions(pitch)[:2]) == [3, sum(range(1, 10))]


def test_tones_are_rounded():
    """Waits add up, none is negative, and pitches are MIDI's; means of all tones and tunes."""
    tones = np.array([[[0.4, 2, 60.4], [2.6, 4, 71.6], [-3, 3, 200]], [[0, 1, -9], [0, 1, 1], [1, 1, 2]]], np.float32)
    start, pitch = music.rounded(tones)
    assert start.tolist() == [[0, 3, 3], [0, 0, 1]] and pitch.tolist() == [[60, 72, 127], [0, 1, 2]]
    found = music.of_tones(tones)
    assert found["polyphony"] == 0.5 and found["span"] == (67 + 2) / 2 and found["length"] == 2
    assert found["wait"] == pytest.approx((0.4 + 2.6 - 3 + 1) / 6, rel=1e-5)


def test_notes_in_their_chord():
    """A note counts once, however long it is, in any octave; a note that is struck again at once is the same."""
    pitch, classes = np.array([[60, 60, 60, 61, 76, 76], [62, 62, 62, 62, 62, 62]]), np.array([[0, 4, 7], [0, 3, 7]])
    assert music.begins(pitch).tolist() == [[True, False, False, True, True, False], [True, *[False] * 5]]
    assert music.in_chord(pitch, classes) == 0.5


def test_histograms_of_notes_and_intervals():
    """By plain loops over notes; wide intervals are counted at the end, and no note is no interval."""
    pitch = np.random.default_rng(1).integers(58, 64, (20, 8))
    pitch[0], pitch[1] = [40, 80, 40, 80, 80, 80, 40, 41], 60
    notes = [[p for i, p in enumerate(row) if i == 0 or p != row[i - 1]] for row in pitch.tolist()]
    pitches = [p for row in notes for p in row]
    steps = [b - a for row in notes for a, b in itertools.pairwise(row)]
    np.testing.assert_allclose(music.pitch_histogram(pitch), np.bincount(pitches, minlength=128) / len(pitches))
    expected = np.bincount(np.clip(steps, -24, 24) + 24, minlength=49) / len(steps)
    np.testing.assert_allclose(music.interval_histogram(pitch), expected, rtol=1e-6)
    assert music.interval_histogram(pitch[1:2]).sum() == 0
    assert expected[24] == 0 and expected[48] > 0 and expected[0] > 0


def test_how_far_histograms_are():
    """Half of one has to move; the same are at 0, others at 1."""
    p, q = np.array([0.5, 0.5, 0]), np.array([0.5, 0, 0.5])
    assert music.total_variation(p, q) == 0.5 and music.total_variation(p, p) == 0
    assert music.total_variation(p[[0, 2, 2]] * 2, q[[1, 2, 1]] * 2) == 1


def test_rows_that_repeat():
    """Each first one counts."""
    rows = np.array([[1, 2], [1, 3], [1, 2], [1, 2], [4, 4]])
    assert jax.jit(music.distinct)(rows) == pytest.approx(3 / 5)
