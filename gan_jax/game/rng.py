"""Random keys as a function of (root, step, name), and noise in float32.

A resumed run draws the numbers it would have drawn, and a new source of noise moves no other one.
"""

import math
import zlib

import jax
import jax.numpy as jnp


def at(root: jax.Array, step, name: str) -> jax.Array:
    """Return the key for the noise called `name` at `step`, derived from the run's `root` key."""
    return jax.random.fold_in(jax.random.fold_in(root, zlib.crc32(name.encode())), step)


def normal(key: jax.Array, shape=()) -> jax.Array:
    """Return standard normal numbers [*shape], in float32 whatever JAX_ENABLE_X64 says: what meets them stays so."""
    return jax.random.normal(key, shape, jnp.float32)


def uniform(key: jax.Array, shape=(), minval=0.0, maxval=1.0) -> jax.Array:
    """Return numbers [*shape], even in [minval, maxval), in float32 likewise."""
    return jax.random.uniform(key, shape, jnp.float32, minval, maxval)


def truncated(key: jax.Array, shape, cut: float) -> jax.Array:
    """Return normal numbers [*shape] in float32, of which those farther from 0 than `cut` were drawn again."""
    within = math.erf(cut / math.sqrt(2))  # the share of a normal distribution that is there
    z = math.sqrt(2) * jax.scipy.special.erfinv(uniform(key, shape, minval=-within, maxval=within))
    return jnp.clip(z, -cut, cut)


def gumbel(key: jax.Array, shape=()) -> jax.Array:
    """Return Gumbel noise [*shape] in float32: the largest of it and logits falls as their softmax says."""
    return -jnp.log(-jnp.log(jnp.clip(uniform(key, shape), 1e-6, 1 - 1e-6)))
