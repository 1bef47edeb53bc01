"""E and G of plug and play generative networks (Nguyen et al. 2017, arXiv 1612.00005), for pictures of any size.

G is the authors' decoder of AlexNet's features fc6: with `width` 32, 4096 features and three `blocks` it has its layers
on 256x256 pictures. E, in the place of AlexNet, has a convolution of stride 2 for each of G's levels, and AlexNet's
three layers behind them. Neither is normalised. Levels are those of `layers.levels`.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import leaky, levels

he = nn.initializers.he_normal()


class E(nn.Module):
    """x [b, h, w, c] -> (maps [b, n, m, o] of the last convolution, h [b, features], logits [b, classes]).

    All but the logits are behind a ReLU, at least 0. Maps are the paper's pool5, h its fc6.
    """

    classes: int
    features: int = 4096
    width: int = 32

    @nn.compact
    def __call__(self, x, train=True):
        for channels in levels(x.shape[1:], self.width)[1]:
            x = nn.relu(Conv(channels, 4, 2, kernel_init=he)(x))
        h = nn.relu(nn.Dense(self.features, kernel_init=he)(x.reshape(x.shape[0], -1)))
        last = nn.relu(nn.Dense(self.features, kernel_init=he)(h))
        return x, h, nn.Dense(self.classes)(last)


class G(nn.Module):
    """h [b, features] -> x [b, *shape] in [-1, 1].

    blocks: after so many of the first transposed convolutions there is a convolution, too; of them the first doubles
    the channels.
    """

    shape: tuple[int, int, int]
    features: int = 4096
    width: int = 32
    blocks: int = 3

    @nn.compact
    def __call__(self, h, train=True):
        sizes, channels = levels(self.shape, self.width)
        act, plain = lambda x: leaky(x, 0.3), {"use_bias": False, "kernel_init": he}
        for units in (self.features, self.features, math.prod(sizes[-1]) * channels[-1]):
            h = act(nn.Dense(units, kernel_init=he)(h))
        x = h.reshape(-1, *sizes[-1], channels[-1])
        for i, (size, c) in enumerate(zip(sizes[-2:0:-1], channels[-2::-1], strict=True)):
            x = act(ConvTranspose(c, 4, 2, size=size, **plain)(x))
            if i < self.blocks:
                x = act(Conv(c if i else 2 * c, 3, **plain)(x))
        return jnp.tanh(ConvTranspose(self.shape[-1], 4, 2, size=sizes[0], use_bias=False)(x))
