"""eCommerceGAN's nets (Kumar, Biswas and Sanyal 2018, arXiv 1801.03244): two hidden layers with ReLUs each."""

import flax.linen as nn
import jax.numpy as jnp


class G(nn.Module):
    """z [b, ...] -> x [b, size] in [-1, 1]."""

    size: int
    widths: tuple[int, ...] = (64, 128)

    @nn.compact
    def __call__(self, z, train=True):
        for width in self.widths:
            z = nn.relu(nn.Dense(width)(z))
        return jnp.tanh(nn.Dense(self.size)(z))


class D(nn.Module):
    """x [b, d] -> score [b]."""

    widths: tuple[int, ...] = (128, 64)

    @nn.compact
    def __call__(self, x, train=True):
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(1)(x)[:, 0]
