"""Random keys as a function of (root, step, name).

A resumed run draws the numbers it would have drawn, and a new source of noise moves no other one.
"""

import zlib

import jax


def at(root: jax.Array, step, name: str) -> jax.Array:
    """Return the key for the noise called `name` at `step`, derived from the run's `root` key."""
    return jax.random.fold_in(jax.random.fold_in(root, zlib.crc32(name.encode())), step)
