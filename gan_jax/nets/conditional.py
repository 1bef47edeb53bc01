"""Nets that are told a label y [b], for images of any size and for points: a G, and three kinds of D.

Every D is x [b, ...], y [b] -> (score [b], log P(y | x) [b]); the second is 0 where D is no classifier. Its trunk is
DCGAN's on images, with `width` channels at half resolution, and two dense layers of `width` units on points.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import batch_norm, leaky, levels, normal


class G(nn.Module):
    """z [b, z], y [b] -> what `net` makes of z with y as one-hot columns beside it, or y [b, classes] as it is."""

    net: nn.Module
    classes: int

    @nn.compact
    def __call__(self, z, y, train=True):
        y = jax.nn.one_hot(y, self.classes, dtype=z.dtype) if y.ndim == 1 else y
        return self.net(jnp.concatenate([z, y], 1), train)


def trunk(x, width, train):
    """Return the features [b, f] of x, and the initialiser of the layer after them."""
    if x.ndim == 2:
        for _ in range(2):
            x = leaky(nn.Dense(width)(x))
        return x, nn.initializers.lecun_normal()
    for i, c in enumerate(levels(x.shape[1:], width)[1]):
        x = Conv(c, 4, 2, use_bias=i == 0, kernel_init=normal)(x)
        x = leaky(batch_norm(x, train) if i > 0 else x)
    return x.reshape(x.shape[0], -1), normal


class Concat(nn.Module):
    """Mirza and Osindero 2014: y is part of the input, one-hot, as numbers of a point or channels of an image."""

    classes: int
    width: int = 64

    @nn.compact
    def __call__(self, x, y, train=True):
        label = jax.nn.one_hot(y, self.classes, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 2), self.classes)
        x = jnp.concatenate([x, jnp.broadcast_to(label, (*x.shape[:-1], self.classes))], -1)
        h, kernel_init = trunk(x, self.width, train)
        score = nn.Dense(1, kernel_init=kernel_init)(h)[:, 0]
        return score, jnp.zeros_like(score)


class Projection(nn.Module):
    """Miyato and Koyama 2018: the score has one more term, the product of the features with a vector for y."""

    classes: int
    width: int = 64

    @nn.compact
    def __call__(self, x, y, train=True):
        h, kernel_init = trunk(x, self.width, train)
        of_y = nn.Embed(self.classes, h.shape[1], embedding_init=kernel_init)(y)
        score = nn.Dense(1, kernel_init=kernel_init)(h)[:, 0] + jnp.sum(of_y * h, 1)
        return score, jnp.zeros_like(score)


class Classifier(nn.Module):
    """Odena, Olah and Shlens 2017: D is not told y, but has a second head that says it."""

    classes: int
    width: int = 64

    @nn.compact
    def __call__(self, x, y, train=True):
        h, kernel_init = trunk(x, self.width, train)
        log_p = jax.nn.log_softmax(nn.Dense(self.classes, kernel_init=kernel_init)(h))
        score = nn.Dense(1, kernel_init=kernel_init)(h)[:, 0]
        return score, jnp.sum(log_p * jax.nn.one_hot(y, self.classes, dtype=log_p.dtype), 1)


D = {"concat": Concat, "projection": Projection, "acgan": Classifier}
