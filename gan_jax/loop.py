"""Two drivers of the same step: `fit`, a run with checkpoints, rows and pictures; `scan_fit`, a run inside one jit."""

import contextlib
import functools
import itertools
import json
import signal
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from gan_jax import data, health, log, mesh, metrics, plots, rng, rundir, signals
from gan_jax.checkpoint import Checkpoints
from gan_jax.errors import UserError
from gan_jax.metrics import classifier


def scan_fit(step, state, batch_at, steps: int):
    """Return (state, metrics [steps]) after `steps` updates in one `lax.scan`: pure, so jit it, vmap it over seeds.

    batch_at: step number -> batch, for instance `lambda i: data.batch(source, {}, key, i, 512)`.
    """
    return lax.scan(lambda state, _: step(state, batch_at(state.step)), state, length=steps)


def over_seeds(f, seeds: int, at_once: bool | None = None):
    """Return f over a leading axis of seeds; f itself for one seed.

    at_once: vmap instead of lax.map. By default so on accelerators. On a CPU one after another: a vmapped matmul is
    slower there than the same matmuls in turn, a vmapped convolution much slower (`python -m benchmarks.seeds`). The
    cores are then shared out by `mesh.by_seed`.
    """
    if seeds == 1:
        return f
    at_once = jax.default_backend() != "cpu" if at_once is None else at_once
    return jax.vmap(f) if at_once else lambda *args: lax.map(lambda a: f(*a), args)


def advancer(step, source, batch_size, devices, seeds, length, streamed, at_once=None):
    """Return the compiled (state, keys, feed, n) -> (state, metrics [length, ...]) that makes n <= length steps.

    n is an argument, so one program serves every stretch between two events, and a run that was interrupted and
    resumed anywhere gives the same bits as one that was not. feed: the resident arrays, or raw batches [length, ...].
    at_once: as `over_seeds` has it.
    """

    @functools.partial(jax.jit, inline=True)  # so that the step is traced once: for its metrics' shapes, and for good
    def once(state, keys, feed, j):
        def one(state, key, raw):
            batch = data.decode(raw) if streamed else data.batch(source, feed, key, state.step, batch_size)
            return step(state, batch if mesh.by_seed(devices, seeds) else mesh.split(devices, batch))

        raw = jax.tree.map(lambda a: a[j], feed) if streamed else keys  # keys: a stand-in of the right length
        return over_seeds(one, seeds, at_once)(state, keys, raw)

    def advance(state, keys, feed, n):
        def body(j, carry):
            state, now = once(carry[0], keys, feed, jnp.asarray(j, jnp.int32))
            return state, jax.tree.map(lambda rows, m: rows.at[j].set(m), carry[1], now)

        shapes = jax.eval_shape(once, state, keys, feed, jnp.int32(0))[1]
        rows = jax.tree.map(lambda m: jnp.zeros((length, *m.shape), m.dtype), shapes)
        return lax.fori_loop(0, n, body, (state, rows))

    of_seed = mesh.seed_spec(devices, seeds)
    in_feed = mesh.seed_spec(devices, seeds, axis=1) if streamed else P()
    if mesh.by_seed(devices, seeds):
        specs = (of_seed, of_seed, in_feed, P()), (of_seed, mesh.seed_spec(devices, seeds, axis=1))
        advance = jax.shard_map(advance, mesh=devices, in_specs=specs[0], out_specs=specs[1], check_vma=False)
    shardings = NamedSharding(devices, of_seed), NamedSharding(devices, mesh.seed_spec(devices, seeds, axis=1))
    return jax.jit(advance, donate_argnums=0, out_shardings=shardings)


def fit(run, source, init, step, sample, measure=None, *, steps: int, batch_size: int):
    """Train, with checkpoints, rows and pictures in the run's folder, and return (state, results).

    run: what `cli.parse` returned. init: key -> state. step: (state, batch) -> (state, metrics). sample: (state, key,
    n) -> x. measure: (state, key, train, test) -> {name: number, or images [rows, columns, h, w, c]}, called beside
    sample where the set has a test split and fits on the device; train and test are raw batches of whole splits
    (`data.decode`). A metric called "stop" that is 1 in a row ends the run there. results: the row that is printed at
    the end and written to results.json, a list a name where there are several seeds. Ctrl-C and SIGTERM save and exit
    (130, 143) within seconds, a second Ctrl-C stops at once; an evaluation that was under way is made up for when the
    run goes on. Raises UserError where something that the user can mend is wrong, and where a metric stops being
    finite.
    """
    data.check_batch(source, batch_size)
    if source.base:
        classifier.load(source.base.name)  # trained now where there is none: not in the middle of the trace
    devices, first, alone = mesh.make(batch_size, run.seeds), mesh.is_first(), jax.process_count() == 1
    streamed = not source.draw and (run.stream or not source.fits)
    if streamed and (source.parts or source.labelled):
        raise UserError(f"{run.experiment} keeps its data on the device: leave --stream out, or take smaller sets.")
    raw_bytes = run.seeds * batch_size * int(np.prod(source.shape))
    length = min(run.log_every, max(1, 2**26 // raw_bytes) if streamed else 10_000)  # steps a dispatch, at most
    placed = NamedSharding(devices, mesh.seed_spec(devices, run.seeds))
    seeds = run.seed + np.arange(run.seeds)

    of_run = lambda init: rundir.starter(init, run.seed, run.seeds, run.rekey, placed)
    begin, begin_keys = of_run(init), of_run(lambda key: key)
    keys = begin_keys()
    with rundir.opened(run, first) as folder, contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(folder / "checkpoints", run.keep)))
        state = None
        if run.resume:
            like = jax.tree.map(
                lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=placed), jax.eval_shape(begin)
            )
            state = checkpoints.restore(like)
            state = state and state._replace(key=begin_keys())  # what it was, unless there is a new --rekey
        if state is None:
            state = begin()
            checkpoints.save(0, state)
        at = start = int(mesh.to_host(state.step).ravel()[0])
        last = {}  # the row of the step at which the run goes on
        if first:
            rows = log.Rows(folder / "metrics.jsonl", at)
            last = rows.last
            print(
                f"{run.experiment.rpartition('.')[2]} on {source.name}: {_describe(run, devices)} -> {folder}",
                file=sys.stderr,
            )

        advance = advancer(step, source, batch_size, devices, run.seeds, length, streamed)
        feed = {} if streamed else mesh.put(devices, data.resident(source))
        if not (source.test and feed):
            measure = None
        scored = jax.jit(
            functools.partial(evaluate, sample, measure, source, run.seeds), out_shardings=mesh.replicated(devices)
        )
        held_out = mesh.put(devices, data.resident(source.test)) if measure else {}
        real = mesh.put(devices, data.reference(source))
        batches = data.stream(source, keys, batch_size, at, mesh.own_rows(batch_size)) if streamed else None

        stop, live = stack.enter_context(signals.caught()), stack.enter_context(log.Live(steps, at, quiet=not first))
        heeded = stop if alone else []  # of several processes none leaves work that the others wait for

        def fetched(n):
            return mesh.put_batches(devices, run.seeds, _stack([next(batches) for _ in range(n)], length))

        def advanced(n):
            after, history = advance(state, keys, feed, n)
            return after, mesh.to_host(history)

        def evaluated(name):
            """Return the scores, with the pictures drawn; None where the run is to stop."""
            look = lambda: mesh.to_host(scored(state, keys, real, feed if measure else {}, held_out))
            found = signals.heeding(heeded, look)
            if found is None:
                return None
            scores, pictures, x = found
            if first:
                (folder / "samples").mkdir(exist_ok=True)
                plots.samples(folder / "samples" / f"{name}.png", x, source, seeds)
                for kind, images in pictures.items():
                    plots.rows(folder / "samples" / f"{kind}-{name}.png", images if run.seeds == 1 else images[0])
            return scores

        undone, ended = _most(last.pop("evaluated", True) is False, bool(np.all(last.get("stop", 0))))
        if undone:
            scores = evaluated(f"{at:08d}")
            if first and scores is not None:
                rows.write(at, last | scores)
        file = folder / "seconds"  # of training until the last save, all parts of the run together
        clock = time.monotonic() - (log.number(file) if run.resume else 0)
        seconds = lambda: round(time.monotonic() - clock, 1)

        def save():
            checkpoints.save(at, _finite(state, at, saved, folder))
            if first:
                log.write_whole(file, f"{seconds()}\n")
            return at

        steps = at if ended else steps
        saved, a_step, took = at, 0.5, 0
        while at < steps:
            told, a_step = _agreed(stop, a_step)
            if told:
                break
            events = [e for e in (run.log_every, run.eval_every, run.save_every) if e]
            pace = max(1, int(0.5 / a_step))  # half a second between looks at the world
            n = min(pace, length, steps - at, *(e - at % e for e in events))
            if streamed:
                feed = signals.heeding(heeded, fetched, n)
                if feed is None:
                    break
            # A step takes the memory of the state before it. Where steps are slow, that state is kept on the host.
            kept = mesh.to_host(state) if alone and took > signals.GRACE / 2 else None
            before = time.monotonic()
            found = signals.heeding(heeded if kept or saved == at else [], advanced, n)
            if found is None:
                state = kept and kept._replace(key=keys)
                break
            state, history = found
            took = time.monotonic() - before
            if at > start:  # the first call compiled
                a_step = took / n
            _check_finite(history, at, n, saved, folder)
            at += n
            now = {name: value[n - 1] for name, value in history.items()}
            live.say(at, now)
            row = now if at % run.log_every == 0 else {}
            if run.eval_every and at % run.eval_every == 0:
                scores = evaluated(f"{at:08d}")
                row = row | ({"evaluated": False} if scores is None else scores)
            if first and row:
                rows.write(at, row)
            if at % run.save_every == 0:
                saved = save()
            if at % run.log_every == 0 and np.all(now.get("stop", 0)):
                steps = at
        total = seconds()
        if saved != at:
            save()
        checkpoints.wait()
        scores = evaluated("final") if at == steps else None
        if scores is None:
            live.__exit__()
            if first:
                print(
                    f"stopped at step {at}, saved; to go on: python -m {run.experiment} --resume --out {folder}",
                    file=sys.stderr,
                )
            raise SystemExit(128 + (stop[0] if stop else signal.SIGTERM))
        results = scores | {"steps": at, "seconds": total}
        if first:
            plots.curves(folder / "curves.png", folder / "metrics.jsonl")
            results = _concluded(folder, results, scores, run.seeds)
    if first:
        _say(results, seeds, folder)
    return state, results


def _concluded(folder, results, scores, seeds):
    """Return the results with a word on the game's health, as they are written to results.json."""
    past = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]
    found = {k: v for k, v in results.items() if k != "labels"}
    found["health"] = health.diagnose([*past, scores], seeds)
    text = {k: np.asarray(v).tolist() for k, v in found.items()}
    log.write_whole(folder / "results.json", json.dumps(text) + "\n")
    return found


def _say(results, seeds, folder):
    print("  ".join(f"{name} {log.spread(value)}" for name, value in results.items() if name != "health"))
    for words, of in itertools.groupby(sorted(zip(results["health"], seeds.tolist(), strict=True)), lambda w: w[0]):
        print(f"health of seed {', '.join(str(s) for _, s in of)}: {words}")
    print(f"pictures, rows and checkpoints are in {folder}")


def _describe(run, devices):
    kind = devices.devices.flat[0].device_kind
    return f"{run.seeds} seed{'s' * (run.seeds > 1)}, {devices.size} x {kind}"


def evaluate(sample, measure, source, seeds, state, keys, real, train, test):
    """Return (scores, pictures, samples): what `measure` finds too, and 2,500 points of a toy or 64 images.

    The scores are mode coverage, where the data's modes are known, and the signs of health.
    """

    def one(state, key):
        x = sample(state, rng.at(key, state.step, "evaluate"), 2500 if source.modes else 64)
        scores = (metrics.coverage(x, *source.modes) if source.modes else {}) | health.signs(x, **real)
        if source.base:
            draw = functools.partial(sample, state)
            scores |= metrics.stacked_coverage(
                classifier.load(source.base.name), draw, rng.at(key, state.step, "modes")
            )
        found = measure(state, rng.at(key, state.step, "measure"), train, test) if measure else {}
        scores |= {name: value for name, value in found.items() if not value.ndim}
        return scores, {name: value for name, value in found.items() if value.ndim}, x

    return over_seeds(one, seeds)(state, keys)


def _stack(batches, length):
    """Return raw batches stacked to [length, ...]; what lies beyond them is never read."""

    def one(*arrays):
        out = np.zeros((length, *arrays[0].shape), arrays[0].dtype)
        out[: len(arrays)] = arrays
        return out

    return jax.tree.map(one, *batches)


def _finite(state, at, saved, folder):
    """Return the state, or raise UserError where a number in it is not finite: no such state is ever saved."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.isfinite(mesh.to_host(leaf)).all():
            _diverged(f"state{jax.tree_util.keystr(path)}", at, saved, folder)
    return state


def _check_finite(history, at, n, saved, folder):
    for name, value in history.items():
        bad = ~np.isfinite(value[:n]).reshape(n, -1).all(1)
        if bad.any():
            _diverged(name, at + 1 + int(bad.argmax()), saved, folder)


def _diverged(name, step, saved, folder):
    raise UserError(
        f"{name} is not finite at step {step}; the last good checkpoint, of step {saved}, is in {folder}.\n"
        f"To go on from there with other noise, add --resume --out {folder} --rekey 1, and lower rates if you like."
    )


def _agreed(stop, seconds):
    """Return whether any process was told to stop, and the longest of their seconds."""
    told, seconds = _most(bool(stop), seconds)
    return bool(told), seconds


def _most(*values):
    """Return of each value the largest that any process has."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(np.array(values, np.float32)).max(0).tolist()
