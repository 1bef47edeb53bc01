"""Convolutional nets in the manner of DCGAN (Radford et al. 2016, arXiv 1511.06434), for images of any size.

Each level halves the image, rounded up, until its larger side is at most 4 (28 -> 14 -> 7 -> 4), at least once. The
finest level has `width` channels, each one below twice as many, up to 8 * width. The paper's kernels are 5x5; here they
are 4x4, a multiple of the stride, so that a transposed convolution gives every pixel equally many terms.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose

init = nn.initializers.normal(0.02)


def levels(shape, width):
    """Return the sizes of the levels, the image's first, and the channels of all but the image's."""
    sizes = [tuple(shape[:2])]
    while len(sizes) == 1 or max(sizes[-1]) > 4:
        sizes.append(tuple(math.ceil(n / 2) for n in sizes[-1]))
    return sizes, [width * 2 ** min(i, 3) for i in range(len(sizes) - 1)]


def batch_norm(x, train):
    """Return x normalised over the batch, or by the running statistics where not `train`."""
    scale_init = lambda *args: 1 + init(*args)
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, scale_init=scale_init)(x)


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape] in [-1, 1]."""

    shape: tuple[int, int, int]
    width: int = 64
    norm: bool = True

    @nn.compact
    def __call__(self, z, train=True):
        sizes, channels = levels(self.shape, self.width)
        act = lambda x: nn.relu(batch_norm(x, train) if self.norm else x)
        x = nn.Dense(math.prod(sizes[-1]) * channels[-1], use_bias=not self.norm, kernel_init=init)(z)
        x = act(x.reshape(-1, *sizes[-1], channels[-1]))
        for size, c in zip(sizes[-2:0:-1], channels[-2::-1], strict=True):
            x = act(ConvTranspose(c, 4, 2, size=size, use_bias=not self.norm, kernel_init=init)(x))
        return jnp.tanh(ConvTranspose(self.shape[-1], 4, 2, size=sizes[0], kernel_init=init)(x))


def minibatch_std(x):
    """Return x [b, h, w, c] with one more channel: the deviation over the batch, on average (PGGAN, 1710.10196)."""
    spread = jnp.sqrt(x.var(0) + 1e-8).mean()
    return jnp.concatenate([x, jnp.broadcast_to(spread, (*x.shape[:3], 1))], 3)


class D(nn.Module):
    """x [b, h, w, c] -> score [b]; norm=False for critics whose score of one x must not depend on the others.

    spectral: each layer divided by its largest singular value (Miyato et al. 2018, arXiv 1802.05957), instead of norm.
    std: the last layer also sees how much the batch's features differ (Karras et al. 2018, arXiv 1710.10196).
    """

    width: int = 64
    norm: bool = True
    spectral: bool = False
    std: bool = False

    @nn.compact
    def __call__(self, x, train=True):
        def layer(module, x):
            return nn.SpectralNorm(module)(x, update_stats=train) if self.spectral else module(x)

        for i, c in enumerate(levels(x.shape[1:], self.width)[1]):
            norm = self.norm and not self.spectral and i > 0  # not on the data
            x = layer(Conv(c, 4, 2, use_bias=not norm, kernel_init=init), x)
            x = nn.leaky_relu(batch_norm(x, train) if norm else x, 0.2)
        x = minibatch_std(x) if self.std else x
        return layer(nn.Dense(1, kernel_init=init), x.reshape(x.shape[0], -1))[:, 0]
