"""StyleGAN2's nets (Karras et al. 2020, arXiv 1912.04958): modulated convolutions, a G with skips, a residual D.

Pictures begin at 4x4 pixels and double until they are large enough; G cuts off what is too much of other sides, D adds
their border as often. The finest level has `width` channels, each coarser one twice as many, up to `most`; the
published nets have 32 and 512 at 1024x1024 (config F). Rates are equalised, and all leaky ReLUs have the gain sqrt 2.
"""

import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.game import forward, rng
from gan_jax.nets.conv import conv
from gan_jax.nets.equalized import SQRT2, Conv, Dense, conv_up, group_std, pixel_norm, upsample
from gan_jax.nets.layers import leaky


def levels(shape, width, most):
    """Return (the size of the coarsest level, the channels of all levels, the coarsest first)."""
    doublings = max(0, math.ceil(math.log2(max(shape[:2]) / 4)))
    size = tuple(math.ceil(n / 2**doublings) for n in shape[:2])
    return size, [min(most, width * 2**i) for i in range(doublings + 1)][::-1]


def act(x):
    """Return the leaky ReLU of x, with the gain that keeps its mean square."""
    return SQRT2 * leaky(x)


class ModulatedConv(nn.Module):
    """x [b, h, w, c], style [b, w] -> [b, h, w, features]: a convolution whose kernel is scaled by the row's style.

    It is scaled again so that each output has a deviation of 1 (demodulate). Here inputs and outputs are scaled instead
    of the kernel, which is the same, and needs no kernel for each row. up: twice as large.
    """

    features: int
    kernel_size: int = 3
    demodulate: bool = True
    up: bool = False

    @nn.compact
    def __call__(self, x, style):
        k, c = self.kernel_size, x.shape[-1]
        kernel = self.param("kernel", nn.initializers.normal(1.0), (k, k, c, self.features), jnp.float32)
        kernel = kernel.astype(x.dtype) / math.sqrt(k * k * c)
        scale = Dense(c, gain=1.0, bias=1.0, name="style")(style)  # [b, c]
        x = x * scale[:, None, None]
        x = conv_up(x, kernel) if self.up else conv(x, kernel)
        if not self.demodulate:
            return x
        variance = jnp.square(scale) @ jnp.square(kernel).sum((0, 1))  # [b, features]
        return x * lax.rsqrt(variance + 1e-8)[:, None, None]


def _bias(layer, features):
    return layer.param("bias", nn.initializers.zeros, (features,), jnp.float32).reshape(1, 1, 1, -1)


class Layer(nn.Module):
    """x [b, h, w, c], style [b, w], noise [b, h, w, 1] of the new size -> [b, h, w, features]; up: twice as large."""

    features: int
    up: bool = False

    @nn.compact
    def __call__(self, x, style, noise):
        x = ModulatedConv(self.features, up=self.up)(x, style)
        strength = self.param("strength", nn.initializers.zeros, (), jnp.float32)
        x = x + strength * noise
        return act(x + _bias(self, self.features))


class ToRGB(nn.Module):
    """x [b, h, w, c], style [b, w] -> a picture [b, h, w, channels]."""

    channels: int

    @nn.compact
    def __call__(self, x, style):
        return ModulatedConv(self.channels, 1, demodulate=False)(x, style) + _bias(self, self.channels)


class Mapping(nn.Module):
    """z [b, z] -> style [b, features], which learns at a hundredth of the rate."""

    features: int
    depth: int

    @nn.compact
    def __call__(self, z, train=True):
        x = pixel_norm(z)
        for _ in range(self.depth):
            x = act(Dense(self.features, gain=1.0, rate=0.01)(x))
        return x


class Synthesis(nn.Module):
    """Styles [b, layers, w], a key for the noise -> pictures [b, *shape], unbounded: a sum over the levels."""

    shape: tuple[int, int, int]
    width: int
    most: int

    @nn.compact
    def __call__(self, styles, key, train=True):
        (h, w, channels), (size, (first, *others)) = self.shape, levels(self.shape, self.width, self.most)
        sides = [tuple(n * 2 ** ((i + 1) // 2) for n in size) for i in range(2 * len(others) + 1)]  # of each layer
        ends = list(itertools.accumulate(math.prod(side) for side in sides))
        noise = jnp.split(
            rng.normal(key, (len(styles), ends[-1])), ends[:-1], 1
        )  # drawn at once, which compiles sooner
        of = lambda i: (styles[:, i], noise[i].reshape(-1, *sides[i], 1))
        const = self.param("const", nn.initializers.normal(1.0), (*size, first), jnp.float32).astype(styles.dtype)
        x = Layer(first)(jnp.broadcast_to(const, (len(styles), *const.shape)), *of(0))
        picture = ToRGB(channels)(x, styles[:, 1])
        for i, features in enumerate(others, 1):
            x = Layer(features, up=True)(x, *of(2 * i - 1))
            x = Layer(features)(x, *of(2 * i))
            picture = upsample(picture) + ToRGB(channels)(x, styles[:, 2 * i + 1])
        return picture[:, :h, :w]


class G(nn.Module):
    """z [b, z], a key for the noise -> pictures [b, *shape], unbounded.

    mixing: the share of batches in which the styles of other latents come in, from a layer on that is drawn, the same
    one in all rows. shift: what is added to all styles [b, layers, features]. With train=False nothing is mixed.
    """

    shape: tuple[int, int, int]
    width: int = 32
    most: int = 512
    features: int = 512  # of a style
    depth: int = 8
    mixing: float = 0.9

    @property
    def layers(self):
        """How many styles a picture has."""
        return 2 * len(levels(self.shape, self.width, self.most)[1])

    @property
    def mapping(self):
        return Mapping(self.features, self.depth)

    @property
    def synthesis(self):
        return Synthesis(self.shape, self.width, self.most)

    @nn.compact
    def __call__(self, z, key, shift=0.0, train=True):
        mapping, (mixed, other, noise) = self.mapping, jax.random.split(key, 3)
        style = mapping(z)
        mean = self.variable("average", "style", jnp.zeros, (self.features,), jnp.float32)
        if train and not self.is_initializing():
            mean.value = 0.995 * mean.value + 0.005 * style.mean(0)
        styles = jnp.broadcast_to(style[:, None], (len(z), self.layers, self.features))
        if train and self.mixing:
            mixed, first = rng.uniform(mixed, (2,))
            first = jnp.where(mixed < self.mixing, 1 + jnp.floor(first * (self.layers - 1)), self.layers)
            other = mapping(rng.normal(other, z.shape))
            styles = jnp.where((jnp.arange(self.layers) < first)[None, :, None], styles, other[:, None])
        return self.synthesis(styles + shift, noise)


def styles(net, params, stats, z, psi):
    """Return the styles [n, layers, features] of z [n, z] by the G `net`, psi times as far from their mean."""
    style, mean = forward(net.mapping, params["Mapping_0"], {}, z, train=False)[0], stats["average"]["style"]
    return jnp.repeat((mean[None] + psi * (style - mean[None]))[:, None], net.layers, 1)


def synthesised(net, params, styles, key):
    """Return the pictures that it makes of styles [n, layers, features], with the noise of `key`."""
    return forward(net.synthesis, params["Synthesis_0"], {}, styles, jax.random.split(key, 3)[2], train=False)[0]


def path_lengths(net, pictures, n, key):
    """Return (|J^T y| [n] of n pictures, what else there is of them); J: their Jacobian in the styles.

    net: G; pictures: shift of the styles [n, layers, features] -> (x [n, h, w, c], what else). y is normal, and so
    small that J^T y does not grow with the pixels; the square is a mean over layers, as in the authors' code.
    """
    y = rng.normal(key, (n, *net.shape)) / math.sqrt(math.prod(net.shape[:2]))
    _, back, others = jax.vjp(pictures, jnp.zeros((n, net.layers, net.features), y.dtype), has_aux=True)
    return jnp.sqrt(jnp.square(back(y)[0]).sum(2).mean(1)), others


class D(nn.Module):
    """x [b, h, w, c] -> score [b], which the other rows of a group have a share in; residual: with skips of 1x1."""

    width: int = 32
    most: int = 512
    group: int = 4
    residual: bool = True

    @nn.compact
    def __call__(self, x, train=True):
        size, channels = levels(x.shape[1:], self.width, self.most)
        last, *others = channels
        around = [(0, n * 2 ** len(others) - m) for n, m in zip(size, x.shape[1:3], strict=True)]
        x = jnp.pad(x, [(0, 0), *around, (0, 0)], "edge")
        x = act(Conv(channels[-1], 1, gain=1.0)(x))
        for features, coarser in zip(others[::-1], channels[-2::-1], strict=True):
            y = act(Conv(features, gain=1.0)(x))
            y = act(Conv(coarser, gain=1.0, down=True)(y))
            x = (y + Conv(coarser, 1, gain=1.0, bias=None, down=True)(x)) / SQRT2 if self.residual else y
        x = act(Conv(last, gain=1.0)(group_std(x, self.group)))
        x = act(Dense(last, gain=1.0)(x.reshape(len(x), -1)))
        return Dense(1, gain=1.0)(x)[:, 0]
