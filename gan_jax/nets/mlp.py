"""Multilayer perceptrons for points and for small images as vectors."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp


class MLP(nn.Module):
    """`depth` hidden layers of `width` units, then a linear layer."""

    out: int
    width: int = 128
    depth: int = 2
    act: Callable = nn.relu
    kernel_init: Callable = nn.initializers.orthogonal(0.8)

    @nn.compact
    def __call__(self, x):  # [b, ...] -> [b, out]
        x = x.reshape(x.shape[0], -1)
        for _ in range(self.depth):
            x = self.act(nn.Dense(self.width, kernel_init=self.kernel_init)(x))
        return nn.Dense(self.out, kernel_init=self.kernel_init)(x)


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape]; images end in tanh."""

    shape: tuple[int, ...]
    width: int = 128
    depth: int = 2
    act: Callable = nn.relu
    kernel_init: Callable = nn.initializers.orthogonal(0.8)

    @nn.compact
    def __call__(self, z, train=True):
        x = MLP(math.prod(self.shape), self.width, self.depth, self.act, self.kernel_init)(z)
        x = x.reshape(-1, *self.shape)
        return jnp.tanh(x) if len(self.shape) > 1 else x


class D(nn.Module):
    """x [b, ...] -> score [b]. The input is multiplied by `scale` first."""

    width: int = 128
    depth: int = 2
    act: Callable = nn.relu
    kernel_init: Callable = nn.initializers.orthogonal(0.8)
    scale: float = 1.0

    @nn.compact
    def __call__(self, x, train=True):
        return MLP(1, self.width, self.depth, self.act, self.kernel_init)(x * self.scale)[:, 0]
