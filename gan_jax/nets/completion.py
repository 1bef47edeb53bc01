"""The nets of globally and locally consistent completion (Iizuka et al. 2017, no arXiv id), for pictures of any size.

C halves a picture twice (rounded up), looks far around there by dilated convolutions, and doubles it twice. D scores a
picture and the window around its hole, each by convolutions of 5x5 that halve it until its larger side is at most 4.
Batch norm and a ReLU follow every convolution but C's last; what batch norm follows has no bias.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import plain_batch_norm


def active(x, train):
    return nn.relu(plain_batch_norm(x, train))


def dilated(layer, x, rate):
    """Return what a convolution of stride 1 makes of x [b, h, w, c] with its taps `rate` pixels apart: [b, h, w, o].

    Pixels that are `rate` apart are a picture of their own, to which the convolution comes as it is.
    """
    b, h, w, c = x.shape
    n, m = -(-h // rate), -(-w // rate)
    x = jnp.pad(x, ((0, 0), (0, n * rate - h), (0, m * rate - w), (0, 0)))
    x = x.reshape(b, n, rate, m, rate, c).transpose(0, 2, 4, 1, 3, 5)
    x = layer(x.reshape(-1, n, m, c)).reshape(b, rate, rate, n, m, -1).transpose(0, 3, 1, 4, 2, 5)
    return x.reshape(b, n * rate, m * rate, -1)[:, :h, :w]


class C(nn.Module):
    """Pictures whose hole has some colour, beside its mask [b, h, w, c + 1] -> [b, h, w, c] in [-1, 1]."""

    width: int = 64
    layers: int = 2  # plain convolutions at a quarter of the size, before the dilated ones and after them
    rates: tuple[int, ...] = (2, 4, 8, 16)  # pixels between the taps of the dilated ones

    @nn.compact
    def __call__(self, x, train=True):
        conv = lambda channels, kernel=3, strides=1: Conv(channels, kernel, strides, use_bias=False)
        widened = lambda channels, size: ConvTranspose(channels, 4, 2, size=size, use_bias=False)
        width, colours, whole = self.width, x.shape[3] - 1, x.shape[1:3]
        for channels, kernel, strides in ((1, 5, 1), (2, 3, 2), (2, 3, 1)):
            x = active(conv(channels * width, kernel, strides)(x), train)
        half = x.shape[1:3]
        x = active(conv(4 * width, 3, 2)(x), train)
        for rate in (*[1] * self.layers, *self.rates, *[1] * self.layers):
            x = active(dilated(conv(4 * width), x, rate), train)
        x = active(conv(2 * width)(active(widened(2 * width, half)(x), train)), train)
        x = active(conv(max(1, width // 2))(active(widened(width, whole)(x), train)), train)
        return 2 * nn.sigmoid(Conv(colours, 3)(x)) - 1


class Seen(nn.Module):
    """x [b, h, w, c] -> features [b, features]."""

    features: int
    width: int

    @nn.compact
    def __call__(self, x, train):
        i = 0
        while max(x.shape[1:3]) > 4:
            x = active(Conv(self.width * 2 ** min(i, 3), 5, 2, use_bias=False)(x), train)
            i += 1
        return nn.relu(nn.Dense(self.features)(x.reshape(x.shape[0], -1)))


class D(nn.Module):
    """x [b, h, w, c], a mask of a hole [b, h, w, 1], in whose place alone D looks closer -> logits [b]."""

    features: int = 1024
    width: int = 64
    part: float = 0.5  # of each side, of the window around the hole

    @nn.compact
    def __call__(self, x, mask, train=True):
        seen = [Seen(self.features, self.width)(one, train) for one in (x, around(x, mask, self.part))]
        return nn.Dense(1)(jnp.concatenate(seen, 1))[:, 0]


def around(x, mask, part):
    """Return of pictures x [b, h, w, c] the windows in whose middle the boxes of `mask` are: [b, n, m, c].

    n = part h, m = part w, rounded up. At a border of the picture the window stays inside.
    """
    sides = [math.ceil(part * side) for side in x.shape[1:3]]

    def one(x, mask):
        starts = []
        for axis, side in enumerate(sides):
            there = (mask[..., 0] > 0).any(1 - axis)
            middle = 2 * there.argmax() + there.sum()  # twice the middle of the box
            starts.append(jnp.clip((middle - side) // 2, 0, len(there) - side).astype(jnp.int32))
        return jax.lax.dynamic_slice(x, (*starts, jnp.int32(0)), (*sides, x.shape[2]))

    return jax.vmap(one)(x, mask)
