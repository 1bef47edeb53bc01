"""medGAN's nets (Choi et al. 2017, arXiv 1703.06490), for rows of numbers that are 0 or 1.

With a code of 128 and 615 numbers a row they are those of the authors' code: G has 49,920 parameters.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.layers import BatchNorm


class E(nn.Module):
    """The encoder: x [b, d] -> code [b, features] in [-1, 1]."""

    features: int = 128

    @nn.compact
    def __call__(self, x, train=True):
        return jnp.tanh(nn.Dense(self.features)(x))


class R(nn.Module):
    """The decoder: code [b, features] -> logits [b, size] of the numbers that are 1."""

    size: int

    @nn.compact
    def __call__(self, code, train=True):
        return nn.Dense(self.size)(code)


class G(nn.Module):
    """z [b, features] -> code [b, features]; each of its layers is added to what came into it, the last one, too."""

    depth: int = 3

    @nn.compact
    def __call__(self, z, train=True):
        for i in range(self.depth):
            y = nn.Dense(z.shape[-1], use_bias=False)(z)
            y = BatchNorm(not train, momentum=0.99, epsilon=1e-3)(y)
            z = z + (jnp.tanh(y) if i == self.depth - 1 else nn.relu(y))
        return z


class D(nn.Module):
    """x [b, d] -> score [b]. With `averaged` it sees the mean row of the batch beside each row."""

    width: int = 256
    averaged: bool = True

    @nn.compact
    def __call__(self, x, train=True):
        if self.averaged:
            x = jnp.concatenate([x, jnp.broadcast_to(x.mean(0, keepdims=True), x.shape)], 1)
        for width in (self.width, self.width // 2):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(1)(x)[:, 0]
