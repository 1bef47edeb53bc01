"""The nets of A-Fast-RCNN (Wang et al. 2017, arXiv 1704.03414): a small Fast R-CNN, and what makes its features hard.

Fast R-CNN (Girshick 2015, arXiv 1504.08083): convolutions of a picture, features of its boxes, two layers, and a head
for classes and one for boxes.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.game import rng
from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import instance_norm

MOST = math.radians(10)  # by which features are turned
BLOCKS = 4  # of channels, each turned by an angle of its own


class Features(nn.Module):
    """x [b, h, w, c] -> features [b, h / 4, w / 4, 4 width], rounded up."""

    width: int

    @nn.compact
    def __call__(self, x, train=True):
        for times, kernel, stride in ((1, 5, 2), (2, 3, 2), (4, 3, 1), (4, 3, 1)):
            x = nn.relu(instance_norm(Conv(times * self.width, kernel, stride, use_bias=False)(x)))
        return x


class Heads(nn.Module):
    """Features of boxes [r, s, s, c] -> (logits [r, 1 + classes], the first: nothing; offsets [r, classes, 4])."""

    classes: int
    wide: int

    @nn.compact
    def __call__(self, f, train=True):
        f = f.reshape(f.shape[0], -1)
        for _ in range(2):
            f = nn.relu(nn.Dense(self.wide)(f))
        small = lambda n, std: nn.Dense(n, kernel_init=nn.initializers.normal(std))
        return small(1 + self.classes, 0.01)(f), small(4 * self.classes, 0.001)(f).reshape(-1, self.classes, 4)


class ASDN(nn.Module):
    """Features of boxes [r, s, s, c] -> logits [r, s, s]: which cells are to be dropped."""

    width: int
    layers: int = 4

    @nn.compact
    def __call__(self, f, train=True):
        he = nn.initializers.he_normal()
        for _ in range(self.layers):
            f = nn.relu(Conv(self.width, 3, kernel_init=he)(f))
        return Conv(1, 3, kernel_init=he)(f)[..., 0]


class ASTN(nn.Module):
    """Features of boxes [r, s, s, c] -> angles [r, BLOCKS] within MOST."""

    wide: int

    @nn.compact
    def __call__(self, f, train=True):
        f = f.reshape(f.shape[0], -1)
        for _ in range(2):
            f = nn.relu(nn.Dense(self.wide)(f))
        return MOST * jnp.tanh(nn.Dense(BLOCKS, kernel_init=nn.initializers.normal(0.01))(f))


def turned(f, angle):
    """Return features f [r, s, s, c] turned about their middle, each block of channels by its angle [r, blocks].

    In radians, from the first axis to the second, as a spatial transformer does (Jaderberg et al. 2015, arXiv
    1506.02025): bilinear, 0 outside.
    """
    r, s, _, c = f.shape
    blocks = angle.shape[1]
    at = jnp.arange(s, dtype=f.dtype) - (s - 1) / 2
    y, x = (a.reshape(1, 1, -1) for a in jnp.meshgrid(at, at, indexing="ij"))  # [1, 1, s s]
    cos, sin = jnp.cos(angle)[..., None], jnp.sin(angle)[..., None]
    near = lambda a: jnp.maximum(1 - jnp.abs(a[..., None] - at.reshape(1, 1, 1, -1)), 0)  # [r, blocks, s s, s]
    rows, columns = near(cos * y + sin * x), near(cos * x - sin * y)
    parts = f.reshape(r, s, s, blocks, c // blocks)
    return jnp.einsum("rbpy,rbpx,ryxbc->rpbc", rows, columns, parts).reshape(f.shape)


def windows(side, size):
    """Return all windows of size x size cells in side x side of them: [windows, side, side], 1 inside."""
    along = jnp.stack([(i <= jnp.arange(side)) & (jnp.arange(side) < i + size) for i in range(side - size + 1)])
    return (along[:, None, :, None] & along[None, :, None, :]).reshape(-1, side, side).astype(jnp.float32)


def worst(probability, f, size):
    """Return of each of the features f [r, s, s, c] the window, 1 inside, without which it is least probable [r, s, s].

    probability: features [r, s, s, c] -> [r]. size: cells a side of a window.
    """
    every = windows(f.shape[1], size).astype(f.dtype)
    return every[jax.lax.map(lambda window: probability(hidden(f, window[None])), every).argmin(0)]


def hidden(f, cells):
    """Return features f [r, s, s, c] with 0 in these cells [r or 1, s, s], all channels."""
    return f * (1 - cells[..., None])


def dropped(scores, among, drop, key):
    """Return which cells are dropped, 1, by their scores [r, s, s]: a share `drop` of all, drawn out of the highest.

    among: the share that these are of all cells.
    """
    r, s, _ = scores.shape
    among, drop = (max(1, round(share * s * s)) for share in (among, drop))
    highest = jax.lax.top_k(scores.reshape(r, -1), among)[1]
    drawn = jax.lax.top_k(rng.uniform(key, highest.shape), drop)[1]
    cell = jnp.take_along_axis(highest, drawn, 1)[..., None]  # [r, drop, 1]
    return (cell == jnp.arange(s * s).reshape(1, 1, -1)).any(1).reshape(r, s, s).astype(scores.dtype)
