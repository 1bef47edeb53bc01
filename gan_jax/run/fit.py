"""Two drivers of the same step: `fit`, a run with checkpoints, rows and pictures; `scan_fit`, a run inside one jit."""

import contextlib
import dataclasses
import functools
import shlex
import signal
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh

from gan_jax import data
from gan_jax.data.source import Source
from gan_jax.errors import UserError
from gan_jax.metrics import classifier
from gan_jax.run import evaluate, log, processes, provenance, rundir, sharding, signals, states
from gan_jax.run.checkpoint import Checkpoints
from gan_jax.run.options import Run
from gan_jax.run.recorder import Recorder, Silent
from gan_jax.run.setup import Game, Setup
from gan_jax.run.stepper import Feeder, Stepper, Stopped, advancer


def scan_fit(step: Callable, state: Any, batch_at: Callable, steps: int) -> tuple[Any, dict]:
    """Return (state, metrics [steps]) after `steps` updates in one `lax.scan`: pure, so jit it, vmap it over seeds.

    batch_at: step number -> batch, for instance `lambda i: data.batch(source, {}, key, i, 512)`.
    """
    return lax.scan(lambda state, _: step(state, batch_at(state.step)), state, length=steps)


def schedule(at: int, end: int, every: Iterable[int], most: int) -> int:
    """Return how many steps to make from step `at`: to `end` or the next multiple of one of `every`, at most `most`."""
    return min(most, end - at, *(e - at % e for e in every if e))


def paced(run: Run, steps: int) -> Run:
    """Return the run with a number of steps between evaluations: five of them, for health to judge, where it may be."""
    every = min(1000, max(100, steps // 5)) if run.eval_every == -1 else run.eval_every
    return dataclasses.replace(run, eval_every=every)


def fit(run: Run, game: Game) -> tuple[Any, dict | None]:
    """Train, with checkpoints, rows and pictures in the run's folder, and return (state, results).

    A metric called "stop" that is 1 in a row ends the run there. results: what is written to results.json, a list a
    name where there are several seeds. Ctrl-C and SIGTERM save and exit (130, 143) within seconds, a second Ctrl-C
    stops at once. Raises UserError where the user can mend what is wrong, and where a metric is not finite.
    """
    setup, init, step, sample, measure, *_ = game
    run = paced(run, setup.steps)
    check_data(run, setup)
    mesh = sharding.make(setup.batch_size, run.seeds)
    setup, measure = what_is_measured(run, setup, measure)
    start = states.starting(run, init, mesh, setup)
    with rundir.opened(run, sharding.is_first(), setup.source.content) as folder, contextlib.ExitStack() as stack:
        run = dataclasses.replace(run, out=str(folder))
        train_classifiers(run, setup)
        checkpoints = stack.enter_context(Checkpoints(folder / "checkpoints", run.keep))
        state, keys = states.begun(run, start, checkpoints, setup.begin)
        at = int(sharding.to_host(state.step).ravel()[0])
        if at > setup.steps:
            log.tell(f"{folder} is at step {at} already, past --steps {setup.steps}: nothing to do")
            return state, rundir.results(folder)
        recorder = (Recorder if sharding.is_first() else Silent)(run, at, setup.steps)
        announce(run, setup.source, mesh)
        feeder = Feeder(run, setup.source, setup.batch_size, mesh, keys, at)
        given = setup.source, setup.batch_size, mesh, run.seeds, feeder.length, feeder.streamed
        evaluated = evaluate.Evaluator(run, setup.source, sample, measure, mesh, feeder.records, recorder)
        stepper = Stepper(advancer(step, *given), feeder, keys, stop := stack.enter_context(signals.caught()))
        stack.enter_context(recorder)
        parts = Parts(stepper, recorder, evaluated, checkpoints)
        state, at, end = train(run, setup.steps, state, keys, at, parts, stop)
        seconds = recorder.seconds
        checkpoints.wait()
        scores = evaluated.final(state, keys, at, stop) if at == end else None
        if scores is None:
            stop_here(run, at, stop, recorder)
        results = scores | {"steps": at, "seconds": seconds}
        if sharding.is_first():
            results |= {"protocol": provenance.of_results(run, setup, sample, state, at)}
            results = evaluate.conclusion(folder, setup.source, results, scores, run.seeds)
        recorder.conclude(at)
    if sharding.is_first():
        evaluate.say(results, run.seed, folder)
    return state, results


class Parts(NamedTuple):
    """What steps a run, writes it down, looks at it and saves it."""

    stepper: Stepper
    recorder: Recorder | Silent
    evaluated: evaluate.Evaluator
    checkpoints: Checkpoints


def train(run: Run, steps: int, state: Any, keys: jax.Array, at: int, parts: Parts, stop: list) -> tuple[Any, int, int]:
    """Return (state, or None where its checkpoint alone holds it; its step; the step at which the run is finished)."""
    stepper, recorder, evaluated, checkpoints = parts
    saved = at

    def save(state):
        nonlocal saved
        states.check_state(state, at, saved, run.folder)
        checkpoints.save(at, state)
        recorder.saved()
        saved = at

    undone, ended = agreed(recorder.undone, recorder.ended)
    if undone:
        scores = evaluated(state, keys, at, stop)
        if scores is not None:
            recorder.redo(at, scores)
    end = at if ended else steps
    try:
        while at < end:
            told, stepper.seconds = agreed(bool(stop), stepper.seconds)
            if told:
                processes.expect([])  # saving takes as long as the disk needs
                raise Stopped(state)
            n = schedule(at, end, (run.log_every, run.eval_every, run.save_every), stepper.most)
            state, metrics = stepper(state, n, saved == at)
            states.check_metrics(metrics, at, n, saved, run.folder)
            at, now = at + n, {name: value[n - 1] for name, value in metrics.items()}
            recorder.say(at, now)
            row = now if at % run.log_every == 0 else {}
            if run.eval_every and at % run.eval_every == 0:
                scores = evaluated(state, keys, at, stop)
                row = row | ({"evaluated": False} if scores is None else scores)
            recorder.write(at, row)
            if at % run.save_every == 0:
                save(state)
            if at % run.log_every == 0 and np.all(now.get("stop", 0)):
                end = at
    except Stopped as stopped:
        state = stopped.state
    if saved != at:
        save(state)
    return state, at, end


def stop_here(run: Run, at: int, stop: list, recorder: Recorder | Silent) -> NoReturn:
    """End the program after a signal: the state is saved, and how to go on is said. Curves would take seconds."""
    recorder.end(f"stopped at step {at}, saved; to go on: {to_go_on(run)}")
    raise SystemExit(128 + (stop[0] if stop else signal.SIGTERM))


def to_go_on(run: Run) -> str:
    """Return the command that takes the run up again."""
    return f"python -m {run.experiment} --resume --out {shlex.quote(run.out)}"


def check_data(run: Run, setup: Setup) -> None:
    """Raise UserError where the nets are not made for such data, these are too few, or not those of all processes."""
    if setup.source.kind not in setup.kinds:
        stem, kinds = rundir.stem(run.experiment), " or ".join(setup.kinds)
        raise UserError(f"{setup.source.name} has x of the kind {setup.source.kind}; {stem} is made for {kinds}.")
    data.check_batch(setup.source, setup.batch_size)
    about = setup.source.name, setup.source.fingerprint, setup.source.content, setup.source.says
    processes.check_same("data", lambda: {"the data": " ".join(filter(None, about))})


def what_is_measured(run: Run, setup: Setup, measure: Callable | None) -> tuple[Setup, Callable | None]:
    """Return (setup, measure) less what would ask a classifier, where the run has --no-measure."""
    if run.measure:
        return setup, measure
    if setup.source.modes and setup.source.modes.classifiers:
        if sharding.is_first():
            log.tell("--no-measure: the coverage of the modes is left out, too; a classifier would count them")
        setup = setup._replace(source=dataclasses.replace(setup.source, modes=None))
    return setup._replace(classifiers=()), None


def train_classifiers(run: Run, setup: Setup) -> None:
    """Train the classifiers that the run will ask, where there are none yet: not in the middle of a trace.

    A signal ends the program within seconds; what was done is in the cache.
    """
    asking = dict.fromkeys(setup.classifiers, "what the experiment measures")
    modes = setup.source.modes
    asking |= {source: "the coverage of the modes" for source in (modes.classifiers if modes else ())}
    lines = []

    def live(steps, source, what):
        log.tell(f"{what} needs a classifier of {source.name}, trained once for all runs (--no-measure: without)")
        lines.append(log.Live(steps, title=f"the classifier of {source.name}"))
        return lines[-1]

    # Of several processes one that is stopped here just ends: none has anything to save.
    with signals.caught() if jax.process_count() == 1 else contextlib.nullcontext([]) as stop:
        for source, what in asking.items():
            say = functools.partial(live, source=source, what=what)
            if signals.unless_stopped(stop, classifier.load, source, say) is None:
                for line in lines:
                    line.__exit__()
                log.tell(f"stopped; what is done of the classifier is kept; to go on: {to_go_on(run)}")
                raise SystemExit(128 + stop[0])


def announce(run: Run, source: Source, mesh: Mesh) -> None:
    """Say what is trained, and where."""
    if sharding.is_first():
        log.tell(f"{describe(run, source, mesh)} -> {run.out}")


def describe(run: Run, source: Source, mesh: Mesh) -> str:
    """Return what is trained, on what data and devices."""
    kind = mesh.devices.flat[0].device_kind
    seeds = f"{run.seeds} seed{'s' * (run.seeds > 1)}"
    taken = f"{source.says}\n" if source.says else ""
    return f"{taken}{run.experiment.rpartition('.')[2]} on {source.name}: {seeds}, {mesh.size} x {kind}"


def agreed(*values: float) -> list[float] | tuple[float, ...]:
    """Return of each value the largest that any process has."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(np.array(values, np.float32)).max(0).tolist()
