"""The nets of Reed et al. 2016 (arXiv 1605.05396) as in their code, for pictures of any size: G, D, and the style's S.

Levels are those of `layers.levels`; 64x64 at `width` 128 (G) and 64 (D) is as published. Convolutions have no bias: the
code sets it to 0 before every update.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, leaky, levels, normal

plain = {"use_bias": False, "kernel_init": normal}


class Residual(nn.Module):
    """x [b, h, w, c] -> the same shape: three convolutions, a quarter as wide inside, are added to it."""

    act: Callable

    @nn.compact
    def __call__(self, x, train):
        c = x.shape[-1]
        y = self.act(batch_norm(Conv(max(c // 4, 1), 1, **plain)(x), train))
        y = self.act(batch_norm(Conv(max(c // 4, 1), 3, **plain)(y), train))
        return self.act(x + batch_norm(Conv(c, 3, **plain)(y), train))


class G(nn.Module):
    """Latents z [b, z], captions as vectors t [b, e] -> x [b, *shape] in [-1, 1].

    Both are joined once a layer of `text` units has read t; the two coarsest levels have a residual block each.
    """

    shape: tuple[int, int, int]
    text: int = 128
    width: int = 128

    @nn.compact
    def __call__(self, z, t, train=True):
        sizes, channels = levels(self.shape, self.width)
        x = jnp.concatenate([z, leaky(nn.Dense(self.text)(t))], 1)
        x = nn.Dense(math.prod(sizes[-1]) * channels[-1], **plain)(x).reshape(-1, *sizes[-1], channels[-1])
        x = Residual(nn.relu)(batch_norm(x, train), train)
        for i, (size, c) in enumerate(zip(sizes[-2:0:-1], channels[-2::-1], strict=True)):
            x = batch_norm(ConvTranspose(c, 4, 2, size=size, **plain)(x), train)
            x = nn.relu(x) if i else Residual(nn.relu)(x, train)
        return jnp.tanh(ConvTranspose(self.shape[-1], 4, 2, size=sizes[0], **plain)(x))


class Trunk(nn.Module):
    """x [b, h, w, c] -> features [b, n, m, f]; residual: with such a block in the place of the last leaky ReLU."""

    width: int
    residual: bool = False

    @nn.compact
    def __call__(self, x, train=True):
        channels = levels(x.shape[1:], self.width)[1]
        for i, c in enumerate(channels):
            x = Conv(c, 4, 2, **plain)(x)
            x = batch_norm(x, train) if i else x
            if i + 1 < len(channels) or not self.residual:
                x = leaky(x)
        return Residual(leaky)(x, train) if self.residual else x


class D(nn.Module):
    """x [b, h, w, c], captions as vectors t [b, e] -> score [b].

    A layer of `text` units reads t, normalised or not; it stands beside every place of the last features.
    """

    text: int = 128
    width: int = 64
    residual: bool = False
    norm: bool = True

    @nn.compact
    def __call__(self, x, t, train=True):
        x = Trunk(self.width, self.residual)(x, train)
        t = nn.Dense(self.text, use_bias=not self.norm)(t)
        t = leaky(batch_norm(t, train) if self.norm else t)[:, None, None]
        both = jnp.concatenate([x, jnp.broadcast_to(t, (*x.shape[:3], self.text))], 3)
        x = leaky(batch_norm(Conv(x.shape[3], 1, **plain)(both), train))
        return nn.Dense(1, **plain)(x.reshape(x.shape[0], -1))[:, 0]


class S(nn.Module):
    """x [b, h, w, c] -> its style, the latent [b, z] that G may have drawn it from."""

    z_dim: int
    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        x = Trunk(self.width)(x, train)
        return nn.Dense(self.z_dim, kernel_init=normal)(x.reshape(x.shape[0], -1))
