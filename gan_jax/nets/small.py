"""The small nets of the 1000-mode experiment (Metz et al. 2017, arXiv 1611.02163), for images of any size.

G has 287,875 parameters for 28x28x3, D 585 at `width` 2 (a quarter of G's), 1,889 at 4 and 6,657 at 8, as in PacGAN's
re-creation (arXiv 1712.04086); these numbers count the biases before batch norm, which it cancels.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets import conv, narrow
from gan_jax.nets.layers import batch_norm, leaky, levels, minibatch_std, normal


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape] in [-1, 1]; `width`: channels at full resolution, twice as many a level down."""

    shape: tuple[int, int, int]
    width: int = 8

    @nn.compact
    def __call__(self, z, train=True):
        act = lambda x: nn.relu(batch_norm(x, train))
        sizes, channels = levels(self.shape, self.width)
        x = nn.Dense(math.prod(sizes[-1]) * 2 * channels[-1], kernel_init=normal)(z)
        x = act(x.reshape(-1, *sizes[-1], 2 * channels[-1]))
        for size, c in zip(sizes[-2::-1], channels[::-1], strict=True):
            x = act(conv.ConvTranspose(c, 3, 2, size=size, kernel_init=normal)(x))
        # At stride 1 this is a convolution with the mirrored kernel, in the form that suits fewer channels out than in.
        x = narrow.ConvTranspose(self.shape[-1], 3, 1, sizes[0], kernel_init=normal)(x.transpose(3, 1, 2, 0))
        return jnp.tanh(x).transpose(3, 1, 2, 0)


class Trunk(nn.Module):
    """x [b, h, w, c] -> features [b, n, m, f]; norm=False for critics."""

    width: int = 2
    norm: bool = True

    @nn.compact
    def __call__(self, x, train=True):
        x = x.transpose(3, 1, 2, 0)  # [c, h, w, b]
        for c in levels(x.shape[1:3], self.width)[1]:
            x = narrow.Conv(c, 3, 2, kernel_init=normal)(x)
            x = leaky(batch_norm(x, train, axis=0) if self.norm else x, 0.3)
        return x.transpose(3, 1, 2, 0)


class D(nn.Module):
    """x [b, h, w, c] -> score [b]; norm=False for critics; std: the last layer sees the batch's deviation too."""

    width: int = 2
    norm: bool = True
    std: bool = False

    @nn.compact
    def __call__(self, x, train=True):
        x = Trunk(self.width, self.norm)(x, train)
        x = minibatch_std(x) if self.std else x
        return nn.Dense(1, kernel_init=normal)(x.reshape(x.shape[0], -1))[:, 0]
