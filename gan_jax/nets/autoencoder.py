"""Autoencoders, for games in which D answers with a reconstruction: x -> (reconstruction of x, its code)."""

import flax.linen as nn

from gan_jax.nets import conv, dcgan, mlp


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
    """x [b, h, w, c] -> (reconstruction [b, h, w, c] in [-1, 1], code [b, code]): down as DCGAN's D, up as its G."""

    code: int
    width: int = 64
    norm: bool = True

    @nn.compact
    def __call__(self, x, train=True):
        h = x
        for i, c in enumerate(dcgan.levels(x.shape[1:], self.width)[1]):
            norm = self.norm and i > 0  # not on the data
            h = conv.Conv(c, 4, 2, use_bias=not norm, kernel_init=dcgan.init)(h)
            h = nn.leaky_relu(dcgan.batch_norm(h, train) if norm else h, 0.2)
        code = nn.Dense(self.code, kernel_init=dcgan.init)(h.reshape(h.shape[0], -1))
        return dcgan.G(x.shape[1:], self.width, self.norm)(code, train), code
