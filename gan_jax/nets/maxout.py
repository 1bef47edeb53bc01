"""The perceptrons of PacGAN's 2-D experiments (Lin et al. 2018, arXiv 1712.04086), as in the authors' code."""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.layers import BatchNorm, normal


class Maxout(nn.Module):
    """x [b, i] -> [b, width]: of each unit the largest of `pieces` linear functions (Goodfellow et al. 2013)."""

    width: int
    pieces: int = 5

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(self.width * self.pieces, kernel_init=normal)(x)
        return x.reshape(-1, self.width, self.pieces).max(2)


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape]; images end in tanh. Four hidden layers with batch norm."""

    shape: tuple[int, ...]
    width: int = 400

    @nn.compact
    def __call__(self, z, train=True):
        norm = lambda x: BatchNorm(use_running_average=not train, momentum=0.95, epsilon=1e-4)(x)
        for _ in range(4):
            z = nn.relu(norm(nn.Dense(self.width, use_bias=False, kernel_init=normal)(z)))
        x = nn.Dense(math.prod(self.shape), kernel_init=normal)(z).reshape(-1, *self.shape)
        return jnp.tanh(x) if len(self.shape) > 1 else x


class D(nn.Module):
    """x [b, ...] -> score [b]. Three hidden layers of maxout units."""

    width: int = 200

    @nn.compact
    def __call__(self, x, train=True):
        x = x.reshape(x.shape[0], -1)
        for _ in range(3):
            x = Maxout(self.width)(x)
        return nn.Dense(1, kernel_init=normal)(x)[:, 0]
