"""The nets of GeneGAN (Zhou et al. 2017, arXiv 1705.04932), for images of any size, as the authors' code has them.

The splitter narrows images three times (the first layer has no norm), the joiner widens features again, D is four
levels deep. Pictures with and without the attribute go through them side by side: batch norm sees each kind alone, and
keeps statistics of each. `width` is a quarter of the authors' first layer, which has 128 channels.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import BatchNorm, leaky, normal

plain = {"use_bias": False, "kernel_init": normal}


class Norm(nn.Module):
    """Batches [b, h, w, c], each normalised by its own statistics; scale and bias are the same for all."""

    @nn.compact
    def __call__(self, batches, train):
        alone = {"momentum": 0.9, "epsilon": 1e-3, "use_scale": False, "use_bias": False}
        row = lambda name, init: self.param(name, init, (batches[0].shape[-1],), jnp.float32).reshape(1, 1, 1, -1)
        scale, bias = row("scale", nn.initializers.ones), row("bias", nn.initializers.zeros)
        normed = [BatchNorm(not train, name=f"of_{i}", **alone)(x) for i, x in enumerate(batches)]
        return [x * scale + bias for x in normed]


def narrowed(batches, channels, train):
    """Return the batches after a convolution of stride 2 for each of the channels; for compact modules."""
    for i, c in enumerate(channels):
        conv = Conv(c, 4, 2, **plain)
        batches = [conv(x) for x in batches]
        batches = [leaky(x) for x in (Norm()(batches, train) if i else batches)]
    return batches


class Splitter(nn.Module):
    """ax, be [b, h, w, c] -> (A, x), (B, e), features: 12 width that all have, 4 width that some have."""

    width: int = 32

    @nn.compact
    def __call__(self, ax, be, train=True):
        both = narrowed([ax, be], [4 * self.width, 8 * self.width, 16 * self.width], train)
        return [(f[..., : 12 * self.width], f[..., 12 * self.width :]) for f in both]


class Joiner(nn.Module):
    """A, B, x -> images [b, *shape] in [-1, 1] of (A, x), (B, 0), (B, x), (A, 0)."""

    shape: tuple[int, int, int]
    width: int = 32

    @nn.compact
    def __call__(self, a, b, x, train=True):
        nothing, (h, w, c) = jnp.zeros_like(x), self.shape
        batches = [jnp.concatenate(pair, 3) for pair in ((a, x), (b, nothing), (b, x), (a, nothing))]
        for part, channels in ((4, 16 * self.width), (2, 8 * self.width)):
            conv = ConvTranspose(channels, 4, 2, size=(-(-h // part), -(-w // part)), **plain)
            batches = [nn.relu(x) for x in Norm()([conv(x) for x in batches], train)]
        conv = ConvTranspose(c, 4, 2, size=(h, w), **plain)
        return [jnp.tanh(conv(x)) for x in batches]


class D(nn.Module):
    """x [b, h, w, c] -> scores [b]."""

    width: int = 32

    @nn.compact
    def __call__(self, x, train=True):
        (x,) = narrowed([x], [self.width * n for n in (4, 8, 16, 16)], train)
        return nn.Dense(1, kernel_init=normal)(x.reshape(x.shape[0], -1))[:, 0]
