"""Perceptrons that narrow to a code and widen again (Hinton and Salakhutdinov 2006, Science 313): E and G.

For 28x28 pixels, widths of 1000, 500 and 250 and a code of 30 numbers E and G have 2,837,314 weights together.
"""

import math

import flax.linen as nn


def _through(x, widths, logistic):
    for width in widths:
        x = nn.Dense(width, kernel_init=nn.initializers.glorot_uniform())(x)
        x = nn.sigmoid(x) if logistic else nn.relu(x)
    return x


class E(nn.Module):
    """x [b, ...] in [-1, 1] -> code [b, z], which is linear in the last hidden layer."""

    z_dim: int
    widths: tuple[int, ...] = (1000, 500, 250)
    logistic: bool = False  # hidden units; else rectifiers

    @nn.compact
    def __call__(self, x, train=True):
        x = _through((x.reshape(x.shape[0], -1) + 1) / 2, self.widths, self.logistic)
        return nn.Dense(self.z_dim)(x)


class G(nn.Module):
    """Code [b, z] -> logits [b, *shape] of pixels, through E's layers the other way round."""

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (1000, 500, 250)
    logistic: bool = False

    @nn.compact
    def __call__(self, z, train=True):
        x = _through(z, self.widths[::-1], self.logistic)
        return nn.Dense(math.prod(self.shape))(x).reshape(-1, *self.shape)
