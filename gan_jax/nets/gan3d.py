"""The nets of 3D-GAN and 3D-VAE-GAN (Wu, Zhang et al. 2016, arXiv 1610.07584), for solids and pictures of any size.

Each level halves a solid until its sides are at most 4: 64, 32, 16, 8 and 4 with 64, 128, 256 and 512 channels in the
paper. No layer is dense, and none has a bias, but for the last one of a G with `filled` and those of SpreadD; solids
are -1 and 1 outside of the nets, 0 and 1 within.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, leaky, minibatch_std, normal
from gan_jax.nets.layers import levels as of_image


def levels(shape, width):
    """Return the sizes (d, h, w) of a solid's levels, its own first, and the channels of all but its own."""
    sides, channels = of_image((max(shape[:3]),) * 2, width)
    return [tuple(-(-n // 2**i) for n in shape[:3]) for i in range(len(sides))], channels


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape] in [-1, 1], shape (d, h, w, c); `width`: channels at half of the resolution.

    With `filled` the last layer has a bias, which begins where that share of voxels is full.
    """

    shape: tuple[int, int, int, int]
    width: int = 64
    filled: float = 0.0

    @nn.compact
    def __call__(self, z, train=True):
        sizes, channels = levels(self.shape, self.width)
        up = lambda c, *of, **size: ConvTranspose(c, *of, use_bias=False, kernel_init=normal, **size)
        x = up(channels[-1], sizes[-1], 1, "VALID")(z[:, None, None, None])
        for size, c in zip(sizes[-2::-1], (*channels[-2::-1], self.shape[3]), strict=True):
            x = up(c, 4, 2, size=size)(nn.relu(batch_norm(x, train)))
        if self.filled:
            share = min(self.filled, 1 - 1e-6)  # of 1 the bias would be infinite
            begin = nn.initializers.constant(math.log(share / (1 - share)))
            x += self.param("bias", begin, (1, 1, 1, 1, self.shape[3]), jnp.float32)
        return jnp.tanh(x / 2)  # 2 sigmoid(x) - 1


class D(nn.Module):
    """x [b, d, h, w, c] -> score [b]: G mirrored."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        x = (x + 1) / 2
        down = lambda c, *of: Conv(c, *of, use_bias=False, kernel_init=normal)
        for c in levels(x.shape[1:], self.width)[1]:
            x = leaky(batch_norm(down(c, 4, 2)(x), train))
        return down(1, x.shape[1:4], 1, "VALID")(x)[:, 0, 0, 0, 0]


class SpreadD(nn.Module):
    """x [b, d, h, w, c] -> score [b]: as D, with biases instead of batch norm, which sees how a batch differs.

    The deviation over the batch is one more channel of the least cube, for one more convolution.
    """

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        x = (x + 1) / 2
        down = lambda c, *of, **name: Conv(c, *of, kernel_init=nn.initializers.he_normal(), **name)
        for i, c in enumerate(levels(x.shape[1:], self.width)[1]):
            x = leaky(down(c, 4, 2, name=f"level_{i}")(x))
        x = leaky(down(x.shape[-1], 3, 1)(minibatch_std(x)))
        return down(1, x.shape[1:4], 1, "VALID")(x)[:, 0, 0, 0, 0]


class E(nn.Module):
    """Picture [b, h, w, c] -> mean [b, z] and log variance [b, z] of the code.

    A convolution of 11x11 with `stride`, some of 5x5 that halve it to sides of at most 8, one over all that is left. Of
    256x256 pixels with a stride of 4 they are the paper's five, of 64, 128, 256, 512 and 2 z channels.
    """

    z_dim: int = 200
    width: int = 64
    stride: int = 4

    @nn.compact
    def __call__(self, x, train=True):
        down = lambda c, *of: Conv(c, *of, use_bias=False, kernel_init=normal)
        x, c = down(self.width, 11, self.stride)(x), self.width
        x = nn.relu(batch_norm(x, train))
        while max(x.shape[1:3]) > 8:
            c = min(2 * c, 8 * self.width)
            x = nn.relu(batch_norm(down(c, 5, 2)(x), train))
        return jnp.split(down(2 * self.z_dim, x.shape[1:3], 1, "VALID")(x)[:, 0, 0], 2, 1)
