"""The nets of Triangle GAN (Gan, Chen et al. 2017, arXiv 1709.06548), as the authors' code has them for digits.

Three convolutions of 5x5 with stride 2, the third without padding, dropout of a tenth, and one dense layer. D sees the
two pictures one above the other. Points have perceptrons: G is given noise beside the point, D both points. All noise,
dropout too, is a function of a key, in training and afterwards.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.game import rng
from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import dropout
from gan_jax.nets.mlp import MLP

xavier = nn.initializers.xavier_uniform()


class Features(nn.Module):
    """x [b, h, w, c] -> [b, features], each of which `rate` of all lose."""

    width: int = 32
    rate: float = 0.1

    @nn.compact
    def __call__(self, x, key):
        for i in range(3):
            padding = "VALID" if i == 2 and min(x.shape[1:3]) >= 5 else "SAME"
            x = nn.relu(Conv(self.width * 2**i, 5, 2, padding, kernel_init=xavier)(x))
        return dropout(key, x.reshape(x.shape[0], -1), self.rate)


class G(nn.Module):
    """x [b, h, w, c], a key -> the picture of the other kind [b, *shape] in [-1, 1]."""

    shape: tuple[int, int, int]
    width: int = 32

    @nn.compact
    def __call__(self, x, key, train=True):
        x = nn.Dense(math.prod(self.shape), kernel_init=xavier)(Features(self.width)(x, key))
        return jnp.tanh(x / 2).reshape(-1, *self.shape)  # a sigmoid, in [-1, 1]


class D(nn.Module):
    """x, y [b, h, w, c], a key -> logits [b]."""

    width: int = 32

    @nn.compact
    def __call__(self, x, y, key, train=True):
        both = Features(self.width)(jnp.concatenate([x, y], 1), key)
        return nn.Dense(1, kernel_init=xavier)(both)[:, 0]


class PointG(nn.Module):
    """x [b, c], a key -> the point of the other kind [b, *shape]; `noise` normal numbers stand beside x."""

    shape: tuple[int]
    width: int = 512
    noise: int = 2

    @nn.compact
    def __call__(self, x, key, train=True):
        z = rng.normal(key, (x.shape[0], self.noise))
        return MLP(*self.shape, self.width, 3, nn.leaky_relu)(jnp.concatenate([z, x], 1))


class PointD(nn.Module):
    """x, y [b, c], a key that is not used -> logits [b]."""

    width: int = 512

    @nn.compact
    def __call__(self, x, y, key, train=True):
        return MLP(1, self.width, 3, nn.leaky_relu)(jnp.concatenate([x, y], 1))[:, 0]
