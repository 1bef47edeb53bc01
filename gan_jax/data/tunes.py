"""Tunes: music as tones one after another, and as bars of a melody with their chords."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import builders, chance, choices, stored
from gan_jax.data.composed import of_arrays
from gan_jax.data.sets import chosen
from gan_jax.data.source import Field, Source
from gan_jax.errors import UserError

TOY = "ditties"
FEATURES = ("melody", "chords", "time_signature"), ("notes",), ("roll",)  # of sets that are music
SHAPES = {"melody": ("t", 3), "chords": ("t", 14), "time_signature": (2,), "notes": ("t", "voices"), "roll": ("t", 88)}
TONE = "wait", "length", "pitch"  # wait: steps since the tone before began; pitch: MIDI's
MOST = 16  # steps that a tone waits or lasts: more are as many
PIANO, LOW = 21, 48  # MIDI pitch of the first column of a roll, and of the C above which chords are played
UNIT, BAR = 3, 16  # twelfths of a quarter note in a step, a sixteenth; steps of a bar of 4/4
PITCHES, LEAST, RANGE = 128, 60, 24  # of a bar's roll; melodies stay in two octaves, from C4 on
TRIADS = np.array([[0, 4, 7], [0, 3, 7]])  # major, minor: half tones above the root
CHORDS = (np.arange(12)[:, None] + TRIADS[:, None]).reshape(24, 3) % 12  # pitch classes; number root + 12 if minor
ROLLS = np.zeros((24, PITCHES), np.int32)  # each of these chords, as it is played
np.put_along_axis(ROLLS, LOW + CHORDS, 1, 1)


# Tones


@functools.cache
def tones(name: str, length: int = 32) -> Source:
    """Return tunes cut into windows of tones: x [length, (wait, length, pitch)], in order of their start, then pitch.

    Each column has mean 0 and deviation 1 over the training split; the field's `undo` takes them back to steps and
    MIDI pitches. What waits or lasts more than 16 steps does so for 16. A step is a row of a roll, or a sixteenth;
    chords beside a melody sound from C3 on.

    name: "ditties", made tunes that need no download, or a TFDS set that has a melody with chords and time_signature
    (nottingham), notes [t, voices] of MIDI pitches (jsb_chorales) or a piano roll [t, 88] (piano_midi_rolls); a split
    and a test may be chosen after it. Raises UserError where it has none of these, or no tune is long enough.
    """
    bare, parts, marks = _records(name, FEATURES, "tones", length)
    found = [np.concatenate([_windows(sounding(one), length) for one in part]) for part in parts]
    if not all(map(len, found)):
        raise UserError(f"{bare} has a split in which no tune has {length} tones: ask for fewer.")
    mean, deviation = found[0].mean((0, 1)), found[0].std((0, 1)) + np.float32(1e-6)
    of = lambda a, x: a.reshape((1,) * (x.ndim - 1) + (3,))
    field = Field((length, 3), "series", names=TONE, undo=lambda x: x * of(deviation, x) + of(mean, x))
    raw = [{"x": (x - mean) / deviation} for x in found]
    return _source(bare, {"x": field}, raw, marks, f"tones (windows of {length})")


def sounding(record: dict) -> np.ndarray:
    """Return the tones [n, (start, length, pitch)] of a record, start and length in steps, by start and pitch."""
    if "melody" in record:
        melody, chords = (np.asarray(record[name], np.float64) for name in ("melody", "chords"))
        which, pitch = np.nonzero(chords[:, 2:])
        below = np.column_stack([chords[which, :2], LOW + pitch])
        found = np.concatenate([melody, below]) / (UNIT, UNIT, 1)
    else:
        roll = np.asarray(record["roll"]) if "roll" in record else None
        voices = (
            np.asarray(record["notes"]) if roll is None else np.where(roll > 0, PIANO + np.arange(roll.shape[1]), -1)
        )
        found = []
        for line in voices.T:
            cuts = np.flatnonzero(np.diff(line, prepend=-2, append=-2))  # a pitch that stays is one tone
            found += [(a, b - a, line[a]) for a, b in itertools.pairwise(cuts) if line[a] >= 0]
        found = np.array(found, np.float64).reshape(-1, 3)
    return found[np.lexsort((found[:, 2], found[:, 0]))]


def _windows(found, length):
    """Return tones [n, (start, length, pitch)] as windows [n // length, length, (wait, length, pitch)]."""
    start, lasts, pitch = found.T
    times = np.minimum([np.diff(start, prepend=start[:1]), lasts], MOST)
    rows = np.column_stack([*times, pitch]).astype(np.float32)
    return rows[: len(rows) // length * length].reshape(-1, length, 3)


# Bars


@functools.cache
def bars(name: str) -> Source:
    """Return the bars of 4/4 tunes: x and `before` [16, 128], 1 where a pitch sounds at a sixteenth, and `chord` [13].

    One pitch sounds at every step: rests are filled by the note before them, at the beginning of a bar by the first
    one. Notes outside of the two octaves from C4 on are moved by octaves. `before` is the bar before, all 0 for the
    first bar of a tune; `chord` the root, one of twelve, then 1 if it is minor: the triad that sounds longest in the
    bar. Bars of no such chord, with notes off the sixteenths, or after such a bar, are left out. A training batch is
    transposed, each row by half tones that are drawn, within the two octaves; what is held out stays as it is.

    The raw records are pitches x [16] and `before` [16] (-1: none) and the chord's number, root + 12 if it is minor.
    name: as in `tones`, a set that has a melody with chords. Raises UserError where it has none, or no such bars.
    """
    bare, parts, marks = _records(name, FEATURES[:1], "bars")
    raw = [_bars(part) for part in parts]
    if not all(len(one["x"]) for one in raw):
        raise UserError(f"{bare} has a split without bars of 4/4 over major and minor chords.")
    roll = Field((BAR, PITCHES), "series", np.int32)
    fields = {"x": roll, "before": roll, "chord": Field((13,), "row")}
    source = _source(bare, fields, raw, marks, "bars of 4/4")
    made = lambda source, held_out: dataclasses.replace(source, make=functools.partial(_rolls, held_out))
    return dataclasses.replace(made(source, False), test=source.test and made(source.test, True))


def _rolls(held_out, raw, key, i, b):
    """Return the batch of raw bars, transposed where they are not held out."""
    up = chance.below(chance.of_batch(key, i, "transposed", b)(), 12)[:, None]
    up = jnp.zeros_like(up) if held_out else up
    moved = lambda p: jnp.where(p < 0, p, LEAST + (p - LEAST + up) % RANGE)
    rolls = {name: jax.nn.one_hot(moved(raw[name]), PITCHES, dtype=jnp.int32) for name in ("x", "before")}
    root, minor = (raw["chord"] + up[:, 0]) % 12, raw["chord"] // 12
    return rolls | {"chord": chord(root + 12 * minor)}


def chord(number: jax.Array) -> jax.Array:
    """Return chords [...] by number as G and D are told them [..., 13]: the root, one of twelve, then 1 if minor."""
    root = jax.nn.one_hot(number % 12, 12, dtype=jnp.float32)
    return jnp.concatenate([root, (number // 12)[..., None].astype(jnp.float32)], -1)


def beginnings(before: jax.Array, n: int, length: int) -> jax.Array:
    """Return the numbers [n, length] of the first bars of the first n tunes that have so many, in jit.

    before [bars, 16]: that of all raw records, in their order. Of tunes that are too short, others' bars follow.
    """
    starts = (before[:, 0] < 0).astype(jnp.int32)
    whole = starts * (sum(jnp.roll(starts, -i) for i in range(1, length)) == 0)  # no other begins in its first bars
    at = jnp.argsort(-whole, stable=True)[:n, None] + jnp.arange(length)[None]
    return jnp.minimum(at, len(starts) - 1)


def _bars(records):
    """Return the raw bars of all records."""
    found = [bar for record in records for bar in _bars_of(record)]
    x, before, number = zip(*found, strict=True) if found else ((), (), ())
    steps = lambda rows: np.array(rows, np.int32).reshape(-1, BAR)
    return {"x": steps(x), "before": steps(before), "chord": np.array(number, np.int32)}


def _bars_of(record):
    """Yield (pitches, pitches of the bar before, chord) of a tune in 4/4."""
    above, below = record["time_signature"]
    melody, chords = np.asarray(record["melody"]), np.asarray(record["chords"])
    if above != below or not len(melody):
        return
    first = -(-int(melody[0, 0]) // (UNIT * BAR))  # notes before the first whole bar are left out
    n = -(-int((melody[:, 0] + melody[:, 1]).max()) // (UNIT * BAR))
    grid, off = np.full(n * BAR, -1), np.zeros(n, bool)
    for start, length, pitch in melody:
        grid[start // UNIT : -(-(start + length) // UNIT)] = pitch
        off[start // (UNIT * BAR)] |= start % UNIT > 0
    lines = [
        None if bad or (bar < 0).all() else filled(bar) for bar, bad in zip(grid.reshape(n, BAR), off, strict=True)
    ]
    for k in range(first, n):
        number, before = _longest(chords, k), np.full(BAR, -1) if k == first else lines[k - 1]
        if lines[k] is not None and before is not None and number >= 0:
            yield lines[k], before, number


def filled(bar: np.ndarray) -> np.ndarray:
    """Return the pitches [16] of a bar in two octaves, with rests (-1) filled by the note before, or by the first."""
    bar = np.where(bar < 0, -1, np.where(bar < LEAST, LEAST + bar % 12, bar))
    bar = np.where(bar < LEAST + RANGE, bar, LEAST + RANGE - 12 + bar % 12)
    last = np.maximum.accumulate(np.where(bar < 0, -1, np.arange(len(bar))))
    return bar[np.where(last < 0, np.flatnonzero(bar >= 0)[0], last)]


def _longest(chords, k):
    """Return the number of the triad that sounds longest in bar k, -1 where that is none."""
    begin, end = k * BAR * UNIT, (k + 1) * BAR * UNIT
    shared = np.minimum(chords[:, 0] + chords[:, 1], end) - np.maximum(chords[:, 0], begin)
    length = np.zeros(25)
    np.add.at(length, triads(chords[:, 2:]), np.maximum(shared, 0))
    return -1 if length.max() == 0 else [*range(24), -1][length.argmax()]


def triads(flags: np.ndarray) -> np.ndarray:
    """Return of pitch classes [n, 12], 1 where they sound, the number of the one triad among them [n]; -1 where none.

    Where several could be meant, it is none.
    """
    among = (flags[:, CHORDS] > 0).all(-1)  # [n, 24]
    return np.where(among.sum(1) == 1, among.argmax(1), -1)


# Records


def _records(name, kinds, *what):
    """Return (the set's bare name, the records of each split, what the cache calls what is made of each)."""
    if name == TOY:
        made = _ditties(np.random.default_rng(0))
        return name, [list(itertools.islice(made, n)) for n in (120, 30)], ["", ""]
    bare, said = chosen(name)
    if more := said.keys() - {"split", "test"}:
        raise UserError(f"{bare} as music leaves no choice of {', '.join(sorted(more))}, only of split and test.")
    builder, again = builders.found(bare, (TOY,))
    splits = [s for s in choices.splits(bare, builder, again, said.get("split", ""), said.get("test")) if s]
    flat = stored.flat(builder)
    features = next((of for of in kinds if set(of) <= set(flat)), None)
    if features is None:
        said = "; or ".join(", ".join(of) for of in kinds)
        raise UserError(f"{bare} is no music of this kind, which has the features {said}.")
    parts = [list(split.rows(range(split.n), {of: flat[of] for of in features}, dict)) for split in splits]
    for split, records in zip(splits, parts, strict=True):
        if wrong := next(((i, said) for i, record in enumerate(records) if (said := odd(record))), None):
            raise UserError(f"record {wrong[0]} of {bare}, split {split.split}, is no music: {wrong[1]}.")
    return bare, parts, [split.fingerprint(*what) for split in splits]


def odd(record: dict) -> str:
    """Return what of a record is not what its feature is called, in words; "" where all is."""
    for name, a in record.items():
        a, shape = np.asarray(a), SHAPES[name]
        alike = len(shape) == a.ndim and all(n == m or isinstance(n, str) for n, m in zip(shape, a.shape, strict=True))
        if a.dtype.kind not in "biuf" or (a.size and not alike):
            return f"its {name} are numbers of the shape {shape}, not {a.dtype} {a.shape}"
        least = -1 if name == "notes" else 0  # -1: silence
        pitches = {"melody": a[..., 2:], "notes": a}.get(name, a[:0])
        if (a < least).any() or (pitches >= PITCHES).any():
            return f"its {name} have numbers below {least}, or pitches that MIDI has not"
    return ""


def _source(name, fields, raw, marks, said):
    """Return the first of the splits as a Source, with the second one held out."""
    test = of_arrays(name, fields, raw[1], fingerprint=marks[1]) if len(raw) > 1 else None
    source = of_arrays(name, fields, raw[0], test, marks[0])
    held = f"test {test.n}" if test else "no test split"
    return dataclasses.replace(source, says=f"{name}: {said}; train {source.n}, {held}")


def _ditties(generator):
    """Yield tunes of eight bars in C: over each chord a rhythm, in which the melody walks from a note of the chord."""
    scale = LEAST + np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17, 19, 21, 23])
    rhythms = (4, 4, 4, 4), (8, 4, 4), (4, 2, 2, 8), (2, 2, 2, 2, 4, 4), (6, 2, 8)
    while True:
        melody, chords, at = [], [], 7
        for k, number in enumerate(generator.choice([0, 5, 7, 21], 8)):  # C, F, G, A minor
            start = k * BAR
            chords.append([start * UNIT, BAR * UNIT, *np.isin(np.arange(12), CHORDS[number])])
            at = int(np.abs(np.where(np.isin(scale % 12, CHORDS[number]), np.arange(14), 99) - at).argmin())
            for steps in rhythms[generator.integers(len(rhythms))]:
                melody.append([start * UNIT, steps * UNIT, scale[at]])
                start, at = start + steps, int(np.clip(at + generator.choice([-2, -1, 1, 2]), 0, 13))
        yield {"melody": np.array(melody), "chords": np.array(chords), "time_signature": np.array([4, 4])}
