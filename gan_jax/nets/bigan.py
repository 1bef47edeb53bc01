"""BiGAN's perceptrons (Donahue et al. 2017, arXiv 1605.09782): G, its inverse E, and a D of pairs (x, z).

Each has two hidden layers of `width` units, as the authors' code has them: z enters G at both, D at the second. For
images batch norm is on both of G, and on the second of E and of D.
"""

import functools
import math

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.layers import BatchNorm, leaky, normal

norm = functools.partial(BatchNorm, momentum=0.9, epsilon=1e-5, use_bias=False, use_scale=False)


def dense(width, images):
    """Return the layer; it has a bias for points alone. The initial deviation 0.02 suits images and batch norm."""
    return nn.Dense(width, not images, kernel_init=normal if images else nn.initializers.lecun_normal())


def normed(x, width, act, images, train):
    """Return a hidden layer on x [b, i]: [b, width], for images with batch norm that has no parameters."""
    x = dense(width, images)(x)
    return act(norm(use_running_average=not train)(x) if images else x)


def first(x, width):
    """Return the first hidden layer on x [b, ...]; images enter as [0, 1], mostly 0 for black."""
    images = x.ndim > 2
    return leaky(dense(width, images)((x.reshape(x.shape[0], -1) + 1) / 2 if images else x))


class G(nn.Module):
    """z [b, z] -> x [b, *shape]; images end in tanh."""

    shape: tuple[int, ...]
    width: int = 1024

    @nn.compact
    def __call__(self, z, train=True):
        images = len(self.shape) > 1
        h = normed(z, self.width, nn.relu, images, train)
        h = normed(jnp.concatenate([h, z], 1), self.width, nn.relu, images, train)
        x = dense(math.prod(self.shape), images)(h).reshape(-1, *self.shape)
        return jnp.tanh(x / 2) if images else x  # 2 sigmoid(x) - 1


class E(nn.Module):
    """x [b, ...], noise [b, z] -> (z [b, z], its mean or, without noise, what is squashed into (-1, 1)).

    stochastic: z = mean + deviation * noise, the deviation a function of x too.
    """

    z_dim: int
    width: int = 1024
    stochastic: bool = False

    @nn.compact
    def __call__(self, x, noise, train=True):
        images = x.ndim > 2
        h = normed(first(x, self.width), self.width, leaky, images, train)
        mean = dense(self.z_dim, images)(h)
        if self.stochastic:
            return mean + jnp.exp(dense(self.z_dim, images)(h) / 2) * noise, mean
        return jnp.tanh(mean / 2), mean


class D(nn.Module):
    """x [b, ...], z [b, z] -> score [b]; z enters at the second hidden layer, and the score begins as 0."""

    width: int = 1024

    @nn.compact
    def __call__(self, x, z, train=True):
        images = x.ndim > 2
        h = jnp.concatenate([first(x, self.width), z], 1)
        h = normed(h, self.width, leaky, images, train)
        return nn.Dense(1, not images, kernel_init=nn.initializers.zeros)(h)[:, 0]
