"""The nets of StackGAN (Zhang et al. 2017, arXiv 1612.03242) as in its code: two Gs and a D for pictures of any size.

64x64 at `width` 128 (G) and 64 (D), and 256x256 made of these, are as published; sides of the first stage's pictures
are multiples of 4. A convolution before a norm has no bias, which it would take away.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.game import rng
from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import batch_norm, leaky, levels, normal
from gan_jax.nets.reed import Residual

plain = {"use_bias": False, "kernel_init": normal}


def doubled(x, size):
    """Return x [b, n, m, c] with each pixel a square of four: [b, *size, c], cut where it would be larger."""
    return x.repeat(2, 1).repeat(2, 2)[:, : size[0], : size[1]]


def smaller(x, ratio):
    """Return pictures x [b, h, w, c] with sides that are `ratio` times smaller: means of areas."""
    b, h, w, c = x.shape
    return x.reshape(b, h // ratio, ratio, w // ratio, ratio, c).mean((2, 4))


class Augmented(nn.Module):
    """A caption's vector t [b, e], a key -> (a condition [b, size], its divergence from noise [b]).

    The condition is normal, cut off at twice its deviation; that and the mean a layer reads off t, through a leaky
    ReLU. The divergence is the mean over its numbers, as in the code, of KL(N(mean, deviation^2) || N(0, 1)).
    """

    size: int

    @nn.compact
    def __call__(self, t, key):
        mean, log_std = jnp.split(leaky(nn.Dense(2 * self.size, kernel_init=normal)(t)), 2, 1)
        divergence = (-log_std + (jnp.exp(2 * log_std) + mean**2 - 1) / 2).mean(1)
        return mean + jnp.exp(log_std) * rng.truncated(key, mean.shape, 2.0), divergence


class First(nn.Module):
    """t [b, e], a key -> (x [b, *shape] in [-1, 1], the divergence [b]).

    The key is that of the condition, of `text` numbers, and of a latent of `z_dim`, standard normal.
    """

    shape: tuple[int, int, int]
    z_dim: int = 100
    text: int = 128
    width: int = 128

    @nn.compact
    def __call__(self, t, key, train=True):
        of_c, of_z = jax.random.split(key)
        c, divergence = Augmented(self.text)(t, of_c)
        z = rng.normal(of_z, (len(t), self.z_dim))
        sizes, channels = levels(self.shape, self.width)
        x = nn.Dense(math.prod(sizes[-1]) * channels[-1], **plain)(jnp.concatenate([c, z], 1))
        x = batch_norm(x.reshape(-1, *sizes[-1], channels[-1]), train)
        x = Residual(nn.relu)(x, train)
        for i, (size, wide) in enumerate(zip(sizes[-2:0:-1], channels[-2::-1], strict=True)):
            x = batch_norm(Conv(wide, 3, **plain)(doubled(x, size)), train)
            x = nn.relu(x) if i else Residual(nn.relu)(x, train)
        return jnp.tanh(Conv(self.shape[-1], 3, kernel_init=normal)(doubled(x, sizes[0]))), divergence


class Second(nn.Module):
    """t [b, e], a key, pictures [b, h, w, c] -> (x [b, ratio h, ratio w, c], the divergence [b]).

    Pictures are halved twice, joined with a condition of their own, changed by residual blocks and doubled until they
    are `ratio` times as large as they were.
    """

    ratio: int = 4
    text: int = 128
    width: int = 128
    blocks: int = 4

    @nn.compact
    def __call__(self, t, key, small, train=True):
        c, divergence = Augmented(self.text)(t, key)
        act = lambda x: nn.relu(batch_norm(x, train))
        x = nn.relu(Conv(self.width, 3, kernel_init=normal)(small))
        for i in (1, 2):
            x = act(Conv(2**i * self.width, 4, 2, **plain)(x))
        c = jnp.broadcast_to(c[:, None, None], (*x.shape[:3], c.shape[1]))
        x = act(Conv(4 * self.width, 3, **plain)(jnp.concatenate([x, c], 3)))
        for _ in range(self.blocks):
            y = act(Conv(4 * self.width, 3, **plain)(x))
            x = nn.relu(x + batch_norm(Conv(4 * self.width, 3, **plain)(y), train))
        for i in range(round(math.log2(4 * self.ratio))):
            x = doubled(x, [2 * side for side in x.shape[1:3]])
            x = act(Conv(max(2 * self.width // 2**i, 1), 3, **plain)(x))
        return jnp.tanh(Conv(small.shape[3], 3, kernel_init=normal)(x)), divergence


class D(nn.Module):
    """x [b, h, w, c], captions as vectors t [b, e] -> score [b].

    Convolutions halve pictures (rounded up) to at most 4 pixels and double the channels; more than 8 times `width` are
    narrowed again before the residual block. A layer of `text` units reads t and stands beside every place.
    """

    text: int = 128
    width: int = 64

    @nn.compact
    def __call__(self, x, t, train=True):
        n = len(levels(x.shape[1:], 1)[1])
        layers = [(self.width * 2**i, 4, 2) for i in range(n)]
        layers += [(self.width * 2**i, 1, 1) for i in range(n - 2, 2, -1)]
        for i, (channels, kernel, strides) in enumerate(layers):
            x = Conv(channels, kernel, strides, use_bias=i == 0, kernel_init=normal)(x)
            x = batch_norm(x, train) if i else x
            x = leaky(x) if i + 1 < len(layers) else x
        x = Residual(leaky)(x, train)
        t = leaky(nn.Dense(self.text, kernel_init=normal)(t))[:, None, None]
        both = jnp.concatenate([x, jnp.broadcast_to(t, (*x.shape[:3], self.text))], 3)
        x = leaky(batch_norm(Conv(x.shape[3], 1, **plain)(both), train))
        return nn.Dense(1, kernel_init=normal)(x.reshape(x.shape[0], -1))[:, 0]
