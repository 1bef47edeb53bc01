"""Two drivers of the same step: `fit`, a run with checkpoints, rows and pictures; `scan_fit`, a run inside one jit."""

import contextlib
import functools
import signal
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from gan_jax import data
from gan_jax.run import evaluate, log, mesh, plots, rundir, signals
from gan_jax.run.checkpoint import Checkpoints
from gan_jax.errors import UserError
from gan_jax.metrics import classifier


def scan_fit(step, state, batch_at, steps: int):
    """Return (state, metrics [steps]) after `steps` updates in one `lax.scan`: pure, so jit it, vmap it over seeds.

    batch_at: step number -> batch, for instance `lambda i: data.batch(source, {}, key, i, 512)`.
    """
    return lax.scan(lambda state, _: step(state, batch_at(state.step)), state, length=steps)


def advancer(step, source, batch_size, devices, seeds, length, streamed, at_once=None):
    """Return the compiled (state, keys, feed, n) -> (state, metrics [length, ...]) that makes n <= length steps.

    n is an argument, so one program serves every stretch between two events, and a run that was interrupted and
    resumed anywhere gives the same bits as one that was not. feed: the resident arrays, or raw batches [length, ...].
    at_once: as `mesh.over_seeds` has it.
    """

    @functools.partial(jax.jit, inline=True)  # so that the step is traced once: for its metrics' shapes, and for good
    def once(state, keys, feed, j):
        def one(state, key, raw):
            batch = data.decode(raw) if streamed else data.batch(source, feed, key, state.step, batch_size)
            return step(state, batch if mesh.by_seed(devices, seeds) else mesh.split(devices, batch))

        raw = jax.tree.map(lambda a: a[j], feed) if streamed else keys  # keys: a stand-in of the right length
        return mesh.over_seeds(one, seeds, at_once)(state, keys, raw)

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

    with rundir.opened(run, first) as folder, contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(folder / "checkpoints", run.keep)))
        state, keys = _taken_up(run, init, devices, checkpoints)
        at = start = saved = int(mesh.to_host(state.step).ravel()[0])
        rows = log.Rows(folder / "metrics.jsonl", at) if first else None
        if first:
            says = f"{run.experiment.rpartition('.')[2]} on {source.name}: {_describe(run, devices)} -> {folder}"
            print(says, file=sys.stderr)

        advance = advancer(step, source, batch_size, devices, run.seeds, length, streamed)
        feed = {} if streamed else mesh.put(devices, data.resident(source))
        batches = data.stream(source, keys, batch_size, at, mesh.own_rows(batch_size)) if streamed else None
        evaluated = evaluate.evaluator(run, source, sample, measure, devices, feed, folder)
        stop, live = stack.enter_context(signals.caught()), stack.enter_context(log.Live(steps, at, quiet=not first))
        heeded = stop if alone else []  # of several processes none leaves work that the others wait for

        last = rows.last if first else {}  # the row of the step at which the run goes on
        undone, ended = _most(last.pop("evaluated", True) is False, bool(np.all(last.get("stop", 0))))
        if undone:
            scores = evaluated(state, keys, f"{at:08d}", heeded)
            if first and scores is not None:
                rows.write(at, last | scores)
        file = folder / "seconds"  # of training until the last save, all parts of the run together
        clock = time.monotonic() - (log.number(file) if run.resume else 0)
        seconds = lambda: round(time.monotonic() - clock, 1)

        def fetched(n):
            return mesh.put_batches(devices, run.seeds, _stack([next(batches) for _ in range(n)], length))

        def advanced(n):
            after, history = advance(state, keys, feed, n)
            return after, mesh.to_host(history)

        def save():
            checkpoints.save(at, _finite(state, at, saved, folder))
            if first:
                log.write_whole(file, f"{seconds()}\n")
            return at

        steps = at if ended else steps
        a_step, took = 0.5, 0
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
                scores = evaluated(state, keys, f"{at:08d}", heeded)
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
        scores = evaluated(state, keys, "final", heeded) if at == steps else None
        if scores is None:
            live.__exit__()
            if first:
                go_on = f"python -m {run.experiment} --resume --out {folder}"
                print(f"stopped at step {at}, saved; to go on: {go_on}", file=sys.stderr)
            raise SystemExit(128 + (stop[0] if stop else signal.SIGTERM))
        results = scores | {"steps": at, "seconds": total}
        if first:
            plots.curves(folder / "curves.png", folder / "metrics.jsonl")
            results = evaluate.concluded(folder, results, scores, run.seeds)
    if first:
        evaluate.say(results, run.seed, folder)
    return state, results


def _taken_up(run, init, devices, checkpoints):
    """Return (state, keys): of the newest good checkpoint on --resume, else of a new run, saved; and its root keys.

    The keys are the state's own, in memory of their own: a step takes that of the state.
    """
    placed = NamedSharding(devices, mesh.seed_spec(devices, run.seeds))
    begin, begin_keys = (rundir.starter(f, run.seed, run.seeds, run.rekey, placed) for f in (init, lambda key: key))
    if run.resume:
        like = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=placed), jax.eval_shape(begin))
        state = checkpoints.restore(like)
        if state is not None:  # with the key that it had, unless there is a new --rekey
            return state._replace(key=begin_keys()), begin_keys()
    state = begin()
    checkpoints.save(0, state)
    return state, begin_keys()


def _describe(run, devices):
    kind = devices.devices.flat[0].device_kind
    return f"{run.seeds} seed{'s' * (run.seeds > 1)}, {devices.size} x {kind}"


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
