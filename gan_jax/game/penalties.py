"""Gradient penalties: (critic, real, fake, key) -> [b]; the caller weighs, reduces and adds them to D's loss.

critic: x [b, ...] -> score [b], row by row: a row's gradient is no longer its own where batch norm is in it. Add a
function here to add a penalty.
"""

import jax
import jax.numpy as jnp


def _squared_norm(critic, x):  # |grad_x D(x)|^2 over all axes but the first: [b]
    grad = jax.grad(lambda x: critic(x).sum())(x)
    return jnp.sum(grad**2, axis=range(1, x.ndim))


def _away_from_one(critic, x):  # (|grad_x D(x)| - 1)^2: [b]
    squared = _squared_norm(critic, x)
    flat = squared == 0  # there the root has no gradient: take 0
    return (jnp.where(flat, 0, jnp.sqrt(jnp.where(flat, 1, squared))) - 1) ** 2


def _uniform(key, x):  # one number of [0, 1) a row: [b, 1, ...]
    return jax.random.uniform(key, (x.shape[0], *[1] * (x.ndim - 1)), x.dtype)


def wgan_gp(critic, real, fake, key):
    """Return (|grad D(x)| - 1)^2, x uniform on the segment between a real and a fake (Gulrajani 2017, 1704.00028)."""
    t = _uniform(key, real)
    return _away_from_one(critic, t * real + (1 - t) * fake)


def r1(critic, real, fake, key):
    """Return |grad D(real)|^2, to be multiplied by gamma / 2 (Mescheder et al. 2018, arXiv 1801.04406)."""
    return _squared_norm(critic, real)


def r2(critic, real, fake, key):
    """Return |grad D(fake)|^2, to be multiplied by gamma / 2 (Mescheder et al. 2018, arXiv 1801.04406)."""
    return _squared_norm(critic, fake)


def dragan(critic, real, fake, key):
    """Return (|grad D(x)| - 1)^2 around the data (Kodali et al. 2017, arXiv 1705.07215), as in the authors' code.

    x = real + t * std / 2 * u: t uniform in [0, 1) for each row, u uniform in [0, 1) for each number, std that of all
    numbers of the batch. (The paper writes x = real + N(0, c I).)
    """
    row, number = jax.random.split(key)
    noise = _uniform(row, real) * jax.random.uniform(number, real.shape, real.dtype)
    return _away_from_one(critic, real + real.std() / 2 * noise)
