"""What is said of music in numbers, inside jit: of tones one after another, and of melodies with their chords.

The measures of tones are those of C-RNN-GAN (Mogren 2016, arXiv 1611.09904, section 4).
"""

import jax
import jax.numpy as jnp
import numpy as np

SCALES = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)  # major (and natural minor, its sixth mode), harmonic minor
IN_SCALE = np.array([np.isin((np.arange(12) - root) % 12, scale) for scale in SCALES for root in range(12)], np.float32)


def rounded(tones):
    """Return when tones [n, t, (wait, length, pitch)] start, in whole steps [n, t], and their MIDI pitches [n, t]."""
    wait, pitch = jnp.round(jnp.maximum(tones[..., 0], 0)), jnp.round(jnp.clip(tones[..., 2], 0, 127))
    return wait.astype(jnp.int32).cumsum(1), pitch.astype(jnp.int32)


def of_tones(tones):
    """Return {"polyphony", "scale", "repetitions", "span", "wait", "length"} of tones [n, t, (wait, length, pitch)].

    Means over all n, of the functions below; wait and length in steps.
    """
    start, pitch = rounded(tones)
    found = {"polyphony": polyphony(start), "scale": scale_consistency(pitch), "repetitions": repetitions(pitch)}
    found |= {"span": span(pitch), "wait": tones[..., 0], "length": tones[..., 1]}
    return {name: values.mean(dtype=jnp.float32) for name, values in found.items()}


def polyphony(start):
    """Return of starts [n, t], in order, the share [n] of moments at which more than one tone starts."""
    later = start[:, 1:] != start[:, :-1]
    first = jnp.pad(later, ((0, 0), (1, 0)), constant_values=True)  # of the tones that start together
    more = first & jnp.pad(~later, ((0, 0), (0, 1)))
    return more.sum(1) / first.sum(1)


def scale_consistency(pitch):
    """Return the share [n] of pitches [n, t] that are in a scale, of the scale, major or minor, that has most."""
    counts = jax.nn.one_hot(pitch % 12, 12, dtype=jnp.float32).sum(1)  # [n, 12]
    return (counts @ IN_SCALE.T).max(1) / pitch.shape[1]


def repetitions(pitch, k=3):
    """Return how many pairs [n] of k pitches in a row, of [n, t], are alike and don't overlap."""
    places = jnp.arange(pitch.shape[1] - k + 1)
    runs = pitch[:, places[:, None] + jnp.arange(k)[None]]  # [n, t - k + 1, k]
    same = (runs[:, :, None] == runs[:, None]).all(-1)
    return (same & (places[None] >= places[:, None] + k)[None]).sum((1, 2))


def span(pitch):
    """Return the half tones [n] from the lowest to the highest pitch of [n, t]."""
    return pitch.max(1) - pitch.min(1)


def begins(pitch):
    """Return where a note of melodies [n, t] begins [n, t]: at the first step, and where the pitch is another."""
    return jnp.pad(pitch[:, 1:] != pitch[:, :-1], ((0, 0), (1, 0)), constant_values=True)


def in_chord(pitch, classes):
    """Return the share of the notes of melodies [n, t] whose pitch class is one of those of their chord [n, c]."""
    among = (pitch[:, :, None] % 12 == classes[:, None]).any(-1)
    notes = begins(pitch)
    return (among & notes).sum() / notes.sum()


def pitch_histogram(pitch):
    """Return the share [128] that each MIDI pitch has of the notes of melodies [n, t]."""
    return _histogram(pitch, begins(pitch), 128)


def interval_histogram(pitch, most=24):
    """Return the shares [2 most + 1] that steps of -most to most half tones have of those from note to note, [n, t]."""
    steps = pitch[:, 1:] - pitch[:, :-1]
    return _histogram(jnp.clip(steps, -most, most) + most, steps != 0, 2 * most + 1)


def _histogram(values, there, n):
    counts = jnp.zeros(n, jnp.float32).at[values].add(there.astype(jnp.float32))
    return counts / jnp.maximum(counts.sum(), 1)


def total_variation(p, q):
    """Return half the sum of the differences of two histograms: the share of one that would have to move."""
    return jnp.abs(p - q).sum() / 2


def distinct(rows):
    """Return the share of rows [n, t] that equal no row before them."""
    same = (rows[:, None] == rows[None]).all(-1)
    return 1 - jnp.tril(same, -1).any(1).mean(dtype=jnp.float32)
