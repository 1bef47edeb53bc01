"""The nets of pix2pix (Isola et al. 2017, arXiv 1611.07004), for pictures of any size.

G is a U-Net: convolutions of 4x4 with stride 2 halve the picture (rounded up) until 1x1 is left, transposed ones double
it again, and each level is handed what the way down had at its size. 256x256 has eight levels, as published, 64x64 six.
D scores patches. Every picture is normalised by its own statistics, which is what batch norm does to a batch of one.
Weights are drawn from N(0, 0.02), scales from N(1, 0.02). No convolution has a bias: the authors' code sets them to 0.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import InstanceNorm, dropout, leaky, normal

plain = {"use_bias": False, "kernel_init": normal}


def norm():
    """Return the layer that normalises each picture and channel, then scales and shifts it."""
    return InstanceNorm(epsilon=1e-5, scale_init=lambda *args: 1 + normal(*args))


def sizes(shape):
    """Return the sides of a picture's levels, its own first, 1x1 last."""
    found = [tuple(shape[:2])]
    while max(found[-1]) > 1:
        found.append(tuple(math.ceil(n / 2) for n in found[-1]))
    return found


class G(nn.Module):
    """x [b, h, w, c], a key for its dropout -> [b, h, w, channels] in [-1, 1]."""

    channels: int
    width: int = 64  # channels of the first level; the next have 2, 4, then 8 times as many

    @nn.compact
    def __call__(self, x, key, train=True):
        levels = sizes(x.shape[1:])
        widths = [self.width * 2 ** min(i, 3) for i in range(len(levels) - 1)]
        down, last = [], len(widths) - 1
        for i, c in enumerate(widths):
            x = Conv(c, 4, 2, **plain)(leaky(x) if i else x)
            x = norm()(x) if 0 < i < last else x  # of one pixel nothing would be left
            down.append(x)
        for i in range(last, 0, -1):
            x = norm()(ConvTranspose(widths[i - 1], 4, 2, size=levels[i], **plain)(nn.relu(x)))
            x = dropout(jax.random.fold_in(key, i), x) if i > last - 3 else x
            x = jnp.concatenate([x, down[i - 1]], 3)
        return jnp.tanh(ConvTranspose(self.channels, 4, 2, size=levels[0], **plain)(nn.relu(x)))


class D(nn.Module):
    """x [b, h, w, c], input and output one behind the other -> logits of its patches [b, patches].

    layers: of stride 2. A patch has 16x16 pixels for 1, then 34, 70 (the paper's), 142, 286; for 0 it is one pixel.
    """

    layers: int = 3
    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        if self.layers == 0:
            x = leaky(Conv(self.width, 1, **plain)(x))
            x = leaky(norm()(Conv(2 * self.width, 1, **plain)(x)))
            return Conv(1, 1, **plain)(x).reshape(x.shape[0], -1)
        for i in range(self.layers + 1):
            x = Conv(self.width * 2 ** min(i, 3), 4, 2 if i < self.layers else 1, 1, **plain)(x)
            x = leaky(norm()(x) if i else x)
        return Conv(1, 4, 1, 1, **plain)(x).reshape(x.shape[0], -1)
