"""Music as pictures and MIDI files: piano rolls [t, 88] or [t, 128], four voices [t, 4], tones [t, 3] one by one."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.data import tunes
from gan_jax.data.source import Field
from gan_jax.run.plots import page
from gan_jax.run.plots.given import Given, Panels

LOWEST = {88: tunes.PIANO, tunes.PITCHES: 0}  # {columns of a roll, a piano's or all of MIDI's: pitch of the first}
VOICES = 4  # soprano, alto, tenor, bass
STEPS_A_BEAT, TICKS, BEATS_A_MINUTE, REST = 4, 120, 90, 16  # TICKS a step; REST: silent steps between two samples
PLAYED, REAL = 16, 2  # samples of a MIDI file, at most; real ones on a picture


def is_music(field: Field) -> bool:
    """Return whether a field is whole numbers that are a roll or the pitches of four voices, or tones one by one."""
    whole = np.issubdtype(field.dtype, np.integer)
    return is_tones(field) or (len(field.shape) == 2 and field.shape[1] in (*LOWEST, VOICES) and whole)


def is_tones(field: Field) -> bool:
    """Return whether a field is (wait, length, pitch) of one tone after another."""
    return field.names == tunes.TONE


def pitches(x: np.ndarray, field: Field) -> np.ndarray:
    """Return the MIDI pitch [t, v] of each voice (or key), -1 where it is silent.

    x [t, v]: of a roll, 1 where a key is down; of voices, a pitch, or the number of the token whose name is one. What
    is no pitch from 1 to 127 (a rest, padding) is silence.
    """
    x = np.asarray(x)
    if field.shape[1] in LOWEST:
        return np.where(x > 0.5, LOWEST[field.shape[1]] + np.arange(x.shape[1]), -1)
    found = np.rint(x).astype(int)
    if field.names:
        of_name = np.array([int(name) if name.isdecimal() else -1 for name in field.names])
        found = of_name[np.clip(found, 0, len(of_name) - 1)]
    return np.where((found > 0) & (found < 128), found, -1)


def notes(x: np.ndarray, field: Field) -> list[tuple[int, int, int, int]]:
    """Return the notes of one sample [t, v] as (start, end, pitch, voice), in order; a pitch held is one note.

    A roll, and tones one by one, are a single voice, 0, that sounds many keys at once.
    """
    if is_tones(field):
        return _of_tones(x if field.undo is None else field.undo(np.asarray(x)))
    found, alone = [], field.shape[1] in LOWEST
    for voice, line in enumerate(pitches(x, field).T):
        cuts = np.flatnonzero(np.diff(line, prepend=-2, append=-2))
        found += [(a, b, line[a], 0 if alone else voice) for a, b in itertools.pairwise(cuts) if line[a] >= 0]
    return sorted((int(a), int(b), int(pitch), voice) for a, b, pitch, voice in found)


def _of_tones(x):
    """Return tones [t, (wait, length, pitch)] in steps as notes; where one begins again it ends first."""
    start = np.rint(np.maximum(x[:, 0], 0)).astype(int).cumsum()
    end = start + np.maximum(np.rint(x[:, 1]).astype(int), 1)
    pitch, last = np.clip(np.rint(x[:, 2]), 0, 127).astype(int), {}
    found = []
    for one in zip(start.tolist(), end.tolist(), pitch.tolist(), strict=True):
        if one[2] in last:
            begun, ends, _ = found[last[one[2]]]
            found[last[one[2]]] = begun, min(ends, one[0]), one[2]
        last[one[2]] = len(found)
        found.append(one)
    return sorted((a, b, p, 0) for a, b, p in found if b > a)


def extent(x: np.ndarray, field: Field) -> int:
    """Return how many steps one sample [t, v] takes."""
    return max((end for _, end, *_ in notes(x, field)), default=0) if is_tones(field) else len(x)


def picture(panels: Panels, given: Given) -> np.ndarray:
    """Return the samples of each panel as piano rolls below real ones: time to the right, pitch upwards."""
    before = {title: "" if len(panels) == 1 else f"{title}, " for title in panels}
    every = {f"{before[title]}sample {i + 1}": one for title, x in panels.items() for i, one in enumerate(x)}
    alike = given.real is not None and given.real.shape[1:] == next(iter(every.values())).shape
    real = {f"data {i + 1}": one for i, one in enumerate(given.real[:REAL])} if alike else {}
    return _rolls({title: (notes(one, given.field), extent(one, given.field)) for title, one in (real | every).items()})


def _rolls(panels):
    from matplotlib.collections import PolyCollection

    every = [pitch for found, _ in panels.values() for _, _, pitch, _ in found] or [60]
    low, high = min(every) - 2, max(every) + 3
    fig, axes = page.figure(len(panels), 5, 2.1, across=2)
    for axis, (title, (found, length)) in zip(axes, panels.items(), strict=True):
        boxes = [[(a, p - 0.2), (a, p + 1.2), (b - 0.15, p + 1.2), (b - 0.15, p - 0.2)] for a, b, p, _ in found]
        colours = [f"C{voice}" for *_, voice in found]
        axis.add_collection(PolyCollection(boxes, facecolors=colours or None))
        octaves = range(-(-low // 12) * 12, high + 1, 12)
        axis.set(xlim=(0, max(length, 1)), ylim=(low, high))
        axis.set_yticks([c + 0.5 for c in octaves], [f"C{c // 12 - 1}" for c in octaves])
        axis.grid(axis="y", linewidth=0.5)
        axis.set_title(title if found else f"{title}: silence", fontsize=9)
    axes[-1].set_xlabel("steps")
    return page.rendered(fig)


def files(file: Path, panels: Panels, given: Given) -> None:
    """Write FILE.mid: the first samples of all panels, one after the other; 4 steps a beat."""
    each = max(1, PLAYED // len(panels))
    midi([one for x in panels.values() for one in x[:each]], given.field).save(file.with_suffix(".mid"))


def midi(samples: Iterable[np.ndarray], field: Field) -> Any:
    """Return the mido.MidiFile in which samples [t, v] follow one another, with a pause between."""
    import mido

    events, at = [], 0
    for x in samples:
        for start, end, pitch, voice in notes(x, field):
            events += [((at + end) * TICKS, 0, pitch, voice), ((at + start) * TICKS, 64, pitch, voice)]
        at += extent(x, field) + REST
    track, now = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(BEATS_A_MINUTE))]), 0
    for tick, loud, pitch, voice in sorted(events):  # what ends does so before what begins
        track.append(mido.Message("note_on", note=pitch, velocity=loud, channel=voice, time=tick - now))
        now = tick
    return mido.MidiFile(type=0, ticks_per_beat=STEPS_A_BEAT * TICKS, tracks=[track])
