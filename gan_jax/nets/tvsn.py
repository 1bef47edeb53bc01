"""The nets of TVSN (Park et al. 2017, arXiv 1703.02921), for pictures of any size, as the authors' code has them.

F looks from where in a view each pixel of the turned one comes, G completes what was moved, D scores pictures. All of
them halve pictures (rounded up) until the larger side is at most 4: 256x256 has six levels, as published. Convolutions
before a norm have no bias, which it would take away.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, leaky, levels, normal

wide = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")  # of F
small = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # Torch's own, of G's linear layers
plain = {"use_bias": False, "kernel_init": normal}


def warp(x, places):
    """Return x [b, h, w, c] read at places [b, n, m, 2]: [b, n, m, c], bilinear, 0 beyond the borders.

    A place is (y, x): -1 is the middle of the first pixel, 1 that of the last one. Appearance flow has no more than
    this (Zhou et al. 2016, arXiv 1605.03557).
    """
    at = (places + 1) * (jnp.array(x.shape[1:3], places.dtype) - 1).reshape(1, 1, 1, 2) / 2
    one = lambda channel, at: map_coordinates(channel, [at[..., 0], at[..., 1]], order=1)
    return jax.vmap(jax.vmap(one, (2, None), 2))(x, at)


def narrowing(shape, width):
    """Return the sides of a picture's levels, its own first, and the channels of the others, each twice as many."""
    sizes, _ = levels(shape, 1)
    return sizes, [width * 2**i for i in range(len(sizes) - 1)]


def doubled(x, size):
    """Return x [b, n, m, c] with each pixel a square of four: [b, *size, c], cut where it would be larger."""
    return x.repeat(2, 1).repeat(2, 2)[:, : size[0], : size[1]]


class F(nn.Module):
    """x [b, h, w, c], turn [b, 2] -> places [b, h, w, 2] for `warp`, logits that they are seen [b, h, w, 1], code.

    The code [b, n, m, k] is what F's encoder ends with.
    """

    width: int = 16  # channels of the first level, each further one has twice as many
    units: int = 2048  # of the linear layers

    @nn.compact
    def __call__(self, x, turn, train=True):
        sizes, channels = narrowing(x.shape[1:], self.width)
        conv = lambda c, k, strides=1: Conv(c, k, strides, k // 2, kernel_init=wide)
        dense = lambda n, x: nn.relu(nn.Dense(n, kernel_init=wide)(x))
        for i, c in enumerate(channels):
            x = nn.relu(conv(c, 5 if i < 3 else 3, 2)(x))
        code, x = x, dense(self.units, x.reshape(x.shape[0], -1))
        turn = dense(self.units // 8, dense(self.units // 16, turn))
        x = dense(self.units, dense(self.units, jnp.concatenate([x, turn], 1)))
        x = dense(code.size // len(code), x).reshape(code.shape)
        for i in reversed(range(len(channels) - 1)):
            x = nn.relu(conv(channels[i], 5 if i < 2 else 3)(doubled(x, sizes[i + 1])))
        x = doubled(x, sizes[0])
        return jnp.tanh(conv(2, 5)(x)), conv(1, 5)(x), code


class G(nn.Module):
    """moved [b, h, w, c] in [-1, 1], F's code [b, n, m, k], turn [b, 2] -> pictures [b, h, w, c] in [-1, 1]."""

    width: int = 16

    @nn.compact
    def __call__(self, moved, code, turn, train=True):
        sizes, channels = narrowing(moved.shape[1:], self.width)
        norm = lambda x: batch_norm(x, train)
        down = [moved]
        for c in channels:
            down.append(leaky(norm(Conv(c, 4, 2, **plain)(down[-1]))))
        for _ in range(2):
            turn = nn.relu(nn.Dense(8 * self.width, kernel_init=small)(turn))
        turn = ConvTranspose(8 * self.width, sizes[-1], padding="VALID", **plain)(turn[:, None, None])
        x = jnp.concatenate([down[-1], code, nn.relu(norm(turn))], 3)
        for _ in range(2):
            x = nn.relu(norm(Conv(channels[-1], 3, **plain)(x)))
        for i in reversed(range(len(channels))):
            c = channels[max(i - 1, 0)]
            x = nn.relu(norm(ConvTranspose(c, 4, 2, size=sizes[i], **plain)(x)))
            x = jnp.concatenate([x, down[i]], 3) if i < 4 else x
            x = nn.relu(norm(Conv(c, 3, **plain)(x)))
        return jnp.tanh(Conv(moved.shape[3], 3, kernel_init=normal)(x))


class D(nn.Module):
    """x [b, h, w, c] -> scores [b], features: what the first three levels end with."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        found = []
        for i in range(len(levels(x.shape[1:], 1)[0]) - 1):
            x = leaky(batch_norm(Conv(self.width * 2 ** max(0, i - 2), 4, 2, **plain)(x), train))
            found.append(x)
        return nn.Dense(1, kernel_init=normal)(x.reshape(x.shape[0], -1))[:, 0], found[:3]
