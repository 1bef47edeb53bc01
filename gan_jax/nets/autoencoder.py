"""Autoencoders, for games in which D answers with a reconstruction: x -> (reconstruction of x, its code).

DCGAN's small initial weights would let nothing through without batch norm: the nets without it have ELUs, as BEGAN's
(Berthelot et al. 2017, arXiv 1703.10717), and initial weights that are scaled by the number of inputs.
"""

import math

import flax.linen as nn

from gan_jax.nets import conv, dcgan, layers, mlp


class MLP(nn.Module):
    """x [b, ...] -> (reconstruction [b, ...], code [b, code]); that of images ends in tanh."""

    code: int
    width: int = 128
    depth: int = 2

    @nn.compact
    def __call__(self, x, train=True):
        code = mlp.MLP(self.code, self.width, self.depth)(x)
        return mlp.G(x.shape[1:], self.width, self.depth)(code), code


class Conv(nn.Module):
    """x [b, h, w, c] -> (reconstruction [b, h, w, c] in [-1, 1], code [b, code]): down as DCGAN's D, up as its G.

    norm=False: no batch norm, and up as `Decoder`, whose output is unbounded.
    """

    code: int
    width: int = 64
    norm: bool = True

    @nn.compact
    def __call__(self, x, train=True):
        kernel_init = layers.normal if self.norm else nn.initializers.lecun_normal()
        h = x
        for i, c in enumerate(layers.levels(x.shape[1:], self.width)[1]):
            norm = self.norm and i > 0  # not on the data
            h = conv.Conv(c, 4, 2, use_bias=not norm, kernel_init=kernel_init)(h)
            h = layers.batch_norm(h, train) if norm else h
            h = layers.leaky(h) if self.norm else nn.elu(h)
        code = nn.Dense(self.code, kernel_init=kernel_init)(h.reshape(h.shape[0], -1))
        decoder = dcgan.G(x.shape[1:], self.width) if self.norm else Decoder(x.shape[1:], self.width)
        return decoder(code, train), code


class Decoder(nn.Module):
    """Code or latent [b, z] -> x [b, *shape], unbounded: black images stay black where tanh is near -1 or 1."""

    shape: tuple[int, int, int]
    width: int = 64

    @nn.compact
    def __call__(self, z, train=True):
        sizes, channels = layers.levels(self.shape, self.width)
        up = nn.initializers.variance_scaling(4, "fan_in", "truncated_normal")  # a pixel sees a quarter of the kernel
        x = nn.Dense(math.prod(sizes[-1]) * channels[-1])(z).reshape(-1, *sizes[-1], channels[-1])
        for size, c in zip(sizes[-2:0:-1], channels[-2::-1], strict=True):
            x = conv.ConvTranspose(c, 4, 2, size=size, kernel_init=up)(nn.elu(x))
        return conv.ConvTranspose(self.shape[-1], 4, 2, size=sizes[0], kernel_init=up)(nn.elu(x))
