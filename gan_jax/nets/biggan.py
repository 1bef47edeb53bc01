"""The residual nets of SN-GAN, SAGAN and BigGAN, told a label y [b], for images of any size.

They are those of StudioGAN (POSTECH-CVLab/PyTorch-StudioGAN, `resnet` and `big_resnet`) at 32x32: G begins at 4x4 and
has a block for each doubling, all of 4 * width channels; D halves down to 8x8, has two more blocks, all of 2 * width
channels, and sums its features over the pixels. Other sizes have the levels of `layers.levels`.

Spectral norm (Miyato et al. 2018, arXiv 1802.05957) is flax's: the singular vector u of each weight is among the
statistics, and moves by one power iteration with each forward pass that is kept. Labels are one-hot rows, so that an
embedding is a layer without bias. G's blocks have no biases: a batch norm after them would take off what they add.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import BatchNorm, levels

orthogonal = nn.initializers.orthogonal()
bare = {"use_bias": False, "kernel_init": orthogonal}


def layered(spectral, train):
    """Return (layer, x) -> layer(x), its weights divided by their largest singular value if `spectral`."""
    return lambda layer, x: nn.SpectralNorm(layer)(x, update_stats=train) if spectral else layer(x)


def pooled(x, reduce):
    """Return x [b, h, w, c] half as large, rounded up: `reduce` (jnp.mean or jnp.max) of 2x2, or of what is there."""
    b, h, w, c = x.shape
    x = jnp.pad(x, [(0, 0), (0, h % 2), (0, w % 2), (0, 0)], mode="edge")
    return reduce(x.reshape(b, (h + 1) // 2, 2, (w + 1) // 2, 2, c), (2, 4))


def enlarged(x, size):
    """Return x [b, h, w, c] twice as large by the nearest pixel, and cut to `size`."""
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)[:, : size[0], : size[1]]


class Norm(nn.Module):
    """x [b, h, w, c], y [b, k] -> x normalised over the batch, times 1 + gain(y), plus bias(y); both are linear.

    Conditional batch norm, as de Vries et al. 2017 (arXiv 1707.00683) and Miyato and Koyama 2018 (1802.05637) have it.
    """

    spectral: bool

    @nn.compact
    def __call__(self, x, y, train):
        layer, c = layered(self.spectral, train), x.shape[-1]
        gain, bias = (layer(nn.Dense(c, **bare), y)[:, None, None] for _ in range(2))  # [b, 1, 1, c]
        x = BatchNorm(not train, momentum=0.9, epsilon=1e-4, use_scale=False, use_bias=False)(x)
        return x * (1 + gain) + bias


class Up(nn.Module):
    """A block of G: x [b, h, w, c], y [b, k] -> [b, *size, channels], twice as large."""

    channels: int
    size: tuple[int, int]
    spectral: bool

    @nn.compact
    def __call__(self, x, y, train):
        layer, norm = layered(self.spectral, train), lambda x: nn.relu(Norm(self.spectral)(x, y, train))
        added = layer(Conv(self.channels, 3, **bare), enlarged(norm(x), self.size))
        added = layer(Conv(self.channels, 3, **bare), norm(added))
        return added + enlarged(layer(Conv(self.channels, 1, **bare), x), self.size)  # 1x1: the same after enlarging


class Down(nn.Module):
    """A block of D: x [b, h, w, c] -> [b, h, w, channels], half as large if `halve`; first: x are the data."""

    channels: int
    halve: bool
    first: bool

    @nn.compact
    def __call__(self, x, train):
        layer, half = layered(True, train), (lambda x: pooled(x, jnp.mean)) if self.halve else (lambda x: x)
        conv = lambda size, x: layer(Conv(self.channels, size, kernel_init=orthogonal), x)
        added = half(conv(3, nn.relu(conv(3, x if self.first else nn.relu(x)))))
        return added + (conv(1, half(x)) if self.halve or x.shape[-1] != self.channels else x)


class Attention(nn.Module):
    """Self-attention (SAGAN, Zhang et al. 2019, arXiv 1805.08318): x [b, h, w, c] -> x + gain * what each pixel sees.

    Queries and keys have c / 8 channels, values c / 2; keys and values are the largest of 2x2, as in the authors' code.
    The gain is 0 at first. Weights have spectral norm.
    """

    @nn.compact
    def __call__(self, x, train):
        b, h, w, c = x.shape
        layer, few, half = layered(True, train), max(1, c // 8), max(1, c // 2)
        conv = lambda n, x: layer(Conv(n, 1, **bare), x)
        query = conv(few, x).reshape(b, h * w, few)
        key, value = (pooled(conv(n, x), jnp.max).reshape(b, -1, n) for n in (few, half))
        weights = jax.nn.softmax(jnp.einsum("bqc,bkc->bqk", query, key))  # over the keys
        seen = jnp.einsum("bqk,bkc->bqc", weights, value).reshape(b, h, w, half)
        return x + self.param("gain", nn.initializers.zeros, (), jnp.float32) * conv(c, seen)


class G(nn.Module):
    """Latent z [b, z], labels y [b] -> x [b, *shape] in [-1, 1].

    spectral: its weights have spectral norm, all but `shared`. attention: before the last block, at half of the size.
    shared: 0, or the units of one embedding of y for all blocks; z is then cut into len(levels) parts, of which the
    first is the input and each block sees one of the others beside y (BigGAN, Brock et al. 2019, arXiv 1809.11096).
    """

    shape: tuple[int, int, int]
    classes: int
    width: int = 64
    spectral: bool = False
    attention: bool = False
    shared: int = 0

    @nn.compact
    def __call__(self, z, y, train=True):
        (*sizes, least), _ = levels(self.shape, 1)
        layer, c = layered(self.spectral, train), 4 * self.width
        y = jax.nn.one_hot(y, self.classes, dtype=z.dtype)
        told = [y] * len(sizes)
        if self.shared:
            y = nn.Dense(self.shared, name="shared", **bare)(y)
            z, *parts = jnp.split(z, len(sizes) + 1, 1)
            told = [jnp.concatenate([y, part], 1) for part in parts]
        x = layer(nn.Dense(math.prod(least) * c, kernel_init=orthogonal), z).reshape(-1, *least, c)
        for size, y in zip(sizes[::-1], told, strict=True):
            if self.attention and size == sizes[0]:
                x = Attention()(x, train)
            x = Up(c, size, self.spectral)(x, y, train)
        x = nn.relu(BatchNorm(not train, momentum=0.9, epsilon=1e-4)(x))
        return jnp.tanh(layer(Conv(self.shape[-1], 3, kernel_init=orthogonal), x))


class D(nn.Module):
    """x [b, h, w, c], labels y [b] -> scores [b], of which one term is the product of the features with y's vector.

    That is the projection of Miyato and Koyama 2018 (arXiv 1802.05637). All weights have spectral norm.
    attention: after the first block, at half of the size.
    """

    classes: int
    width: int = 64
    attention: bool = False

    @nn.compact
    def __call__(self, x, y, train=True):
        n = len(levels(x.shape[1:], 1)[0]) - 1
        layer, c = layered(True, train), 2 * self.width
        for i in range(n + 1):
            x = Down(c, halve=i < max(1, n - 1), first=i == 0)(x, train)
            if self.attention and i == 0:
                x = Attention()(x, train)
        h = nn.relu(x).sum((1, 2))  # [b, c]
        score = layer(nn.Dense(1, kernel_init=orthogonal), h)[:, 0]
        return score + (layer(nn.Dense(c, **bare), jax.nn.one_hot(y, self.classes, dtype=h.dtype)) * h).sum(1)
