"""The state of a run: made anew or restored, and never saved with a number in it that is not finite."""

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from gan_jax.errors import UserError, first_line, printable
from gan_jax.run import sharding
from gan_jax.run.checkpoint import Checkpoints
from gan_jax.run.options import Run
from gan_jax.run.setup import Setup

SMALLER = "Try a smaller --batch-size, --width or --seeds."  # where there is no room


def initial(init: Callable, seed: int, seeds: int, rekey: int = 0) -> Any:
    """Return the state of a new run, stacked over its seeds where there are several; pure, for use inside jit."""

    def one(seed):
        key = jax.random.key(seed)
        return init(jax.random.fold_in(key, rekey) if rekey else key)

    # `lax.map`, not `vmap`: a batched QR (orthogonal init) can deadlock XLA's thread pool on two cores (jax 0.10.2)
    return one(seed) if seeds == 1 else jax.lax.map(one, seed + jnp.arange(seeds))


def starter(init: Callable, seed: int, seeds: int, rekey: int, placed: Any) -> Callable:
    """Return the compiled () -> state of a new run, `initial` placed by this sharding."""
    # It runs once, and XLA's CPU compiler takes seconds to unroll what draws a kernel of four axes, unless told not to.
    # A level that XLA_FLAGS have stays.
    level, told = "xla_backend_optimization_level", os.environ.get("XLA_FLAGS", "")
    options = {level: 1} if jax.default_backend() == "cpu" and level not in told else None
    return jax.jit(lambda: initial(init, seed, seeds, rekey), out_shardings=placed, compiler_options=options)


def starting(run: Run, init: Callable, mesh: Mesh, setup: Setup) -> tuple[Callable, Callable, Any]:
    """Return (() -> the state of a new run, () -> its root keys, the state's shapes and placing), nothing made yet.

    Raises UserError where the state or a batch is larger than the memory that there is.
    """
    placed = NamedSharding(mesh, sharding.seed_spec(mesh, run.seeds))
    begin, begin_keys = (starter(f, run.seed, run.seeds, run.rekey, placed) for f in (init, lambda key: key))
    try:
        shapes = jax.eval_shape(begin)
    except (MemoryError, OverflowError) as error:
        raise UserError(f"no memory could hold these nets: {first_line(error)}.\n{SMALLER}") from None
    like = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=placed), shapes)
    own = max(mesh.size if sharding.by_seed(mesh, run.seeds) else 1, 1)
    check_room("the state of this run", sum(s.size * s.dtype.itemsize for s in jax.tree.leaves(shapes)) // own)
    check_room("a batch of this run", setup.batch_size * setup.source.row_numbers * 4)
    return begin, begin_keys, like


@contextlib.contextmanager
def in_room() -> Iterator[None]:
    """Turn what JAX says where the device has no room into a UserError."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in first_line(error):
            raise
        raise UserError(f"no room on the device: {first_line(error)}\n{SMALLER}") from None


def check_room(what: str, needed: int) -> None:
    """Raise UserError where so many bytes are more than the device has, or the host where that is the device."""
    if needed > memory():
        raise UserError(f"{what} takes {needed / 1e9:,.0f} GB, and the memory has {memory() / 1e9:,.0f} GB.\n{SMALLER}")


def memory() -> int:
    """Return the bytes of the device's memory; of the host's where that is the device."""
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", host)


def begun(run: Run, start: tuple, checkpoints: Checkpoints, change: Callable | None = None) -> tuple[Any, jax.Array]:
    """Return (state, root keys): of the newest good checkpoint on --resume, else of a new run, which is saved.

    start: what `starting` returned; change: what the Setup has as `begin`. The keys are the state's own, in memory of
    their own: a step takes that of the state.
    """
    begin, begin_keys, like = start
    state = checkpoints.restore(like) if run.resume else None
    if state is not None:  # with the key that it had, unless there is a new --rekey
        return state._replace(key=begin_keys()), begin_keys()
    state = begin()
    if change:
        state = jax.tree.map(lambda leaf, of: jax.device_put(leaf, of.sharding), change(state), like)
    checkpoints.save(0, state)
    checkpoints.try_out(0, like)
    return state, begin_keys()


def check_state(state: Any, at: int, saved: int, folder: Path) -> None:
    """Raise UserError where a number in the state is not finite: no such state is ever saved."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.isfinite(sharding.to_host(leaf)).all():
            _diverged(f"state{jax.tree_util.keystr(path)}", at, saved, folder)


def check_metrics(metrics: dict, at: int, n: int, saved: int, folder: Path) -> None:
    """Raise UserError where one of the first n rows of the metrics, of the steps after `at`, is not finite."""
    for name, value in metrics.items():
        bad = ~np.isfinite(value[:n]).reshape(n, -1).all(1)
        if bad.any():
            _diverged(name, at + 1 + int(bad.argmax()), saved, folder)


def _diverged(name, step, saved, folder):
    raise UserError(
        f"{name} is not finite at step {step}; the last good checkpoint, of step {saved}, is in {printable(folder)}.\n"
        f"To go on from there with other noise, and with lower rates if you like, add --resume --rekey 1 --out "
        f"{shlex.quote(str(folder))}."
    )
