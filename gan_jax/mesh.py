"""Devices: a one-dimensional mesh along which the batch is divided; the state is a copy on each device."""

import os

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from gan_jax.errors import UserError


def choose(platform: str | None = None, distributed: bool = False):
    """Pick the platform ("cpu", "gpu", "tpu"; None: JAX's own choice) and join the other processes of the run.

    Several processes are joined where asked for and, unasked, on a TPU pod and under SLURM with several tasks. Call
    this before any computation. Raises UserError where there is no such device.
    """
    if platform:
        jax.config.update("jax_platforms", {"gpu": "cuda"}.get(platform, platform))
    pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "") or int(os.environ.get("SLURM_NTASKS") or 1) > 1
    if (distributed or pod) and not jax.distributed.is_initialized():
        number = {name: os.environ.get(f"JAX_{name.upper()}") for name in ("num_processes", "process_id")}
        try:  # what is not said here or in JAX_COORDINATOR_ADDRESS, JAX finds out from the cluster
            jax.distributed.initialize(**{name: int(value) for name, value in number.items() if value})
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"the processes could not be joined: {str(error).splitlines()[0]}\n"
                "Outside SLURM and TPU pods set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID."
            ) from None
    try:
        jax.devices()
    except RuntimeError:
        raise UserError(
            f"no {platform.upper()} found here; leave --{platform} out to run on what there is, or install JAX for it."
            if platform
            else "JAX finds no device; check JAX_PLATFORMS."
        ) from None


def make(batch_size: int, devices=None) -> Mesh:
    """Return the mesh over `devices` (default: all). Raises UserError where the batch can't be divided over them."""
    devices = jax.devices() if devices is None else devices
    if batch_size % len(devices):
        raise UserError(f"a batch of {batch_size} can't be divided over {len(devices)} devices: choose a multiple of that.")
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of a state: a whole copy on each device."""
    return NamedSharding(mesh, P())


def split(mesh: Mesh, batch):
    """Inside jit: divide the rows of every array of the batch over the devices."""
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, P("data")))


def put(mesh: Mesh, arrays):
    """Return numpy arrays, the same on every process, as copies on each device."""
    return jax.tree.map(lambda a: jax.make_array_from_callback(a.shape, replicated(mesh), lambda at: a[at]), arrays)


def put_rows(mesh: Mesh, arrays, axis: int):
    """Return numpy arrays, each process's own rows of the batch along `axis`, as global arrays divided over devices."""
    sharding = NamedSharding(mesh, P(*[None] * axis, "data"))
    return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), arrays)


def own_rows(batch_size: int) -> slice:
    """Return the rows of the batch that this process reads."""
    share = batch_size // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def is_first() -> bool:
    """Return whether this process is the one that writes files and speaks."""
    return jax.process_index() == 0


def to_host(tree):
    """Return the tree with every leaf as numpy; random keys as their data."""

    def one(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf)

    return jax.tree.map(one, tree)
