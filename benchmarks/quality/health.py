"""`python -m benchmarks health`: how often runs that went wrong are flagged, and runs that went well are not.

Small games on five data sets, some known to go wrong, and every seed judged twice: by what the run says of its health
at its end, and by a criterion that health does not see. A mode is one of the mixture, a triple of the classifier's
labels (stacked digits), or one of its labels, counted by the exponential of their entropy (digits, MNIST). Good samples
are those within 3 standard deviations of a mode, or inside the data in the classifier's features (precision of
Kynkaanniemi et al. 2019, arXiv 1904.06991), as a share of what the data's own have.
"""

import collections
import functools
import json
import math
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks import harness
from gan_jax import data
from gan_jax.game import rng
from gan_jax.metrics import classifier, neighbours
from gan_jax.run import cli, health, plots
from gan_jax.run.config import Count

LOOKS = 10  # evaluations of a run
# Shares of modes and of good samples: bad with one at most, good with both at least.
BAD, GOOD = (0.75, 0.4), (0.8, 0.6)
OWN = 1 - math.exp(-4.5)  # share of good samples that a mixture in the plane has itself
JUDGED = 1000  # samples that the classifier judges

_TOY = "--batch-size=64 --width=64"
_MLP = "--batch-size=32 --width=64"
_SMALL_D = "--batch-size=32 --width=4 --z-dim=64 --g-lr=2e-3 --d-lr=4e-3 --ema=0"
_MOVES = f"--preset=images --g-steps=20 --g-lr=1e-3 --ema=0 {_MLP}"
_AVERAGED = "--preset=images --width=128 --batch-size=32 --g-lr=5e-4 --d-lr=5e-4"
_HARDLY = f"--preset=images --g-lr=1e-6 {_MLP}"
# data set: {what: (experiment, its flags)}
GAMES = {
    "ring8": {
        "unrolled": ("unrolled", f"--steps=4000 --z-dim=8 {_TOY}"),
        "R3GAN": ("r3gan", f"--steps=2000 --burn-in=1000 {_TOY}"),
        "LSGAN": ("lsgan", f"--steps=4000 {_TOY}"),
        "plain": ("unrolled", f"--preset=paper --unroll=0 --steps=2000 --z-dim=64 --g-lr=1e-3 --d-lr=1e-3 {_TOY}"),
        "short WGAN": ("wgan", f"--steps=500 {_TOY}"),
        "EBGAN": ("ebgan", f"--preset=ring --steps=2000 {_TOY}"),
        "G hardly learns": ("alternating", f"--g-lr=1e-6 --steps=1500 {_TOY}"),
    },
    "grid25": {
        "unrolled": ("unrolled", f"--steps=6000 --z-dim=8 {_TOY}"),
        "R3GAN": ("r3gan", f"--preset=grid --steps=3000 --burn-in=1500 {_TOY}"),
        "plain": ("unrolled", f"--unroll=0 --steps=2000 {_TOY}"),
        "vanilla": ("vanilla", f"--preset=ring --steps=4000 {_TOY}"),
        "LSGAN": ("lsgan", f"--steps=4000 {_TOY}"),
        "BEGAN": ("began", f"--preset=grid --steps=1500 {_TOY}"),
    },
    "stacked_digits": {
        "vanilla": ("vanilla", "--steps=3000 --batch-size=64 --width=128 --lr=1e-3"),
        "long vanilla": ("vanilla", "--steps=6000 --batch-size=64 --width=128 --lr=1e-3"),
        "short vanilla": ("vanilla", "--steps=800 --batch-size=64 --width=128 --lr=1e-3"),
        "fast vanilla": ("vanilla", f"--steps=1500 --lr=5e-3 {_MLP}"),
        "unrolled beside a small D": ("unrolled_modes", f"--steps=800 --unroll=5 {_SMALL_D}"),
        "plain beside a small D": ("unrolled_modes", f"--steps=800 --unroll=0 {_SMALL_D}"),
        "G moves 20 times a turn": ("alternating", f"--steps=200 {_MOVES}"),
    },
    "digits": {
        "vanilla": ("vanilla", "--steps=4000 --batch-size=32 --width=128 --lr=5e-4"),
        "fast vanilla": ("vanilla", f"--steps=2000 --lr=5e-3 {_MLP}"),
        "averaged": ("alternating", f"--steps=3000 {_AVERAGED}"),
        "DCGAN": ("dcgan", "--steps=800 --batch-size=32 --width=8 --lr=1e-3"),
        "G moves 20 times a turn": ("alternating", f"--steps=200 {_MOVES}"),
        "G hardly learns": ("alternating", f"--steps=800 {_HARDLY}"),
    },
    "mnist": {
        "DCGAN": ("dcgan", "--steps=1200 --batch-size=32 --width=8 --lr=1e-3"),
        "long DCGAN": ("dcgan", "--steps=2000 --batch-size=32 --width=8 --lr=1e-3"),
        "averaged": ("alternating", f"--steps=2500 {_AVERAGED}"),
        "vanilla": ("vanilla", f"--steps=1500 --lr=1e-3 {_MLP}"),
        "fast vanilla": ("vanilla", f"--steps=1000 --lr=5e-3 {_MLP}"),
        "G moves 20 times a turn": ("alternating", f"--steps=200 {_MOVES}"),
        "G hardly learns": ("alternating", f"--steps=400 {_HARDLY}"),
    },
}
SIZES = {"ring": ("ring8_unit", 8), "grid": ("grid25", 25), "half": ("stacked_mnist", 1000)}
SIZES |= {"quarter": SIZES["half"]}  # of `mode_collapse`: data and how many modes


def main(
    datasets: tyro.conf.Positional[tuple[Literal[tuple(GAMES)], ...]] = tuple(GAMES),
    games: str = "",
    seed: int = 200,
    seeds: Count = 8,
    again: bool = False,
    out: str = "benchmarks/quality/results",
):
    """Play games that go well and games that go wrong, and compare what health says with an independent criterion.

    What was recorded before, here and by `mode_collapse`, is judged anew, by health as it is now. The thresholds of
    run/health.py were chosen by seeds below 100, those of samples of few numbers by seeds 100 to 107 of the ring.

    Args:
        datasets: which ones.
        games: the names of some games of each, with commas [all].
        seed: the first of the seeds.
        seeds: runs of each game.
        again: train nothing, judge what was recorded.
        out: folder of health.jsonl.
    """
    for dataset in () if again else datasets:
        rows = []
        for what, (experiment, flags) in GAMES[dataset].items():
            if not games or what in games.split(","):
                row = {"data": dataset, "game": what, "experiment": f"{experiment} {flags}"}
                rows.append(row | played(experiment, flags, dataset, range(seed, seed + seeds)))
                print(f"{dataset}, {what}: {', '.join(judged(rows[-1]))}", flush=True)
        harness.record("health", rows, out)
    tell([row for rows in harness.recorded("health", out) for row in rows if "looks" in row] + of_mode_collapse(out))


def played(experiment, flags, dataset, seeds) -> dict:
    """Return the evaluations of a game, one after another, and of each seed what the criterion finds."""
    module = harness.experiment(experiment)
    cfg, _ = cli.parse(module.Config, module.PRESETS, [*flags.split(), f"--dataset={dataset}"])
    perceptrons = experiment not in ("dcgan", "unrolled_modes")  # which are faster all at once, small as they are
    prepared = harness.prepared(module, cfg, len(seeds), jax.devices()[:1], perceptrons, seeds[0])
    state, keys, feed, advance, _, game = prepared
    source, drawn = game.setup.source, plots.KINDS[game.setup.source.kind].drawn
    real = jax.tree.map(jnp.asarray, data.reference(source))

    def look(state, key, real):
        x = game.sample(state, rng.at(key, state.step, "evaluate"), drawn)
        return health.signs(x, **real)

    of_each = jax.jit(lambda state, keys, real: jax.lax.map(lambda given: look(*given, real), (state, keys)))
    looks, n = [], cfg.steps // LOOKS
    for i in range(LOOKS):
        state, metrics = advance(state, keys, feed, np.int32(n))
        now = {name: value[0] for name, value in metrics.items()} | of_each(state, keys, real)
        looks.append({"step": (i + 1) * n} | {name: short(value) for name, value in now.items()})
    covered, modes, good = criterion(source, game.sample, state, keys)
    looks[-1] |= covered
    known = health.Known(source.classes if source.modes else 0, drawn, math.prod(source.shape))
    return {"seeds": list(seeds), "modes": modes, "good": good, "known": known._asdict(), "looks": looks}


def short(value):
    """Return an array as lists of numbers of four digits."""
    return json.loads(
        json.dumps(np.asarray(value, float).tolist()), parse_float=lambda text: float(f"{float(text):.4g}")
    )


def judged(row, blind=False) -> list[str]:
    """Return what health says of each seed; blind: where it does not know the modes of the data."""
    looks, known = row["looks"], health.Known(**row["known"])
    if blind:
        looks = [{name: value for name, value in look.items() if name not in harness.COVERAGE} for look in looks]
    return health.diagnose(looks, len(row["modes"]), known._replace(modes=0) if blind else known)


def criterion(source, sample, state, keys):
    """Return (mode coverage [seeds] where modes are known, shares of modes [seeds], shares of good samples [seeds])."""
    if source.modes:

        def covered(state, key):
            draw = functools.partial(sample, state)
            x = draw(rng.at(key, state.step, "evaluate"), source.modes.draws)
            return source.modes.coverage(x, draw, rng.at(key, state.step, "modes"))

        for base in source.modes.classifiers:
            classifier.load(base)
        found = jax.jit(lambda *given: jax.lax.map(lambda one: covered(*one), given))(state, keys)
        found = {name: np.asarray(value).tolist() for name, value in found.items()}
        good = found.get("high_quality", [OWN] * len(keys))  # of a stacked set only the modes are judged
        return found, [m / source.classes for m in found["modes"]], [g / OWN for g in good]
    seen = judge(source)
    _, own = seen(data.some(source.test, JUDGED)["x"])
    drawn = lambda one: sample(one[0], rng.at(one[1], 0, "judged"), JUDGED)
    pairs = [seen(x) for x in jax.jit(lambda *given: jax.lax.map(drawn, given))(state, keys)]
    return {}, [modes for modes, _ in pairs], [good / own for _, good in pairs]


def judge(source):
    """Return the function of images that gives their share of the classes and the share of good ones among them."""
    trained = classifier.load(source)
    seen = jax.jit(lambda x: (trained(x).argmax(-1), trained.features(x)))
    real = np.asarray(seen(data.some(source, JUDGED)["x"])[1])

    def shares(x):
        labels, features = map(np.asarray, seen(x))
        p = np.bincount(labels, minlength=source.classes) / len(labels)
        effective = math.exp(-np.sum(p[p > 0] * np.log(p[p > 0])))
        return effective / source.classes, neighbours.precision_recall(real, features)["precision"]

    return shares


def verdict(modes, good) -> str:
    """Return "bad", "good", or "between"."""
    if modes <= BAD[0] or good <= BAD[1]:
        return "bad"
    return "good" if modes >= GOOD[0] and good >= GOOD[1] else "between"


def said(words) -> str:
    """Return whether the words of a run are a flag, "early", or "well"."""
    parts = words.split("; ")
    if any(not part.startswith((health.WELL, health.EARLY, "at rest")) for part in parts):
        return "flagged"
    return "early" if parts[0].startswith(health.EARLY) else "well"


def of_mode_collapse(out) -> list[dict]:
    """Return rows of what `mode_collapse` recorded, with its mode coverage: other signs it did not keep.

    Single seeds and runs of fewer evaluations than health needs are left out.
    """
    rows = []
    for file in sorted(Path(out).glob("mode_collapse-*.jsonl")):
        dataset, known = SIZES[file.stem.split("-")[1]]
        *_, (_, *ways) = harness.recorded(file.stem, out)
        for way in [way for way in ways if len(way.get("curve", {}).get("step", ())) >= health.LEAST]:
            if np.ndim(way["modes"]):
                looks = [
                    {"step": s, "modes": m} for s, m in zip(*map(way["curve"].get, ("step", "modes")), strict=True)
                ]
                quality = {"high_quality": way["high_quality"]} if "high_quality" in way else {}
                looks[-1] |= quality
                good = [g / OWN for of in quality.values() for g in of] or [1.0] * len(way["modes"])
                row = {"data": f"{dataset}, recorded", "game": way["way"], "modes": [m / known for m in way["modes"]]}
                rows.append(row | {"good": good, "looks": looks, "known": health.Known(known)._asdict()})
    return rows


def tell(rows):
    """Print the rates of each data set: how many of the bad runs, and of the good ones, were flagged."""
    lines = []
    for dataset in dict.fromkeys(row["data"] for row in rows):
        of = [row for row in rows if row["data"] == dataset]
        known = of[0]["known"]["modes"] > 0
        for blind in (False, True) if known and "recorded" not in dataset else (False,):
            found = collections.Counter()
            for row in of:
                given = zip(row["modes"], row["good"], judged(row, blind), strict=True)
                found.update((verdict(modes, good), said(words)) for modes, good, words in given)
            cells = [rate(*(found[v, w] for w in ("flagged", "early", "well"))) for v in ("bad", "good", "between")]
            lines.append([f"{dataset}, modes unknown" if blind else dataset, *cells])
    harness.table(("data", "bad runs flagged", "good runs flagged", "runs in between flagged"), lines)


def rate(flagged, early, well) -> str:
    """Return how many of some runs are flagged, and of how many it is too early to tell."""
    return f"{flagged} of {flagged + early + well}" + (f" ({early} too early to tell)" if early else "")


if __name__ == "__main__":
    harness.command(main)
