"""Perceptrons of a variational autoencoder (Kingma and Welling 2014, arXiv 1312.6114): E and G, mirror images."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.mlp import MLP

small = nn.initializers.normal(0.01)  # the paper's: at first q(z|x) is nearly the prior, so G sees all of the prior


class E(nn.Module):
    """x [b, ...] -> mean [b, z] and log variance [b, z] of the code. Images enter as [0, 1], mostly 0 for black."""

    z_dim: int
    width: int = 500
    depth: int = 1
    act: Callable = nn.tanh

    @nn.compact
    def __call__(self, x, train=True):
        x = (x + 1) / 2 if x.ndim > 2 else x
        return jnp.split(MLP(2 * self.z_dim, self.width, self.depth, self.act, small)(x), 2, axis=1)


class G(nn.Module):
    """Code [b, z] -> [b, *shape], real numbers: logits of pixels, or the means of points."""

    shape: tuple[int, ...]
    width: int = 500
    depth: int = 1
    act: Callable = nn.tanh

    @nn.compact
    def __call__(self, z, train=True):
        return MLP(math.prod(self.shape), self.width, self.depth, self.act, small)(z).reshape(-1, *self.shape)
