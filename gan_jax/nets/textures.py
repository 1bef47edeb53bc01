"""The nets of Markovian GANs (Li and Wand 2016, arXiv 1604.04382), for pictures of any size that 8 divides.

D scores patches of what a frozen net sees of pictures (`metrics.frozen`). G decodes maps of noise, or what such a net
sees of photographs, to pictures eight times as large. No convolution has a bias: the authors' code sets them to 0.
"""

import flax.linen as nn

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, leaky, normal

plain = {"use_bias": False, "kernel_init": normal}


class G(nn.Module):
    """z [b, n, m, c] -> pictures [b, 8 n, 8 m, channels] in [-1, 1]."""

    channels: int
    width: int = 64  # an eighth of the channels of the first layer

    @nn.compact
    def __call__(self, z, train=True):
        x = nn.relu(batch_norm(ConvTranspose(8 * self.width, 3, 1, 1, **plain)(z), train))
        for c in (4, 2):
            x = nn.relu(batch_norm(ConvTranspose(c * self.width, 4, 2, 1, **plain)(x), train))
        return nn.tanh(ConvTranspose(self.channels, 4, 2, 1, **plain)(x))


class D(nn.Module):
    """What is seen of pictures [b, n, m, c] -> the scores of its patches [b, n / 4, m / 4]."""

    width: int = 64  # a quarter of the channels of the first layer

    @nn.compact
    def __call__(self, x, train=True):
        for c in (4, 8):
            x = leaky(batch_norm(Conv(c * self.width, 4, 2, 1, **plain)(x), train))
        return Conv(1, 1, **plain)(x)[..., 0]


def inside(a, border):
    """Return what is given for patches [b, n, m] without those at the border, so many at each side."""
    return a[:, border : a.shape[1] - border, border : a.shape[2] - border]


def variation(x):
    """Return the total variation [b] of pictures x [b, h, w, c]: half the sum of the squared differences of neighbours.

    Those to the right and below, of all pixels but the last row and column, as in the authors' code.
    """
    corner = x[:, :-1, :-1]
    return ((x[:, 1:, :-1] - corner) ** 2 + (x[:, :-1, 1:] - corner) ** 2).sum((1, 2, 3)) / 2
