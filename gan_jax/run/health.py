"""What the evaluations of a run say about its game, in words.

A finding is a word, a figure and what it means. Where the data's modes are known, their coverage and the share of
samples of high quality are judged; elsewhere the signs below. Losses, shares, variety and the way that diversity goes
are those of the last quarter of the rows (at least the last three), all else is of the last evaluation. "failed to
converge" and "at rest" are for games of probabilities (minimax, non-saturating), in which D's loss is 2 log 2 and its
scores are 0 when it can't tell. docs/results/health.md says how often these words are right.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import metrics

LEAST = 5  # evaluations; with fewer it is too early to tell
LOST_D, LOST_G = 0.1, 4.0  # D's loss below, and G's above: G learns nothing any more
COVERED = 0.75  # of known modes, or of classes, at most: collapsed
MANY = 32  # samples and reals, from which on their classes are counted; of fewer it would be chance
DIVERSE = 0.5, 2.0  # mean distance of two samples over that of two real ones: below, collapsed; above, blown up
QUALITY = 0.5  # share of samples of high quality, where modes are known: below, of low quality
FEW = 16  # numbers of a sample; with fewer, nearest distances vary more, and the first of these two counts
CLOSE = 0.2, 0.5  # distance of nearest samples over that of nearest real ones: below, collapsed
FAR = 4.0, 1.5  # distance of samples to the data over that of the data to each other: above, of low quality
SWITCHED = 0.4  # share of samples that change their label from one evaluation to the next: above it, oscillating
RISING = 4, 1.25  # diversity grows from each of so many evaluations to the next, by this factor in all
REST = 0.05, 0.5  # D's loss, as a share off 2 log 2, and the size of its scores: below both, at rest
WELL, EARLY = "no sign of trouble", "too early to tell"
SIGNS = "diversity", "spacing", "distance", "variety", "shares", "modes", "high_quality"  # of an evaluation


class Known(NamedTuple):
    """What is known of data and samples."""

    modes: int = 0  # of the data; 0: unknown
    drawn: int = 2500  # samples of an evaluation
    numbers: int = 784  # of one sample


def signs(
    x: jax.Array, real: jax.Array, anchors: jax.Array | None = None, means: jax.Array | None = None
) -> dict[str, jax.Array]:
    """Return {"diversity", "spacing", "distance", "variety", "shares"} of samples x [n, ...] beside real ones [m, ...].

    The first four are about 1 for the data itself. diversity: mean distance of two samples over mean distance of two
    real ones, 0 for a point. spacing: median distance of a sample to the nearest other one, over that of as many real
    ones: small where a few shapes come again and again. distance: median distance of a sample to the nearest real one,
    over that of a real one to the nearest other: large for noise. shares [a]: of the samples, those that are nearest to
    each of the anchors [a, ...], or, where there are none, of the means of classes [a, ...]. variety, beside such means
    alone and of MANY samples or more: of how many classes samples are, over that of as many real ones, counted by the
    exponential of the entropy of their shares. {} for whole numbers (tokens, labels), between which there are no
    distances, and where there are not two of each.
    """
    if jnp.issubdtype(real.dtype, jnp.integer) or min(len(x), len(real)) < 2:
        return {}
    centre = real.mean(0, keepdims=True)  # squares of large numbers would hide small distances
    x, real, places = ((a - centre).reshape(a.shape[0], -1) for a in (x, real, means if anchors is None else anchors))
    near = lambda a: jnp.argmin(_squared(a, places), 1)[:, None] == jnp.arange(len(places))[None]
    k = min(len(x), len(real))
    counted = anchors is None and k >= MANY
    variety = {"variety": _classes(near(x[:k])) / _classes(near(real[:k]))} if counted else {}
    between, of_real = _squared(x[:256], x[:256]), _squared(real, real)
    spread = _mean_distance(of_real)
    least = 1e-3 * spread  # where the data repeat, their own distances are 0
    return variety | {
        "diversity": _mean_distance(between) / spread,
        "spacing": _nearest(between[:k, :k]) / jnp.maximum(_nearest(of_real[:k, :k]), least),
        "distance": jnp.median(jnp.sqrt(_squared(x, real).min(1))) / jnp.maximum(_nearest(of_real), least),
        "shares": near(x).mean(0),
    }


def _squared(a, b):  # [n, c], [m, c] -> squared distances [n, m]
    return jnp.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * jnp.matmul(a, b.T, precision="highest"), 0)


def _classes(near):  # of which class each is [n, a] -> how many there are, exp of the entropy of their shares
    return jnp.exp(jax.scipy.special.entr(near.mean(0)).sum())


def _mean_distance(squared):  # [n, n], of n points to each other
    n = len(squared)
    return jnp.sqrt(squared).sum() / (n * (n - 1))


def _nearest(squared):  # the median distance of one of them to the nearest other
    return jnp.median(jnp.sqrt(jnp.where(jnp.eye(len(squared), dtype=bool), jnp.inf, squared).min(1)))


def diagnose(rows: list[dict], seeds: int, known: Known) -> list[str]:
    """Return a line for each seed about rows of a metrics.jsonl: what is wrong, EARLY, "at rest", or WELL.

    Rows of the same step count once.
    """
    return [_of_seed(rows, s if seeds > 1 else None, known) for s in range(seeds)]


def _of_seed(rows, seed, known):
    def series(name):  # the last row of a step counts
        found = {row["step"]: np.asarray(row[name], float) for row in rows if name in row}
        return [value if seed is None else value[seed] for value in found.values()]

    recent = lambda name: (found := series(name))[-max(3, len(found) // 4) :]
    last = {name: float(found[-1]) for name in SIGNS if name != "shares" and (found := series(name))}
    looks = max(len(series(name)) for name in SIGNS)
    broken = [f"not finite: {name} is {value}" for name, value in last.items() if not math.isfinite(value)]
    if broken:
        return "; ".join(broken)
    if 0 < looks < LEAST:
        return f"{EARLY}: {looks} evaluation{'s' * (looks > 1)}, at least {LEAST} are needed"
    d, g = np.mean(recent("loss/d") or [math.nan]), np.mean(recent("loss/g") or [math.nan])
    moved = [*_oscillation(recent("shares"), known.drawn)]  # where it oscillates, diversity rises now and then
    past = {name: [] if moved else series(name) for name in ("diversity", "variety")}
    if variety := recent("variety"):
        last["variety"] = np.mean(variety)
    found = [*_lost(d, g), *_samples(last, known, past), *moved]
    scores = [abs(np.mean(row)) for row in (recent("score/real"), recent("score/fake")) if row]
    if not found and abs(d / (2 * math.log(2)) - 1) < REST[0] and scores and max(scores) < REST[1]:
        found.append("at rest: D can't tell real from fake")
    return "; ".join(found) or (WELL if looks else f"{WELL} in the losses")


def _lost(d, g):
    if 0 <= d < LOST_D and g > LOST_G:
        yield f"failed to converge: D's loss is {d:.2g} and G's {g:.2g}, so G learns nothing"


def _samples(last, known, past):
    """Yield what is wrong with the samples of the last evaluation; past: the scores that may still rise."""
    differ, modes = last.get("diversity", 1), known.modes
    rising = {name: _rising(name, values) for name, values in past.items()}
    close, far = (pair[known.numbers >= FEW] for pair in (CLOSE, FAR))
    if modes and last.get("modes", modes) <= COVERED * modes:
        yield rising["diversity"] or f"collapsed: samples cover {last['modes']:.0f} of {modes} modes"
    elif not modes:
        yield from _alike(last, close, rising)
    if differ > DIVERSE[1]:
        yield f"blown up: samples differ {differ:.2g} times as much as data"
    elif last.get("high_quality", 1) < QUALITY:
        yield f"low quality: {100 * last['high_quality']:.2g}% of the samples lie at a mode"
    elif "high_quality" not in last and last.get("distance", 1) > far:
        yield f"low quality: samples are {last['distance']:.3g} times as far from data as data from each other"


def _alike(last, close, rising):
    """Yield by what samples look collapsed where no modes are known; rising: why it may be too early, by score."""
    found = []  # (why it may be too early, what is seen)
    if (differ := last.get("diversity", 1)) < DIVERSE[0]:
        found.append((rising["diversity"], f"collapsed: samples differ {differ:.2f} times as much as data"))
    elif (space := last.get("spacing", 1)) < close:
        found.append((rising["diversity"], f"collapsed: the nearest samples differ {space:.2f} times as much as data"))
    if (variety := last.get("variety", 1)) <= COVERED:
        found.append((rising["variety"], f"collapsed: samples are of {variety:.2f} times as many classes as data"))
    if found:
        yield next((seen for early, seen in found if not early), found[-1][0])


def _rising(name, values):
    n, factor = RISING
    end = values[-n:]
    if len(end) == n and np.all(np.diff(end) > 0) and end[-1] > factor * end[0]:
        return f"{EARLY}: {name} still rises, {end[0]:.2f} to {end[-1]:.2f}"
    return ""


def _oscillation(shares, drawn):
    """Yield a finding where samples change shares by more than `drawn` of them do by chance."""
    if len(shares) >= 3:
        share = np.mean(shares, 0)
        chance = np.sqrt(share * (1 - share) / (math.pi * drawn)).sum()  # of two draws from the same distribution
        moved = metrics.label_switches(shares).mean() - chance
        if moved > SWITCHED:
            yield f"oscillates: {moved:.0%} of the samples change their mode between evaluations"
