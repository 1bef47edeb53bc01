"""Nets that turn images into images, in the manner of CycleGAN (Zhu et al. 2017, arXiv 1703.10593), for any size.

G narrows the image by strided convolutions, transforms it by residual blocks and widens it again. Images from 64 on are
narrowed twice, and what has no stride reflects at the border, as published; smaller ones are narrowed once, with zeros
around. D scores overlapping patches: three strided convolutions and one without stride from 128 on, the published
70x70, else two strided ones; then one score a place. Instance norm follows all layers but D's first and the last of
both. Weights are drawn from N(0, 0.02).
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import instance_norm, leaky, normal

# What is normalised has no bias: it would have no gradient but rounding, and Adam would follow that.
normed = {"use_bias": False, "kernel_init": normal}


def reflected(x, reach):
    """Return x [b, h, w, c] with its mirror image, so many pixels of it, around."""
    return jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), "reflect")


class G(nn.Module):
    """x [b, h, w, c] -> [b, *shape] in [-1, 1], the same height and width."""

    shape: tuple[int, int, int]
    width: int = 64
    blocks: int = 6

    @nn.compact
    def __call__(self, x, train=True):
        large = max(self.shape[:2]) >= 64

        def conv(channels, kernel, x, **of):
            if large:
                return Conv(channels, kernel, padding="VALID", **of)(reflected(x, kernel // 2))
            return Conv(channels, kernel, **of)(x)

        act = lambda x: nn.relu(instance_norm(x))
        x = act(conv(self.width, 7, x, **normed))
        sizes = []
        for i in range(1 + large):
            sizes.append(x.shape[1:])
            x = act(Conv(self.width * 2 ** (i + 1), 3, 2, **normed)(x))
        for _ in range(self.blocks):
            y = act(conv(x.shape[-1], 3, x, **normed))
            x = x + instance_norm(conv(x.shape[-1], 3, y, **normed))
        for h, w, c in reversed(sizes):
            x = act(ConvTranspose(c, 3 if large else 4, 2, size=(h, w), **normed)(x))
        return jnp.tanh(conv(self.shape[-1], 7, x, kernel_init=normal))


class D(nn.Module):
    """x [b, h, w, c] -> the scores of its patches [b, patches]."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        for i, stride in enumerate((2, 2) if max(x.shape[1:3]) < 128 else (2, 2, 2, 1)):
            x = Conv(self.width * 2**i, 4, stride, use_bias=i == 0, kernel_init=normal)(x)
            x = leaky(instance_norm(x) if i else x)
        return Conv(1, 4, kernel_init=normal)(x).reshape(x.shape[0], -1)
