"""Steps: compiled many a dispatch, fed by what is on the device or read ahead, left undone where a signal comes."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from gan_jax import data
from gan_jax.data.source import Source
from gan_jax.run import sharding, signals
from gan_jax.run.options import Run


class Stopped(Exception):
    """A signal ended the training. state: where it stands; None where the last checkpoint holds it."""

    def __init__(self, state: Any):
        super().__init__()
        self.state = state


def advancer(
    step: Callable,
    source: Source,
    batch_size: int,
    mesh: Mesh,
    seeds: int,
    length: int,
    streamed: bool,
    at_once: bool | None = None,
) -> Callable:
    """Return the compiled (state, keys, feed, n) -> (state, metrics [length, ...]) that makes n <= length steps.

    n is an argument, so one program serves every stretch between two events, and a run that was interrupted and
    resumed anywhere gives the same bits as one that was not. feed: the resident arrays, or raw batches [length, ...].
    at_once: as `sharding.over_seeds` has it.
    """

    @functools.partial(jax.jit, inline=True)  # so that the step is traced once: for its metrics' shapes, and for good
    def once(state, keys, feed, j):
        def one(state, key, raw):
            i = state.step
            made = source.make(raw, key, i, batch_size) if streamed else data.batch(source, feed, key, i, batch_size)
            return step(state, made if sharding.by_seed(mesh, seeds) else sharding.split(mesh, made))

        raw = jax.tree.map(lambda a: a[j], feed) if streamed else keys  # keys: a stand-in of the right length
        return sharding.over_seeds(one, seeds, at_once)(state, keys, raw)

    def advance(state, keys, feed, n):
        def body(j, carry):
            state, now = once(carry[0], keys, feed, jnp.asarray(j, jnp.int32))
            return state, jax.tree.map(lambda rows, m: rows.at[j].set(m), carry[1], now)

        shapes = jax.eval_shape(once, state, keys, feed, jnp.int32(0))[1]
        rows = jax.tree.map(lambda m: jnp.zeros((length, *m.shape), m.dtype), shapes)
        return lax.fori_loop(0, n, body, (state, rows))

    of_seed = sharding.seed_spec(mesh, seeds)
    in_feed = sharding.seed_spec(mesh, seeds, axis=1) if streamed else P()
    if sharding.by_seed(mesh, seeds):
        specs = (of_seed, of_seed, in_feed, P()), (of_seed, sharding.seed_spec(mesh, seeds, axis=1))
        advance = jax.shard_map(advance, mesh=mesh, in_specs=specs[0], out_specs=specs[1], check_vma=False)
    shardings = NamedSharding(mesh, of_seed), NamedSharding(mesh, sharding.seed_spec(mesh, seeds, axis=1))
    return jax.jit(advance, donate_argnums=0, out_shardings=shardings)


class Feeder:
    """What the steps are fed with: all records, on the device, or raw batches that are read ahead."""

    def __init__(self, run: Run, source: Source, batch_size: int, mesh: Mesh, keys: jax.Array, at: int):
        self.streamed = source.n > 0 and (run.stream or not source.fits)
        raw_bytes = run.seeds * batch_size * max(source.row_numbers, source.nbytes // max(source.n, 1))
        # steps a dispatch, at most
        self.length = min(run.log_every, max(1, 2**26 // raw_bytes) if self.streamed else 10_000)
        self._mesh, self._seeds = mesh, run.seeds
        if self.streamed:
            self.records = {}
            self._batches = data.stream(source, keys, batch_size, at, sharding.own_rows(batch_size))
        else:
            self.records = sharding.put(mesh, data.resident(source))

    def __call__(self, n: int) -> dict:
        """Return what the next n steps are fed with."""
        if not self.streamed:
            return self.records
        batches = [next(self._batches) for _ in range(n)]
        return sharding.put_batches(self._mesh, self._seeds, _stack(batches, self.length))


def _stack(batches, length):
    """Return raw batches stacked to [length, ...]; what lies beyond them is never read."""

    def one(*arrays):
        out = np.zeros((length, *arrays[0].shape), arrays[0].dtype)
        out[: len(arrays)] = arrays
        return out

    return jax.tree.map(one, *batches)


class Stepper:
    """Makes steps, knows how long they take, and raises Stopped where a signal comes into the list `stop`."""

    def __init__(self, advance: Callable, feeder: Feeder, keys: jax.Array, stop: list):
        self._advance, self._feeder, self._keys = advance, feeder, keys
        self._stop = stop
        self._took, self._compiled = 0, False
        self.seconds = 0.5  # a step takes, the longest of all processes

    @property
    def most(self) -> int:
        """How many steps fit into half a second, between two looks at the world, and into one dispatch."""
        return min(max(1, int(0.5 / self.seconds)), self._feeder.length)

    def __call__(self, state: Any, n: int, safe: bool) -> tuple[Any, dict]:
        """Return (state, metrics [length, ...]) after n steps; safe: whether a checkpoint holds the state."""
        feed = self._feeder.records
        if self._feeder.streamed:
            feed = signals.unless_stopped(self._stop, self._feeder, n)
            if feed is None:
                raise Stopped(state)
        # A step takes the memory of the state before it. Where steps are slow, that state is kept on the host.
        slow = jax.process_count() == 1 and self._took > signals.GRACE / 2
        kept = sharding.to_host(state)._replace(key=self._keys) if slow else None
        before = time.monotonic()
        found = signals.unless_stopped(self._stop if kept or safe else [], self._advanced, state, feed, n)
        if found is None:
            raise Stopped(kept)
        self._took = time.monotonic() - before
        if self._compiled:
            self.seconds = self._took / n
        self._compiled = True
        return found

    def _advanced(self, state, feed, n):
        after, metrics = self._advance(state, self._keys, feed, n)
        return after, sharding.to_host(metrics)
