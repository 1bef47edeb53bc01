"""The nets of StyleGAN (Karras, Laine and Aila 2019, arXiv 1812.04948), for squares of 4, 8, 16, ... pixels.

A mapping net turns z into w. Synthesis begins with a learned constant of 4x4 pixels; after each convolution noise is
added, and w says how much each channel is scaled and shifted, once it is normalised. G is both of them. D is that of
PGGAN (arXiv 1710.10196) with a filter before each of its downward convolutions. As in the authors' code, enlarging
repeats pixels and shrinking averages them; both are part of the convolution beside them.

Nets are made for their finest level and called at any of theirs: `side`, or the shape of x, says at which, and `alpha`
how much its layers count, beside the layers for colours of the level below.
"""

import itertools

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.game import growing, rng
from gan_jax.nets.equalized import Conv, Dense, fir, group_std, pixel_norm
from gan_jax.nets.layers import leaky

AVERAGE = (1, 1)  # taps with which a convolution repeats pixels, or averages them
BLUR = (1, 2, 1)


def blurred(x):
    return fir(x, BLUR, (1, 1))


def sides(side):
    """Return (4, 8, ..., side)."""
    return tuple(2**i for i in range(2, side.bit_length()))


def layers(side):
    """Return how many layers of G have a style, two at each level."""
    return 2 * len(sides(side))


def channels(side, base, most):
    """Return the channels of a level of `side` pixels: `base` divided by that, from 1 to `most`."""
    return max(min(base // side, most), 1)


def mixed(w, chance, n, share):
    """Return styles [b, n, w]: with probability `share` those behind a cut follow w[1], the others w[0]; w [2, b, w].

    The cut is one for all rows, anywhere between the first layer and the last. chance [2]: uniform in [0, 1).
    """
    cut = jnp.where(chance[0] < share, 1 + (chance[1] * (n - 1)).astype(jnp.int32), n)
    return jnp.where(jnp.arange(n)[None, :, None] < cut, w[0][:, None], w[1][:, None])


def truncated(w, mean, psi, n, coarse=8):
    """Return styles [b, n, w]: the first `coarse` layers are `psi` of the way from the mean [w] to w [b, w]."""
    mean, w = mean.reshape(1, 1, -1), w[:, None]
    return jnp.where(jnp.arange(n)[None, :, None] < coarse, mean + psi * (w - mean), w)


class Mapping(nn.Module):
    """z [..., z] -> w [..., features]; `rate`: at which it learns, of that of the others."""

    features: int = 512
    depth: int = 8
    rate: float = 0.01

    @nn.compact
    def __call__(self, z, train=True):
        w = pixel_norm(z)
        for _ in range(self.depth):
            w = leaky(Dense(self.features, rate=self.rate)(w))
        return w


class Styled(nn.Module):
    """x [b, h, w, c] -> x after noise, bias, leaky ReLU and normalisation, scaled and shifted as w [b, n] says."""

    @nn.compact
    def __call__(self, x, w, noise):
        b, *_, c = x.shape
        row = lambda name: self.param(name, nn.initializers.zeros, (c,), jnp.float32).reshape(1, 1, 1, -1)
        x = leaky(x + row("noise") * noise.reshape(*x.shape[:3], 1) + row("bias"))
        x -= x.mean((1, 2), keepdims=True)
        x /= jnp.sqrt(jnp.square(x).mean((1, 2), keepdims=True) + 1e-8)
        scale, shift = jnp.split(Dense(2 * c, gain=1)(w).reshape(b, 1, 1, -1), 2, 3)
        return x * (scale + 1) + shift


class Synthesis(nn.Module):
    """Styles w [b, layers or more, n] -> x [b, side, side, colours], unbounded; the noise is a function of key."""

    colours: int = 3
    base: int = 16384
    most: int = 512

    @nn.compact
    def __call__(self, w, key, side, alpha=1.0, train=True):
        ends = [0, *itertools.accumulate(s * s for s in sides(side) for _ in range(2))]
        noise = rng.normal(key, (len(w), ends[-1]))  # for all layers at once: one draw compiles faster than many
        styled = lambda i, x: Styled(name=f"style_{i}")(x, w[:, i], noise[:, ends[i] : ends[i + 1]])
        image = None
        for i, s in enumerate(sides(side)):
            c = channels(s, self.base, self.most)
            if s == 4:
                first = self.param("constant", nn.initializers.ones, (4, 4, c), jnp.float32)
                x = jnp.broadcast_to(first, (len(w), 4, 4, c))
            else:
                x = blurred(Conv(c, bias=None, up=True, taps=AVERAGE, name=f"up_{s}")(x))
            x = styled(2 * i, x)
            x = styled(2 * i + 1, Conv(c, bias=None, name=f"conv_{s}")(x))
            below, image = image, Conv(self.colours, 1, gain=1, name=f"colours_{s}")(x)
        return image if side == 4 else growing.lerp(growing.doubled(below), image, alpha)


class G(nn.Module):
    """z [2, b, z], chance [2] -> x [b, side, side, colours], whose styles are mixed, and the mean of the first w."""

    mapping: Mapping
    synthesis: Synthesis
    mixing: float = 0.9

    @nn.compact
    def __call__(self, z, chance, key, side, alpha=1.0, train=True):
        w = self.mapping(z)
        return self.synthesis(mixed(w, chance, layers(side), self.mixing), key, side, alpha), w[0].mean(0)


class D(nn.Module):
    """x [b, s, s, colours] -> score [b]; `group`: of how many images the deviation is shown."""

    base: int = 16384
    most: int = 512
    group: int = 4

    @nn.compact
    def __call__(self, x, alpha=1.0, train=True):
        width = lambda s: channels(s, self.base, self.most)
        seen = lambda x: leaky(Conv(width(x.shape[1]), 1, name=f"colours_{x.shape[1]}")(x))
        side, image, y = x.shape[1], x, seen(x)
        for s in sides(side)[:0:-1]:
            y = leaky(Conv(width(s), name=f"conv_{s}")(y))
            y = leaky(Conv(width(s // 2), down=True, taps=AVERAGE, name=f"down_{s}")(blurred(y)))
            image = growing.halved(image)
            below = seen(image)  # of all levels, so that they all have parameters; but for the first it is dropped
            y = growing.lerp(below, y, alpha) if s == side else y
        y = leaky(Conv(width(4), name="conv_4")(group_std(y, self.group)))
        y = leaky(Dense(width(2), name="dense")(y.reshape(len(y), -1)))
        return Dense(1, gain=1, name="score")(y)[:, 0]
