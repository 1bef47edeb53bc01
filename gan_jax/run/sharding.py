"""Devices: a one-dimensional mesh along which the batch is divided; the state is a copy on each device."""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from gan_jax.errors import UserError
from gan_jax.run import processes


def choose(platform: str | None = None, distributed: bool = False, seeds: int = 1) -> None:
    """Pick the platform ("cpu", "gpu", "tpu"; None: JAX's own choice) and join the other processes of the run.

    Several processes are joined where asked for and, unasked, on a TPU pod and under SLURM with several tasks. For
    several seeds the CPU becomes as many devices as it has cores that they can be shared out over. Call this before
    any computation. Raises UserError where there is no such device.
    """
    if seeds > 1 and jax.config.jax_num_cpu_devices < 1 and "device_count" not in os.environ.get("XLA_FLAGS", ""):
        cores = max(n for n in range(1, len(os.sched_getaffinity(0)) + 1) if seeds % n == 0)
        with contextlib.suppress(RuntimeError):  # a backend is up already: its devices stay
            jax.config.update("jax_num_cpu_devices", cores)
    if platform:  # the CPU stays beside it, for `jax.pure_callback` to call Python from
        jax.config.update("jax_platforms", {"gpu": "cuda,cpu", "tpu": "tpu,cpu"}.get(platform, platform))
    pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "") or int(os.environ.get("SLURM_NTASKS") or 1) > 1
    if (distributed or pod) and not jax.distributed.is_initialized():
        processes.join()
    found = None
    with contextlib.suppress(RuntimeError, AssertionError):  # jax 0.10 asserts where no GPU plugin is installed
        found = jax.default_backend()
    if platform not in (None, found):
        raise UserError(
            f"no {platform.upper()} found here; leave --{platform} out to run on what there is or install JAX for it.\n"
            "Where JAX has computed before, as in a notebook, its device stays: start anew to choose one."
        )
    if not found:
        raise UserError("JAX finds no device; check JAX_PLATFORMS.")


def make(batch_size: int, seeds: int = 1, devices: Sequence | None = None) -> Mesh:
    """Return the mesh over `devices` (default: all). Raises UserError where the batch can't be divided over them."""
    devices = jax.devices() if devices is None else devices
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    if not by_seed(mesh, seeds) and batch_size % mesh.size:
        raise UserError(
            f"a batch of {batch_size} can't be divided over {mesh.size} devices: choose a multiple of that."
        )
    return mesh


def by_seed(mesh: Mesh, seeds: int) -> bool:
    """Return whether whole seeds, rather than the rows of the batch, are divided over the devices."""
    return seeds > 1 and seeds % mesh.size == 0 and jax.process_count() == 1


def seed_spec(mesh: Mesh, seeds: int, axis: int = 0) -> P:
    """Return the layout of arrays whose `axis` counts seeds: divided over the devices, or a copy on each."""
    return P(*[None] * axis, "data") if by_seed(mesh, seeds) else P()


def over_seeds(f: Callable, seeds: int, at_once: bool | None = None) -> Callable:
    """Return f over a leading axis of seeds; f itself for one seed.

    at_once: vmap instead of lax.map. By default so on accelerators. On a CPU one after another: a vmapped matmul is
    slower there than the same matmuls in turn, a vmapped convolution much slower (`python -m benchmarks seeds`). The
    cores are then shared out by `by_seed`.
    """
    if seeds == 1:
        return f
    at_once = jax.default_backend() != "cpu" if at_once is None else at_once
    return jax.vmap(f) if at_once else lambda *args: jax.lax.map(lambda a: f(*a), args)


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of a state: a whole copy on each device."""
    return NamedSharding(mesh, P())


def split(mesh: Mesh, batch: Any) -> Any:
    """Inside jit: divide the rows of every array of the batch over the devices."""
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, P("data")))


def put(mesh: Mesh, arrays: Any) -> Any:
    """Return numpy arrays, the same on every process, as copies on each device."""
    return jax.tree.map(lambda a: jax.make_array_from_callback(a.shape, replicated(mesh), lambda at: a[at]), arrays)


def put_batches(mesh: Mesh, seeds: int, batches: Any) -> Any:
    """Return raw batches [steps, (seeds,) own rows, ...] as global arrays, divided over the devices."""
    axis = 1 if by_seed(mesh, seeds) or seeds == 1 else 2
    sharding = NamedSharding(mesh, P(*[None] * axis, "data"))
    return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), batches)


def own_rows(batch_size: int) -> slice:
    """Return the rows of the batch that this process reads."""
    share = batch_size // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def is_first() -> bool:
    """Return whether this process is the one that writes files and speaks."""
    return jax.process_index() == 0


def to_host(tree: Any) -> Any:
    """Return the tree with every leaf as numpy; random keys as their data."""

    def one(leaf):
        if isinstance(leaf, np.ndarray):
            return leaf
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf if leaf.is_fully_addressable else leaf.addressable_data(0))  # else a copy on each

    return jax.tree.map(one, tree)
