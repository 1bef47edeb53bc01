"""Residual nets without normalisation, in the manner of R3GAN (Huang et al. 2024, arXiv 2501.05441), at any size.

Each level halves the image, rounded up, until its larger side is at most 4, at least once, and has residual blocks:
1x1, grouped 3x3 and 1x1 convolution, twice as wide inside. The last one of a block begins at zero, the others are
scaled by (number of blocks)^(-1/4), which is fix-up initialisation. The finest level has `width` channels, each below
it twice as many, up to 4 * width. The paper's bilinear filter is [1, 2, 1]; here it is centred, so that any size can
be halved.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.nets.conv import conv
from gan_jax.nets.layers import leaky, levels


def he(scale=1.0):
    """Return the initialiser N(0, scale / inputs)."""
    return nn.initializers.variance_scaling(scale, "fan_in", "normal")


def pointwise(dense, x):
    """Return the 1x1 convolution [b, h, w, c] -> [b, h, w, features] as one product of two matrices.

    XLA first copies both sides of a product that sums over several axes, as its kernel's gradient would.
    """
    return dense(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


class GroupedConv(nn.Module):
    """The 3x3 convolution of `group` channels at a time: [b, h, w, c] -> [b, h, w, c]."""

    group: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x):
        c = x.shape[-1]
        groups = max(1, c // self.group)
        kernel = self.param("kernel", self.kernel_init, (3, 3, c // groups, c), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (c,), jnp.float32)
        parts = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
        return jnp.concatenate([conv(x, kernel) for x, kernel in parts], -1) + bias.reshape(1, 1, 1, -1)


class Block(nn.Module):
    """x + f(x), f = 0 at the start; `blocks`: how many the net has."""

    blocks: int
    group: int

    @nn.compact
    def __call__(self, x):
        init = he(2 / (1 + 0.2**2) * self.blocks**-0.5)  # of the variance: that which keeps leaky ReLU's
        y = leaky(pointwise(nn.Dense(2 * x.shape[-1], kernel_init=init), x))
        y = leaky(GroupedConv(self.group, init)(y))
        return x + pointwise(nn.Dense(x.shape[-1], use_bias=False, kernel_init=nn.initializers.zeros), y)


def _levels(shape, width):
    sizes, _ = levels(shape, width)
    return list(zip(sizes, [width * 2 ** min(i, 2) for i in range(len(sizes))], strict=True))


def _resized(x, size, channels):
    x = jax.image.resize(x, (x.shape[0], *size, x.shape[-1]), "linear")
    return x if x.shape[-1] == channels else pointwise(nn.Dense(channels, use_bias=False, kernel_init=he()), x)


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape], unbounded. `blocks`: a level; `group`: channels of a grouped convolution."""

    shape: tuple[int, int, int]
    width: int = 64
    blocks: int = 2
    group: int = 16

    @nn.compact
    def __call__(self, z, train=True):
        stages = _levels(self.shape, self.width)[::-1]
        size, c = stages[0]
        basis = self.param("basis", nn.initializers.normal(1.0), (*size, c), jnp.float32)
        x = basis[None] * nn.Dense(c, use_bias=False, kernel_init=he())(z)[:, None, None]
        for i, (size, c) in enumerate(stages):
            x = _resized(x, size, c) if i else x
            for _ in range(self.blocks):
                x = Block(self.blocks * len(stages), self.group)(x)
        return pointwise(nn.Dense(self.shape[-1], use_bias=False, kernel_init=he()), x)


class D(nn.Module):
    """x [b, h, w, c] -> score [b]: G's mirror image."""

    width: int = 64
    blocks: int = 2
    group: int = 16

    @nn.compact
    def __call__(self, x, train=True):
        stages = _levels(x.shape[1:], self.width)
        x = pointwise(nn.Dense(self.width, use_bias=False, kernel_init=he()), x)
        for i, (size, c) in enumerate(stages):
            x = _resized(x, size, c) if i else x
            for _ in range(self.blocks):
                x = Block(self.blocks * len(stages), self.group)(x)
        basis_init = nn.initializers.normal((x.shape[1] * x.shape[2]) ** -0.5)
        basis = self.param("basis", basis_init, x.shape[1:], jnp.float32)
        return nn.Dense(1, use_bias=False, kernel_init=he())((x * basis[None]).sum((1, 2)))[:, 0]
