"""E and D of VAE/GAN (Larsen et al. 2016, arXiv 1512.09300); its G is that of DCGAN, or a perceptron for points."""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import batch_norm, leaky, levels, normal


class Trunk(nn.Module):
    """x [b, ...] -> features [b, f]: the convolutions of DCGAN's D, or two layers on points."""

    width: int

    @nn.compact
    def __call__(self, x, train=True):
        if x.ndim == 2:
            for _ in range(2):
                x = nn.relu(nn.Dense(self.width)(x))
            return x
        channels = levels(x.shape[1:], self.width)[1]
        for i, c in enumerate(channels):
            norm = i > 0 or len(channels) == 1  # |f(x) - f(x')| needs features of unit variance, a single level's too
            x = Conv(c, 4, 2, use_bias=not norm, kernel_init=normal)(x)
            x = leaky(batch_norm(x, train) if norm else x)
        return x.reshape(x.shape[0], -1)


class E(nn.Module):
    """x [b, ...] -> mean [b, z] and log variance [b, z] of the code."""

    z_dim: int
    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        return jnp.split(nn.Dense(2 * self.z_dim, kernel_init=normal)(Trunk(self.width)(x, train)), 2, axis=1)


class D(nn.Module):
    """x [b, ...] -> score [b] and the last hidden layer [b, f], in which reconstructions are compared."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        features = Trunk(self.width)(x, train)
        return nn.Dense(1, kernel_init=normal)(features)[:, 0], features
