"""DCGAN's nets with what "How to train a GAN" (github.com/soumith/ganhacks) says of nets, each to be left out.

Kernels are 4x4, as in `dcgan`; images are halved until they have 2 pixels a side, so that small ones, too, have two
levels and D a batch norm.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.game import rng
from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.improved import MinibatchDiscrimination
from gan_jax.nets.layers import batch_norm, dropout, leaky, normal


def levels(shape, width):
    """Return the sizes of an image's levels, its own first, and the channels of all but its own, as `layers.levels`."""
    sizes = [tuple(shape[:2])]
    while len(sizes) == 1 or max(sizes[-1]) > 2:
        sizes.append(tuple(math.ceil(n / 2) for n in sizes[-1]))
    return sizes, [width * 2 ** min(i, 3) for i in range(len(sizes) - 1)]


def largest(x):
    """Return of x [b, h, w, c] the largest of each 2x2 pixels: half as large, rounded up."""
    _, h, w, _ = x.shape
    x = jnp.pad(x, [(0, 0), (0, h % 2), (0, w % 2), (0, 0)], mode="edge")
    x = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(x[:, :, ::2], x[:, :, 1::2])


class G(nn.Module):
    """(latent [b, z], key) -> x [b, *shape], in [-1, 1] where it ends in tanh.

    noise: the deviation of what is added to each hidden layer. dropped: the share of a hidden layer that is set to 0.
    Both belong to G: they are there in training and afterwards, as functions of the key.
    """

    shape: tuple[int, int, int]
    width: int = 32
    tanh: bool = True
    leaky: bool = True  # leaky ReLU; without: ReLU
    noise: float = 0.0
    dropped: float = 0.0

    @nn.compact
    def __call__(self, z, key, train=True):
        sizes, channels = levels(self.shape, self.width)

        def act(i, x):
            x = (leaky if self.leaky else nn.relu)(batch_norm(x, train))
            x = (
                x + self.noise * rng.normal(jax.random.fold_in(key, 2 * i), x.shape).astype(x.dtype)
                if self.noise
                else x
            )
            return dropout(jax.random.fold_in(key, 2 * i + 1), x, self.dropped) if self.dropped else x

        x = nn.Dense(math.prod(sizes[-1]) * channels[-1], use_bias=False, kernel_init=normal)(z)
        x = act(0, x.reshape(-1, *sizes[-1], channels[-1]))
        for i, (size, c) in enumerate(zip(sizes[-2:0:-1], channels[-2::-1], strict=True), 1):
            x = act(i, ConvTranspose(c, 4, 2, size=size, use_bias=False, kernel_init=normal)(x))
        x = ConvTranspose(self.shape[-1], 4, 2, size=sizes[0], kernel_init=normal)(x)
        return jnp.tanh(x) if self.tanh else x


class D(nn.Module):
    """x [b, h, w, c] -> [b, 1 + classes]: the score, and logits of classes; batch norm, but not on the data.

    leaky: strided convolutions and leaky ReLU; without: stride 1, then the largest of 2x2 pixels, and ReLU. kernels: of
    minibatch discrimination, by which each row sees the others; 0: none.
    """

    width: int = 32
    leaky: bool = True
    classes: int = 0
    kernels: int = 0

    @nn.compact
    def __call__(self, x, train=True):
        for i, c in enumerate(levels(x.shape[1:], self.width)[1]):
            x = Conv(c, 4, 2 if self.leaky else 1, use_bias=i == 0, kernel_init=normal)(x)
            x = x if self.leaky else largest(x)
            x = batch_norm(x, train) if i > 0 else x
            x = leaky(x) if self.leaky else nn.relu(x)
        x = x.reshape(x.shape[0], -1)
        x = MinibatchDiscrimination(self.kernels)(x) if self.kernels else x
        return nn.Dense(1 + self.classes, kernel_init=normal)(x)
