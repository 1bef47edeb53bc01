"""The nets of the Blending GAN (Wu et al. 2019, arXiv 1703.07195): a picture through a bottleneck, and a critic.

Convolutions of 4x4 with stride 2 halve the picture to 4x4 or less, from `width` channels on, each level with twice as
many as the one before (up to 8 times); one of all that is left makes the code, and transposed ones go back. Batch norm,
leaky ReLU down and ReLU up, as in DCGAN; no convolution has a bias.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, leaky, levels, normal

plain = {"use_bias": False, "kernel_init": normal}


def _down(x, channels, train):
    for i, c in enumerate(channels):
        x = Conv(c, 4, 2, **plain)(x)
        x = leaky(batch_norm(x, train) if i else x)  # none on the data
    return x


class G(nn.Module):
    """x [b, h, w, c] -> [b, h, w, c] in [-1, 1], through `bottleneck` numbers."""

    width: int = 64
    bottleneck: int = 4000

    @nn.compact
    def __call__(self, x, train=True):
        shape = x.shape[1:]
        sizes, channels = levels(shape, self.width)
        x = _down(x, channels, train).reshape(x.shape[0], -1)
        x = leaky(batch_norm(nn.Dense(self.bottleneck, **plain)(x), train))
        x = nn.Dense(sizes[-1][0] * sizes[-1][1] * channels[-1], **plain)(x)
        x = nn.relu(batch_norm(x.reshape(-1, *sizes[-1], channels[-1]), train))
        for size, c in zip(sizes[-2:0:-1], channels[-2::-1], strict=True):
            x = nn.relu(batch_norm(ConvTranspose(c, 4, 2, size=size, **plain)(x), train))
        return jnp.tanh(ConvTranspose(shape[-1], 4, 2, size=sizes[0], **plain)(x))


class D(nn.Module):
    """x [b, h, w, c] -> the critic's score [b]."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        x = _down(x, levels(x.shape[1:], self.width)[1], train)
        return nn.Dense(1, **plain)(x.reshape(x.shape[0], -1))[:, 0]
