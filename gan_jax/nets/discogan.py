"""DiscoGAN's nets (Kim et al. 2017, arXiv 1703.05192), as the authors' code has them for objects that turn.

G narrows a picture by strided convolutions to one place of `code` numbers, and widens it again: nothing of it goes past
that place. D has the same convolutions, and one score. With width 64 they are the published ones at 64x64, but for the
norm, which is over each picture alone; one place has none.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import instance_norm, leaky, levels, normal

plain = {"use_bias": False, "kernel_init": normal}


def narrowed(x, width):
    """Return x [b, h, w, c] through convolutions that halve it, at most 4x4; for compact modules."""
    for i, channels in enumerate(levels(x.shape[1:], width)[1]):
        x = Conv(channels, 4, 2, **plain)(x)
        x = leaky(instance_norm(x) if i else x)
    return x


class G(nn.Module):
    """x [b, h, w, c] -> [b, *shape] in [-1, 1], the same height and width."""

    shape: tuple[int, int, int]
    width: int = 64
    code: int = 100

    @nn.compact
    def __call__(self, x, train=True):
        sizes, channels = levels(self.shape, self.width)
        act = lambda x: nn.relu(instance_norm(x))
        x = leaky(Conv(self.code, sizes[-1], padding="VALID", **plain)(narrowed(x, self.width)))
        x = act(ConvTranspose(channels[-1], sizes[-1], padding="VALID", **plain)(x))
        for size, c in zip(sizes[-2:0:-1], channels[-2::-1], strict=True):
            x = act(ConvTranspose(c, 4, 2, size=size, **plain)(x))
        return jnp.tanh(ConvTranspose(self.shape[-1], 4, 2, size=sizes[0], **plain)(x))


class D(nn.Module):
    """x [b, h, w, c] -> score [b] of the whole picture."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        x = narrowed(x, self.width)
        return Conv(1, x.shape[1:3], padding="VALID", **plain)(x).reshape(-1)
