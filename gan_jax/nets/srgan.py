"""The nets of SRGAN (Ledig et al. 2017, arXiv 1609.04802): G, which is SRResNet, works on pictures of any size.

With 16 blocks of 64 channels G has 1,548,547 parameters. A convolution that batch norm follows has no bias, and PReLU
a slope for each channel, 0.25 at first. Weights are drawn evenly (Glorot and Bengio 2010), as Lasagne does, which the
authors used; the paper does not say.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import batch_norm, leaky

even = {"kernel_init": nn.initializers.glorot_uniform()}
plain = even | {"use_bias": False}


class PReLU(nn.Module):
    """x where it is positive, elsewhere x times a slope that is learnt for each channel."""

    @nn.compact
    def __call__(self, x):
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],), jnp.float32)
        return jnp.where(x > 0, x, slope.reshape((1,) * (x.ndim - 1) + (-1,)) * x)


def shuffled(x):
    """Return x [b, h, w, 4 c] as pictures twice as large [b, 2 h, 2 w, c]: four channels in a row become 2x2 pixels."""
    b, h, w, c = x.shape
    return x.reshape(b, h, w, c // 4, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(b, 2 * h, 2 * w, c // 4)


class G(nn.Module):
    """x [b, h, w, c] in [-1, 1], which the first layer sees in [0, 1] -> [b, 2^doublings h, 2^doublings w, c]."""

    doublings: int = 2
    blocks: int = 16
    width: int = 64
    residual: bool = False  # what the layers make is added to the bicubic enlargement of x, and is 0 at first

    @nn.compact
    def __call__(self, x, train=True):
        small, channels, norm = x, x.shape[-1], lambda x: batch_norm(x, train)
        first = x = PReLU()(Conv(self.width, 9, **even)((x + 1) / 2))
        for _ in range(self.blocks):
            y = PReLU()(norm(Conv(self.width, 3, **plain)(x)))
            x = x + norm(Conv(self.width, 3, **plain)(y))
        x = first + norm(Conv(self.width, 3, **plain)(x))
        for _ in range(self.doublings):
            x = PReLU()(shuffled(Conv(4 * self.width, 3, **even)(x)))
        if not self.residual:
            return Conv(channels, 9, **even)(x)
        x = Conv(channels, 9, kernel_init=nn.initializers.zeros)(x)
        return x + jax.image.resize(small, x.shape, "bicubic")


class D(nn.Module):
    """x [b, h, w, c] -> logits [b]; each level is two convolutions, the second one halves the picture."""

    levels: int = 4
    width: int = 64  # channels of the first level; the next have twice as many, up to 8 times

    @nn.compact
    def __call__(self, x, train=True):
        for i in range(self.levels):
            c = self.width * 2 ** min(i, 3)
            x = leaky(batch_norm(Conv(c, 3, **plain)(x), train) if i else Conv(c, 3, **even)(x))
            x = leaky(batch_norm(Conv(c, 3, 2, 1, **plain)(x), train))
        x = leaky(nn.Dense(16 * self.width, **even)(x.reshape(x.shape[0], -1)))
        return nn.Dense(1, **even)(x)[:, 0]
