"""Nets that turn images into images, in the manner of CycleGAN (Zhu et al. 2017, arXiv 1703.10593), for any size.

G narrows the image by strided convolutions, transforms it by residual blocks and widens it again: once where its larger
side is under 64, else twice. D scores overlapping patches: two strided convolutions (from 128 on, three), then one
score a place. Instance norm follows all layers but D's first and the last of both. Weights are drawn from N(0, 0.02),
padding is zero.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import instance_norm, leaky, normal

# What is normalised has no bias: it would have no gradient but rounding, and Adam would follow that.
normed = {"use_bias": False, "kernel_init": normal}


class G(nn.Module):
    """x [b, h, w, c] -> [b, *shape] in [-1, 1], the same height and width."""

    shape: tuple[int, int, int]
    width: int = 64
    blocks: int = 6

    @nn.compact
    def __call__(self, x, train=True):
        act = lambda x: nn.relu(instance_norm(x))
        x = act(Conv(self.width, 7, **normed)(x))
        sizes = []
        for i in range(1 if max(self.shape[:2]) < 64 else 2):
            sizes.append(x.shape[1:])
            x = act(Conv(self.width * 2 ** (i + 1), 3, 2, **normed)(x))
        for _ in range(self.blocks):
            y = act(Conv(x.shape[-1], 3, **normed)(x))
            x = x + instance_norm(Conv(x.shape[-1], 3, **normed)(y))
        for h, w, c in reversed(sizes):
            x = act(ConvTranspose(c, 4, 2, size=(h, w), **normed)(x))
        return jnp.tanh(Conv(self.shape[-1], 7, kernel_init=normal)(x))


class D(nn.Module):
    """x [b, h, w, c] -> the scores of its patches [b, patches]."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        for i in range(2 if max(x.shape[1:3]) < 128 else 3):
            x = Conv(self.width * 2**i, 4, 2, use_bias=i == 0, kernel_init=normal)(x)
            x = leaky(instance_norm(x) if i else x)
        return Conv(1, 4, kernel_init=normal)(x).reshape(x.shape[0], -1)
