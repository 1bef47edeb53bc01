"""The nets of boundary-seeking GANs for small pictures of bits (Hjelm et al. 2018, arXiv 1702.08431).

Those of the authors' code for 28x28 (rdevon/BGAN at c560ba0: models/dcgan_28_pub.py), for any size: both halve or
double a picture twice, by kernels of 5x5, and have one hidden layer of their own; D does not normalise.
"""

import math

import flax.linen as nn

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, leaky

xavier = nn.initializers.xavier_uniform()


class G(nn.Module):
    """Latent [b, z] -> logits [b, *shape] of pixels being white."""

    shape: tuple[int, int, int]
    width: int = 64
    hidden: int = 1024

    @nn.compact
    def __call__(self, z, train=True):
        h, w, c = self.shape
        half, quarter = ((math.ceil(h / n), math.ceil(w / n)) for n in (2, 4))
        act = lambda x: nn.relu(batch_norm(x, train))
        x = act(nn.Dense(self.hidden, use_bias=False, kernel_init=xavier)(z))
        x = act(nn.Dense(math.prod(quarter) * 2 * self.width, use_bias=False, kernel_init=xavier)(x))
        x = x.reshape(-1, *quarter, 2 * self.width)
        x = act(ConvTranspose(self.width, 5, 2, size=half, use_bias=False, kernel_init=xavier)(x))
        return ConvTranspose(c, 5, 2, size=(h, w), kernel_init=xavier)(x)


class D(nn.Module):
    """x [b, h, w, c] -> score [b]."""

    width: int = 64
    hidden: int = 1024

    @nn.compact
    def __call__(self, x, train=True):
        for features in (self.width, 2 * self.width):
            x = leaky(Conv(features, 5, 2, kernel_init=xavier)(x))
        x = leaky(nn.Dense(self.hidden, kernel_init=xavier)(x.reshape(x.shape[0], -1)))
        return nn.Dense(1, kernel_init=xavier)(x)[:, 0]
