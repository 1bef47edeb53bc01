"""BiGAN's perceptrons (Donahue et al. 2017, arXiv 1605.09782): G, its inverse E, and a D of pairs (x, z).

Each has two hidden layers of `width` units. norm=True puts batch norm on both of G and on the second of E and of D.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.dcgan import batch_norm


def leaky(x):
    return nn.leaky_relu(x, 0.2)


def layer(x, width, act, norm, train):
    x = nn.Dense(width, use_bias=not norm)(x)
    return act(batch_norm(x, train) if norm else x)


class G(nn.Module):
    """z [b, z] -> x [b, *shape]; images end in tanh."""

    shape: tuple[int, ...]
    width: int = 1024
    norm: bool = True

    @nn.compact
    def __call__(self, z, train=True):
        for _ in range(2):
            z = layer(z, self.width, nn.relu, self.norm, train)
        x = nn.Dense(math.prod(self.shape))(z).reshape(-1, *self.shape)
        return jnp.tanh(x) if len(self.shape) > 1 else x


class E(nn.Module):
    """x [b, ...], noise [b, z] -> z [b, z]: in (-1, 1) and without a look at the noise, or, stochastic, normal."""

    z_dim: int
    width: int = 1024
    norm: bool = True
    stochastic: bool = False

    @nn.compact
    def __call__(self, x, noise, train=True):
        x = layer(x.reshape(x.shape[0], -1), self.width, leaky, False, train)
        x = layer(x, self.width, leaky, self.norm, train)
        mean = nn.Dense(self.z_dim)(x)
        if self.stochastic:
            return mean + jnp.exp(nn.Dense(self.z_dim)(x) / 2) * noise
        return jnp.tanh(mean / 2)


class D(nn.Module):
    """x [b, ...], z [b, z] -> score [b]; z enters at the second hidden layer."""

    width: int = 1024
    norm: bool = True

    @nn.compact
    def __call__(self, x, z, train=True):
        x = layer(x.reshape(x.shape[0], -1), self.width, leaky, False, train)
        x = layer(jnp.concatenate([x, z], 1), self.width, leaky, self.norm, train)
        return nn.Dense(1)(x)[:, 0]
