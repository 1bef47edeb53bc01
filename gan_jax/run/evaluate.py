"""What is said of a run: scores and pictures of its state now and then, and at its end a word on the game's health."""

import functools
import itertools
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from gan_jax import data
from gan_jax.data.source import Source
from gan_jax.game import rng
from gan_jax.run import health, log, plots, rundir, sharding, signals
from gan_jax.run.options import Run
from gan_jax.run.recorder import Recorder, Silent


def evaluate(
    sample: Callable,
    measure: Callable | None,
    source: Source,
    seeds: int,
    state: Any,
    keys: jax.Array,
    real: dict,
    train: dict,
    test: dict,
) -> tuple[dict, dict, jax.Array]:
    """Return (scores, pictures, samples): what `measure` finds too, and as many samples as are drawn of their kind.

    The scores are mode coverage, where the data's modes are known, and the signs of health.
    """

    def one(state, key):
        draw = functools.partial(sample, state)
        with data.counted() as records:
            x = draw(rng.at(key, state.step, "evaluate"), plots.KINDS[source.kind].drawn)
        scores = source.modes.coverage(x, draw, rng.at(key, state.step, "modes")) if source.modes else {}
        # what is made of records that come again is no sign of a G that draws the same again
        once = x[: min(records, default=len(x))]
        scores |= health.signs(once, **real) if real else {}
        found = measure(state, rng.at(key, state.step, "measure"), train, test) if measure else {}
        pictures = {name: found.pop(name) for name in list(found) if _is_picture(found[name])}
        pictures = {k: p if isinstance(p, plots.Picture) else plots.Picture(p) for k, p in pictures.items()}
        return scores | found, pictures, x

    return sharding.over_seeds(one, seeds)(state, keys)


def _is_picture(found):
    return isinstance(found, plots.Picture) or np.ndim(found) > 0


def without_empty_labels(records: dict, of: str) -> dict:
    """Return raw records without labels of which no record has one: nothing can be measured by them, and that is said.

    of: what the records are, for that line.
    """
    if isinstance(records.get("x"), dict):
        return {name: without_empty_labels(part, f"{name} of {of}") for name, part in records.items()}
    if "y" not in records or (np.asarray(sharding.to_host(records["y"])) >= 0).any():
        return records
    if sharding.is_first():
        log.tell(f"{of} has no labels: what is measured by them is left out")
    return {name: a for name, a in records.items() if name != "y"}


def varied(reference: dict, name: str) -> dict:
    """Return what samples are held against; {}, and that is said, where all of the data are alike: 0 is no measure."""
    if (reference["real"] != reference["real"][:1]).any() or len(reference["real"]) < 2:
        return reference
    if sharding.is_first():
        log.tell(f"all records of {name} are alike: nothing is said of how samples differ")
    return {}


class Evaluator:
    """Evaluates states: gives their scores and draws pictures into the run's folder `samples`.

    feed: the resident arrays of the training split, {} where it is streamed. `measure` is handed them, and those of
    the test split, {} where there is none or it has no room on the device.
    """

    def __init__(
        self,
        run: Run,
        source: Source,
        sample: Callable,
        measure: Callable | None,
        mesh: Mesh,
        feed: dict,
        recorder: Recorder | Silent,
    ):
        test = source.test if measure and source.test and source.test.fits else None
        held = without_empty_labels(data.resident(test), f"the test split of {source.name}") if test else {}
        train = without_empty_labels(feed, f"the training split of {source.name}") if measure else {}
        self._splits = train, sharding.put(mesh, held) if test else {}
        self._real = sharding.put(mesh, varied(data.reference(source), source.name))
        parts = functools.partial(evaluate, sample, measure, source, run.seeds)
        self._scored = jax.jit(parts, out_shardings=sharding.replicated(mesh))
        self._run, self._source, self._recorder = run, source, recorder
        self._beside = plots.reals(source) if sharding.is_first() else None
        self._last = None, None  # the step that was evaluated last, and its scores

    def __call__(self, state: Any, keys: jax.Array, at: int, stop: list, name: str = "") -> dict | None:
        """Return the scores of the state of step `at`; None where a signal came into the list `stop` meanwhile.

        The pictures are called samples/NAME.png and so on, by default after the step.
        """
        found = signals.unless_stopped(
            stop, lambda: sharding.to_host(self._scored(state, keys, self._real, *self._splits))
        )
        if found is None:
            return None
        scores, pictures, x = found
        if sharding.is_first():
            with rundir.writing(self._run.folder):
                drawn = self._draw(name or f"{at:08d}", x, pictures)
            self._recorder.show(at, drawn)
        self._last = at, scores
        return scores

    def final(self, state: Any, keys: jax.Array, at: int, stop: list) -> dict | None:
        """Return what a call with the name "final" does, without doing again what was done at this step."""
        if self._last[0] != at or stop:
            return self(state, keys, at, stop, "final")
        folder = self._run.folder / "samples"
        if sharding.is_first():
            with rundir.writing(self._run.folder):
                for file in folder.glob(f"*{at:08d}.*"):
                    shutil.copyfile(file, folder / file.name.replace(f"{at:08d}", "final"))
        return self._last[1]

    def _draw(self, name, x, pictures):
        """Draw samples and what `measure` returned, of the first seed, and return {name: picture}."""
        run, folder = self._run, self._run.folder / "samples"
        folder.mkdir(exist_ok=True)
        seeds = run.seed + np.arange(run.seeds)
        drawn = {"samples": plots.samples(folder / f"{name}.png", x, self._source, seeds, self._beside)}
        for kind, picture in pictures.items():
            first = picture if run.seeds == 1 else jax.tree.map(lambda a: a[0], picture)
            file = folder / f"{kind.replace('/', '-')}-{name}.png"
            drawn[kind] = plots.table(file, first, self._source, self._beside)
        return drawn


def conclusion(folder: Path, source: Source, results: dict, scores: dict, seeds: int) -> dict:
    """Return the results with a word on the game's health, as they are written to results.json."""
    known = health.Known(source.classes if source.modes else 0, plots.KINDS[source.kind].drawn, math.prod(source.shape))
    with rundir.writing(folder):
        past = log.read_rows(folder / "metrics.jsonl", seeds)
        found = {k: v for k, v in results.items() if k != "shares"}
        rows = log.alike([*past, {"step": results["steps"]} | scores])
        found["health"] = health.diagnose(rows, seeds, known)
        log.write_whole(folder / "results.json", log.as_json(found) + "\n")
    return found


WORDS = "health", "protocol"  # of results: what is no number


def say(results: dict, first_seed: int, folder: Path) -> None:
    """Print the results, the health of each seed, counted from the first, and where the rest is."""
    print("  ".join(f"{name} {log.spread(value)}" for name, value in results.items() if name not in WORDS))
    found = sorted((words, first_seed + i) for i, words in enumerate(results["health"]))
    for words, of in itertools.groupby(found, lambda w: w[0]):
        print(f"health of seed {', '.join(str(seed) for _, seed in of)}: {words}")
    print(f"pictures, rows and checkpoints are in {folder}")
