"""D and the encoders of IcGAN (Perarnau et al. 2016, arXiv 1611.06355), as the authors' code has them.

Its G is the G of DCGAN, which sees the label beside the noise. Levels are those of `layers.levels`.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import batch_norm, leaky, levels, normal


class D(nn.Module):
    """x [b, h, w, c], y [b, k] -> score [b]; y stands at every place beside the channels of the first convolution."""

    width: int = 64

    @nn.compact
    def __call__(self, x, y, train=True):
        for i, c in enumerate(levels(x.shape[1:], self.width)[1]):
            x = Conv(c, 4, 2, use_bias=i == 0, kernel_init=normal)(x)
            x = leaky(batch_norm(x, train) if i else x)
            if i == 0:
                x = jnp.concatenate([x, jnp.broadcast_to(y[:, None, None], (*x.shape[:3], y.shape[1]))], 3)
        return nn.Dense(1, kernel_init=normal)(x.reshape(x.shape[0], -1))[:, 0]


class E(nn.Module):
    """x [b, h, w, c] -> [b, out]; hidden: units of the layer before the last, 0 for as many as it has inputs."""

    out: int
    width: int = 32
    hidden: int = 0

    @nn.compact
    def __call__(self, x, train=True):
        act = lambda x: nn.relu(batch_norm(x, train))
        for c in levels(x.shape[1:], self.width)[1]:
            x = act(Conv(c, 5, 2, padding=2, use_bias=False)(x))
        x = x.reshape(x.shape[0], -1)
        x = act(nn.Dense(self.hidden or x.shape[1], use_bias=False)(x))
        return nn.Dense(self.out)(x)
