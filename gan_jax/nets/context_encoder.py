"""The nets of context encoders (Pathak et al. 2016, arXiv 1604.07379), for pictures of any size.

Encoder and D halve their picture until its larger side is at most 4, the decoder doubles from there; the coarsest four
levels have 1, 2, 4 and 8 times `width` channels, finer ones `width`, as in the authors' code at 64x64 and 128x128.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, leaky, levels, normal

plain = {"use_bias": False, "kernel_init": normal}


def planned(shape, width):
    """Return the sizes of a picture's levels, its own first, and the channels of all but its own."""
    sizes, _ = levels(shape, width)
    n = len(sizes) - 1
    return sizes, [width * 2 ** max(0, i - max(0, n - 4)) for i in range(n)]


def narrowed(x, width, train):
    """Return the features of x at its coarsest level, [b, at most 4, at most 4, channels]; for compact modules."""
    for i, c in enumerate(planned(x.shape[1:], width)[1]):
        x = Conv(c, 4, 2, **plain)(x)
        x = leaky(batch_norm(x, train) if i else x)  # not on the data
    return x


class ChannelDense(nn.Module):
    """x [b, n, m, c] -> [b, *size, c]: a fully connected layer of each channel alone, of weights [n m, h w, c]."""

    size: tuple[int, int]

    @nn.compact
    def __call__(self, x):
        b, n, m, c = x.shape
        kernel = self.param("kernel", normal, (n * m, math.prod(self.size), c), jnp.float32)
        return jnp.einsum("bpc,pqc->bqc", x.reshape(b, n * m, c), kernel).reshape(b, *self.size, c)


class G(nn.Module):
    """x [b, h, w, c] with a hole -> what lies there, [b, *shape] in [-1, 1].

    bottleneck: numbers in which all of the context meets, as in the authors' code; with 0 the paper's channel-wise
    fully connected layer and a convolution of 1x1 lie there.
    """

    shape: tuple[int, int, int]
    width: int = 64
    bottleneck: int = 4000

    @nn.compact
    def __call__(self, x, train=True):
        sizes, channels = planned(self.shape, self.width)
        x = narrowed(x, self.width, train)
        if self.bottleneck:
            x = Conv(self.bottleneck, x.shape[1:3], padding="VALID", **plain)(x)
            x = ConvTranspose(channels[-1], sizes[-1], padding="VALID", **plain)(leaky(batch_norm(x, train)))
        else:
            x = Conv(channels[-1], 1, **plain)(ChannelDense(sizes[-1])(x))
        for size, c in zip(sizes[-2:0:-1], channels[-2::-1], strict=True):
            x = ConvTranspose(c, 4, 2, size=size, **plain)(nn.relu(batch_norm(x, train)))
        x = nn.relu(batch_norm(x, train))
        return jnp.tanh(ConvTranspose(self.shape[-1], 4, 2, size=sizes[0], **plain)(x))


class D(nn.Module):
    """x [b, h, w, c] -> score [b]."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        x = narrowed(x, self.width, train)
        return nn.Dense(1, **plain)(x.reshape(x.shape[0], -1))[:, 0]
