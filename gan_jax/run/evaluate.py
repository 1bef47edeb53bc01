"""What is said of a run: scores and pictures of its state now and then, and at its end a word on the game's health."""

import functools
import itertools
import json

import jax
import numpy as np

from gan_jax import data
from gan_jax.game import rng
from gan_jax.run import health, log, mesh, plots, signals

SHOWN = {"points": 2500}  # samples of an evaluation, by what they are; of all else 64


def evaluate(sample, measure, source, seeds, state, keys, real, train, test):
    """Return (scores, pictures, samples): what `measure` finds too, and 2,500 points of a toy or 64 images.

    The scores are mode coverage, where the data's modes are known, and the signs of health.
    """

    def one(state, key):
        draw = functools.partial(sample, state)
        x = draw(rng.at(key, state.step, "evaluate"), SHOWN.get(source.kind, 64))
        scores = source.modes.coverage(x, draw, rng.at(key, state.step, "modes")) if source.modes else {}
        scores |= health.signs(x, **real)
        found = measure(state, rng.at(key, state.step, "measure"), train, test) if measure else {}
        scores |= {name: value for name, value in found.items() if not value.ndim}
        return scores, {name: value for name, value in found.items() if value.ndim}, x

    return mesh.over_seeds(one, seeds)(state, keys)


def evaluator(run, source, sample, measure, devices, feed, folder):
    """Return (state, keys, name, stop) -> scores, which draws the pictures samples/NAME.png in the run's folder too.

    feed: the resident arrays of the training split; without them, or a test split, `measure` is left out. The scores
    are None where a signal came into the list `stop` meanwhile.
    """
    measure = measure if source.test and feed else None
    train, test = (feed, mesh.put(devices, data.resident(source.test))) if measure else ({}, {})
    real = mesh.put(devices, data.reference(source))
    parts = functools.partial(evaluate, sample, measure, source, run.seeds)
    scored = jax.jit(parts, out_shardings=mesh.replicated(devices))

    def evaluated(state, keys, name, stop):
        found = signals.unless_stopped(stop, lambda: mesh.to_host(scored(state, keys, real, train, test)))
        if found is None:
            return None
        scores, pictures, x = found
        if mesh.is_first():
            (folder / "samples").mkdir(exist_ok=True)
            plots.samples(folder / "samples" / f"{name}.png", x, source, run.seed + np.arange(run.seeds))
            for kind, images in pictures.items():
                plots.rows(folder / "samples" / f"{kind}-{name}.png", images if run.seeds == 1 else images[0])
        return scores

    return evaluated


def conclusion(folder, results, scores, seeds):
    """Return the results with a word on the game's health, as they are written to results.json."""
    past = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]
    found = {k: v for k, v in results.items() if k != "labels"}
    found["health"] = health.diagnose([*past, scores], seeds)
    text = {k: np.asarray(v).tolist() for k, v in found.items()}
    log.write_whole(folder / "results.json", json.dumps(text) + "\n")
    return found


def say(results, first_seed, folder):
    """Print the results, the health of each seed, counted from the first, and where the rest is."""
    print("  ".join(f"{name} {log.spread(value)}" for name, value in results.items() if name != "health"))
    found = sorted((words, first_seed + i) for i, words in enumerate(results["health"]))
    for words, of in itertools.groupby(found, lambda w: w[0]):
        print(f"health of seed {', '.join(str(seed) for _, seed in of)}: {words}")
    print(f"pictures, rows and checkpoints are in {folder}")
