"""InfoGAN's nets (Chen et al. 2016, arXiv 1606.03657), for images of any size and for points.

D has two heads on one trunk: the score, and Q's account of the code. Two convolutions, of `width` and 2 * width
channels, halve an image twice; a dense layer of 16 * width stands behind them. The paper's width is 64.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, normal
from gan_jax.nets.mlp import MLP


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape] in [-1, 1]."""

    shape: tuple[int, int, int]
    width: int = 64

    @nn.compact
    def __call__(self, z, train=True):
        act = lambda x: nn.relu(batch_norm(x, train))
        half = tuple(math.ceil(n / 2) for n in self.shape[:2])
        small = (*(math.ceil(n / 2) for n in half), 2 * self.width)
        x = act(nn.Dense(16 * self.width, use_bias=False, kernel_init=normal)(z))
        x = act(nn.Dense(math.prod(small), use_bias=False, kernel_init=normal)(x)).reshape(-1, *small)
        x = act(ConvTranspose(self.width, 4, 2, size=half, use_bias=False, kernel_init=normal)(x))
        return jnp.tanh(ConvTranspose(self.shape[-1], 4, 2, size=self.shape[:2], kernel_init=normal)(x))


class D(nn.Module):
    """x [b, h, w, c] -> score [b], Q's `codes` numbers [b, codes]."""

    codes: int
    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        act = lambda x: nn.leaky_relu(batch_norm(x, train))
        dense = lambda n: nn.Dense(n, use_bias=False, kernel_init=normal)
        x = nn.leaky_relu(Conv(self.width, 4, 2, kernel_init=normal)(x))
        x = act(Conv(2 * self.width, 4, 2, use_bias=False, kernel_init=normal)(x))
        x = act(dense(16 * self.width)(x.reshape(x.shape[0], -1)))
        q = nn.Dense(self.codes, kernel_init=normal)(act(dense(2 * self.width)(x)))
        return nn.Dense(1, kernel_init=normal)(x)[:, 0], q


class PointD(nn.Module):
    """x [b, c] -> score [b], Q's `codes` numbers [b, codes]; the heads are linear."""

    codes: int
    width: int = 128

    @nn.compact
    def __call__(self, x, train=True):
        out = MLP(1 + self.codes, self.width)(x)
        return out[:, 0], out[:, 1:]
