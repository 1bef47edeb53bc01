"""The perceptrons of Keras-GAN's first example (github.com/eriklindernoren/Keras-GAN, gan/gan.py), Keras' defaults.

For 28x28 pixels, a latent of 100 numbers and a width of 256, G has 1,489,936 weights and D 533,505.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.layers import BatchNorm, leaky

glorot = nn.initializers.glorot_uniform()


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape]; images end in tanh. Its hidden layers have 1, 2 and 4 times `width` units."""

    shape: tuple[int, ...]
    width: int = 256
    momentum: float = 0.8

    @nn.compact
    def __call__(self, z, train=True):
        for width in (self.width, 2 * self.width, 4 * self.width):
            z = leaky(nn.Dense(width, kernel_init=glorot)(z))
            z = BatchNorm(not train, momentum=self.momentum, epsilon=1e-3)(z)  # after the leaky ReLU
        x = nn.Dense(math.prod(self.shape), kernel_init=glorot)(z).reshape(-1, *self.shape)
        return jnp.tanh(x) if len(self.shape) > 1 else x


class D(nn.Module):
    """x [b, ...] -> score [b]. Its hidden layers have 2 and 1 times `width` units."""

    width: int = 256

    @nn.compact
    def __call__(self, x, train=True):
        x = x.reshape(x.shape[0], -1)
        for width in (2 * self.width, self.width):
            x = leaky(nn.Dense(width, kernel_init=glorot)(x))
        return nn.Dense(1, kernel_init=glorot)(x)[:, 0]
