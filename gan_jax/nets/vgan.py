"""The nets of VGAN (Vondrick et al. 2016, arXiv 1609.02612), for clips of any size: two streams and a mask.

Each level halves a clip, in time too, until its sides are at most 4: of 32 frames of 64x64 those have 64, 128, 256 and
512 channels in the paper. Layers that are normalised have no bias, which batch norm would take out again.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.gan3d import levels
from gan_jax.nets.layers import BatchNorm, batch_norm, leaky
from gan_jax.nets.layers import normal as of_scales

small = nn.initializers.normal(0.01)  # of kernels, as the authors have them


class Clip(NamedTuple):
    """A clip and what it is made of: x = mask * foreground + (1 - mask) * background."""

    x: jax.Array  # [b, t, h, w, c] in [-1, 1]
    foreground: jax.Array  # [b, t, h, w, c]
    mask: jax.Array  # [b, t, h, w, 1] in [0, 1]
    background: jax.Array  # [b, 1, h, w, c]: it is still


class Stream(nn.Module):
    """Latent [b, z] -> features [b, *half of the size, channels]; sizes: those of its levels, the largest first."""

    sizes: tuple
    channels: tuple

    @nn.compact
    def __call__(self, z, train):
        up = lambda c, *of, **size: ConvTranspose(c, *of, use_bias=False, kernel_init=small, **size)
        z = jnp.expand_dims(z, tuple(range(1, len(self.sizes[0]) + 1)))  # [b, 1, ..., z]
        x = nn.relu(batch_norm(up(self.channels[-1], self.sizes[-1], 1, "VALID")(z), train))
        for size, c in zip(self.sizes[-2:0:-1], self.channels[-2::-1], strict=True):
            x = nn.relu(batch_norm(up(c, 4, 2, size=size)(x), train))
        return x


class G(nn.Module):
    """Latent [b, z] -> a `Clip` of `shape` (t, h, w, c); `width`: channels at half of the resolution."""

    shape: tuple[int, int, int, int]
    width: int = 64

    @nn.compact
    def __call__(self, z, train=True):
        sizes, channels = (tuple(of) for of in levels(self.shape, self.width))
        flat = tuple(size[1:] for size in sizes)
        moving = Stream(sizes, channels, name="moving")(z, train)
        still = Stream(flat, channels, name="still")(z, train)
        last = lambda c, size, name: ConvTranspose(c, 4, 2, size=size, kernel_init=small, name=name)
        foreground = jnp.tanh(last(self.shape[3], sizes[0], "foreground")(moving))
        mask = nn.sigmoid(last(1, sizes[0], "mask")(moving))
        background = jnp.tanh(last(self.shape[3], flat[0], "background")(still))[:, None]
        return Clip(mask * foreground + (1 - mask) * background, foreground, mask, background)


class D(nn.Module):
    """x [b, t, h, w, c] -> score [b]: of two logits, how much more it is real than made."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        for i, c in enumerate(levels(x.shape[1:], self.width)[1]):
            x = Conv(c, 4, 2, use_bias=i == 0, kernel_init=small)(x)
            if i:
                scale_init = lambda *args: 1 + of_scales(*args)
                x = BatchNorm(not train, momentum=0.9, epsilon=1e-3, scale_init=scale_init)(x)
            x = leaky(x)
        logits = Conv(2, x.shape[1:4], 1, "VALID", kernel_init=small)(x)[:, 0, 0, 0]  # [b, (real, made)]
        return logits[:, 0] - logits[:, 1]
