"""Convolutional nets in the manner of DCGAN (Radford et al. 2016, arXiv 1511.06434), for images of any size.

Their levels are those of `layers.levels`. The paper's kernels are 5x5; here they are 4x4, a multiple of the stride, so
that a transposed convolution gives every pixel equally many terms.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, leaky, levels, normal


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape] in [-1, 1].

    units: each unit of the first layer is normalised by itself, and not each channel over all positions as in DCGAN:
    what all latents have in common is gone then, so that G can't but listen to what they differ in.
    """

    shape: tuple[int, int, int]
    width: int = 64
    norm: bool = True
    units: bool = False

    @nn.compact
    def __call__(self, z, train=True):
        sizes, channels = levels(self.shape, self.width)
        act = lambda x: nn.relu(batch_norm(x, train) if self.norm else x)
        x = nn.Dense(math.prod(sizes[-1]) * channels[-1], use_bias=not self.norm, kernel_init=normal)(z)
        planes = lambda x: x.reshape(-1, *sizes[-1], channels[-1])
        x = planes(act(x)) if self.units else act(planes(x))
        for size, c in zip(sizes[-2:0:-1], channels[-2::-1], strict=True):
            x = act(ConvTranspose(c, 4, 2, size=size, use_bias=not self.norm, kernel_init=normal)(x))
        return jnp.tanh(ConvTranspose(self.shape[-1], 4, 2, size=sizes[0], kernel_init=normal)(x))


class D(nn.Module):
    """x [b, h, w, c] -> score [b]; norm=False for critics whose score of one x must not depend on the others.

    spectral: each layer divided by its largest singular value (Miyato et al. 2018, arXiv 1802.05957), instead of norm.
    """

    width: int = 64
    norm: bool = True
    spectral: bool = False

    @nn.compact
    def __call__(self, x, train=True):
        def layer(module, x):
            return nn.SpectralNorm(module)(x, update_stats=train) if self.spectral else module(x)

        for i, c in enumerate(levels(x.shape[1:], self.width)[1]):
            norm = self.norm and not self.spectral and i > 0  # not on the data
            x = layer(Conv(c, 4, 2, use_bias=not norm, kernel_init=normal), x)
            x = leaky(batch_norm(x, train) if norm else x)
        return layer(nn.Dense(1, kernel_init=normal), x.reshape(x.shape[0], -1))[:, 0]
