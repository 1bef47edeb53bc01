"""The nets of the residual CPPN GAN (hardmaru 2016, blog.otoro.net, part two of large images from latent vectors).

G is a perceptron of one pixel: it sees the pixel's place and a latent, and so its parameters draw pictures of any size.
Features come first and pixels last in it, [width, b * pixels]: few units then fill the vector registers. E is a
perceptron, D has three convolutions. All three count in [0, 1], and see or make pictures in [-1, 1].
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.game import rng
from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import batch_norm, dropout, leaky, normal


def places(h, w, scale):
    """Return x, y and the distance from the middle of all pixels, [3, h * w], row by row; x and y end at `scale`."""
    y, x = np.meshgrid(np.linspace(-scale, scale, h), np.linspace(-scale, scale, w), indexing="ij")
    return np.stack([x, y, np.hypot(x, y)]).reshape(3, -1)


class Layer(nn.Module):
    """x [i, ...] -> [width, ...]: a linear layer whose weights and biases have this deviation at first."""

    width: int
    deviation: float = 0.05
    use_bias: bool = True

    @nn.compact
    def __call__(self, x):
        init = nn.initializers.normal(self.deviation)
        y = jnp.tensordot(self.param("kernel", init, (x.shape[0], self.width), jnp.float32), x, (0, 0))
        if self.use_bias:
            y += self.param("bias", init, (self.width,), jnp.float32).reshape(-1, *[1] * (y.ndim - 1))
        return y


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape] in [-1, 1]; the parameters depend on the channels alone, not on the size."""

    shape: tuple[int, int, int]
    width: int = 6
    depth: int = 24
    layers: int = 4
    scale: float = 8.0

    @nn.compact
    def __call__(self, z, train=True):
        h, w, c = self.shape
        at = jnp.asarray(places(h, w, self.scale), z.dtype)  # [3, pixels]
        of_z, of_place = Layer(self.width)(self.scale * z.T), Layer(self.width, use_bias=False)(at)
        x = jnp.tanh(of_z[:, :, None] + of_place[:, None]).reshape(self.width, -1)  # [width, b * pixels]
        for _ in range(self.depth):
            change = x
            for _ in range(self.layers):
                change = nn.relu(Layer(self.width, 1.0)(change))
            x += jnp.tanh(Layer(self.width, 0.001)(change))
        x = 2 * nn.sigmoid(Layer(c)(x)) - 1  # [c, b * pixels]
        return jnp.moveaxis(x.reshape(c, -1, h, w), 0, -1)


class E(nn.Module):
    """x [b, h, w, c], a key -> a latent [b, z] of q(z|x), KL(q(z|x) || N(0, 1)) [b]; in training `drop` units rest."""

    z_dim: int
    width: int = 512
    drop: float = 0.35

    @nn.compact
    def __call__(self, x, key, train=True):
        of_z, *of_layer = jax.random.split(key, 3)
        x = (x.reshape(x.shape[0], math.prod(x.shape[1:])) + 1) / 2
        for layer_key in of_layer:
            x = nn.softplus(nn.Dense(self.width, kernel_init=normal)(x))
            x = dropout(layer_key, x, self.drop) if train else x
        mean, log_var = (nn.Dense(self.z_dim, kernel_init=normal)(x) for _ in range(2))  # [b, z]
        z = mean + jnp.exp(log_var / 2) * rng.normal(of_z, mean.shape)
        return z, 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum(1)


class Autoencoder(nn.Module):
    """x [b, h, w, c], a key -> pictures of x's latents [b, *g.shape], KL divergences [b]."""

    e: E
    g: G

    def __call__(self, x, key, train=True):
        z, kl = self.e(x, key, train)
        return self.g(z, train), kl


class D(nn.Module):
    """x [b, h, w, c] -> logits [b, classes + 1]: which class it is of, or, the last one, that it was drawn."""

    classes: int
    width: int = 32

    @nn.compact
    def __call__(self, x, train=True):
        x = (x + 1) / 2
        for i in range(3):
            x = Conv(2**i * self.width, 5, 2, use_bias=not i, kernel_init=nn.initializers.truncated_normal(0.02))(x)
            x = leaky(batch_norm(x, train) if i else x)
        return nn.Dense(self.classes + 1, kernel_init=normal)(x.reshape(x.shape[0], -1))
