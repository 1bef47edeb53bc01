"""Chance of a batch, a function of (key, i), and of records, a function of the record alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.game import rng


def of_batch(key: jax.Array, i: jax.typing.ArrayLike, name: str, b: int) -> Callable:
    """Return the function (*shape) -> numbers [b, *shape], uniform in [0, 1), of batch i, for the noise `name`."""
    return lambda *shape: rng.uniform(rng.at(key, i, name), (b, *shape))


def of_records(name: str, values: jax.Array) -> Callable:
    """Return such a function whose numbers are, row for row, a function of `values` [b, ...], whole numbers."""

    def uniform(*shape):
        key = rng.at(jax.random.key(0), 0, name)
        salt = jax.random.bits(key, values.shape[1:], np.uint32)[None]
        digests = (values.astype(np.uint32) * salt).reshape(len(values), -1).sum(1, dtype=np.uint32)
        return jax.vmap(lambda digest: rng.uniform(jax.random.fold_in(key, digest), shape))(digests)

    return uniform


def below(u: jax.Array, n: jax.typing.ArrayLike) -> jax.Array:
    """Return whole numbers out of [0, n), for u uniform in [0, 1)."""
    return jnp.minimum((u * n).astype(np.int32), n - 1)
