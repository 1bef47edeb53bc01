"""The nets of TP-GAN (Huang et al. 2017, arXiv 1704.04086), for pictures of any size, as the authors' code has them.

G turns a face to the front by two paths. The global one narrows the picture beside its mirror image down to a code, and
widens that and noise again, handed at each level what the way down had. The local ones turn four patches, which stand
at fixed places. Where these are, what they made is laid into one map, and the global path ends with that before it.
D scores places of a face (4x4 of them in the code, 2x2 in the paper). F names people; its features say who somebody is.

Nets are as deep as a picture is large: G halves 128x128 four times, the paths of patches three times, D five times.
`blocks` is how many residual blocks stand where the published nets have one. Convolutions before a norm have no bias.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.game import rng
from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import dropout, leaky, normal
from gan_jax.nets.layers import plain_batch_norm as norm

Z_DIM, Z_STD = 100, 0.02
KERNELS = 7, 5, 3, 3, 3  # of the global path, by level
# left eye, right eye, nose, mouth in a face of 128x128: top, left, height, width
PATCHES = (20, 23, 40, 40), (20, 65, 40, 40), (48, 43, 32, 40), (72, 40, 32, 48)
clipped = nn.initializers.truncated_normal(0.02)  # of convolutions


def patches(x):
    """Return eyes, nose and mouth of faces x [b, h, w, c]: a list of [b, n, m, c]."""
    return [x[:, top : top + n, left : left + m] for top, left, n, m in boxes(x.shape[1:3])]


def boxes(sides):
    """Return (top, left, height, width) of each patch of a picture with these sides."""

    def along(side, start, length):
        size = max(1, round(length * side / 128))
        return min(round(start * side / 128), side - size), size

    found = [(along(sides[0], top, n), along(sides[1], left, m)) for top, left, n, m in PATCHES]
    return [(top, left, n, m) for (top, n), (left, m) in found]


def laid(found, sides, around):
    """Return the largest of what the patches `found` have at each pixel [b, h, w, c]; outside of them `around`."""
    pads = [((top, sides[0] - top - n), (left, sides[1] - left - m)) for top, left, n, m in boxes(sides)]
    wide = [jnp.pad(x, ((0, 0), *pad, (0, 0)), constant_values=around) for x, pad in zip(found, pads, strict=True)]
    return jnp.stack(wide).max(0)


def sizes(sides, least, most):
    """Return the sides of a picture's levels, its own first, halved (rounded up) until none is above 5 pixels.

    It is halved `least` times at least, `most` times at most.
    """
    found = [tuple(sides)]
    while len(found) <= least or (max(found[-1]) > 5 and len(found) <= most):
        found.append(tuple(math.ceil(n / 2) for n in found[-1]))
    return found


def halved(x):
    """Return pictures x [b, h, w, c] with half the sides, rounded up: means of 2x2 pixels, the last ones repeated."""
    (b, h, w, c), (n, m) = x.shape, sizes(x.shape[1:3], 1, 1)[1]
    return jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), "edge").reshape(b, n, 2, m, 2, c).mean((2, 4))


def enlarged(x, sides):
    """Return pictures x [b, h, w, c] at larger sides, bilinear."""
    return jax.image.resize(x, (x.shape[0], *sides, x.shape[3]), "linear")


def edges(x):
    """Return nine times each pixel of x [b, h, w, c] less the sum of the 3x3 around it; beyond the border is 0."""
    rows = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return 9 * x - (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:])


def conv(channels, kernel=3, strides=1, bias=False):
    return Conv(channels, kernel, strides, use_bias=bias, kernel_init=clipped)


def widened(x, channels, sides, strides=2, bias=False):
    return ConvTranspose(channels, 3, strides, size=sides, use_bias=bias, kernel_init=normal)(x)


def dense(units):
    return nn.Dense(units, kernel_init=normal, bias_init=nn.initializers.constant(0.1))


class Blocks(nn.Module):
    """x [b, h, w, c] -> the same shape, by residual blocks of two convolutions each."""

    n: int
    kernel: int = 3

    @nn.compact
    def __call__(self, x, train):
        for _ in range(self.n):
            y = leaky(norm(conv(x.shape[-1], self.kernel)(x), train))
            x = leaky(x + norm(conv(x.shape[-1], self.kernel)(y), train))
        return x


class Encoder(nn.Module):
    """x [b, h, w, c] -> features of its levels, a list of [b, n, m, channels]; a code [b, 4 width]."""

    width: int
    blocks: int
    levels: int

    @nn.compact
    def __call__(self, x, train):
        found = []
        for i in range(self.levels):
            x = conv(self.width * 2 ** max(i - 1, 0), KERNELS[i], 2 if i else 1, bias=i == 0)(x)
            x = leaky(norm(x, train) if i else x)
            last = i == self.levels - 1
            found.append(x := Blocks(4 * self.blocks if last else self.blocks, KERNELS[i])(x, train))
        return found, jnp.maximum(*jnp.split(dense(8 * self.width)(x.reshape(x.shape[0], -1)), 2, 1))


class Local(nn.Module):
    """A patch [b, n, m, c] -> features [b, n, m, width]; that patch of the face's front [b, n, m, channels]."""

    channels: int
    width: int
    blocks: int

    @nn.compact
    def __call__(self, x, train):
        levels, down = sizes(x.shape[1:3], 0, 3), []
        for i in range(len(levels)):
            x = conv(self.width * 2**i, 3, 2 if i else 1, bias=i == 0)(x)
            x = leaky(norm(x, train) if i else x)
            down.append(x := Blocks(self.blocks)(x, train))
        x = Blocks(self.blocks)(x, train)
        for i in reversed(range(len(levels) - 1)):
            x = leaky(norm(widened(x, self.width * 2**i, levels[i]), train))
            x = leaky(norm(conv(self.width * 2**i)(jnp.concatenate([x, down[i]], 3)), train))
            x = Blocks(self.blocks)(x, train)
        return x, jnp.tanh(conv(self.channels, bias=True)(x))


class Start(nn.Module):
    """A code [b, n] -> what it alone gives the coarsest level, and a list of what it gives the three finest."""

    width: int

    @nn.compact
    def __call__(self, code, levels):
        x = nn.relu(dense(math.prod(levels[-1]) * self.width)(code)).reshape(code.shape[0], *levels[-1], self.width)
        coarse, finest = x, []
        for i, strides in ((2, 2 ** (len(levels) - 3)), (1, 2), (0, 2)):
            x = nn.relu(widened(x, max(1, self.width // 2 ** (3 - i)), levels[i], strides, bias=True))
            finest.insert(0, x)
        return coarse, finest


class Decoder(nn.Module):
    """Pictures at the three finest levels, the finest first, each a list of [b, n, m, channels].

    Of `found`, features of all levels; `beside`, pictures of the three finest; the code; `local`, maps of the finest.
    """

    channels: int
    width: int
    blocks: int

    @nn.compact
    def __call__(self, found, beside, code, local, train):
        levels, last, made = [x.shape[1:3] for x in found], len(found) - 1, []
        coarse, first = Start(self.width)(code, levels)
        x = Blocks(3 * self.blocks, 2)(jnp.concatenate([coarse, found[last]], 3), train)
        for i in range(last, -1, -1):
            if i < last:
                x = nn.relu(norm(widened(x, self.width * 2**i, levels[i]), train))
                handed = jnp.concatenate([found[i], *([beside[i], first[i]] if i < 3 else [])], 3)
                handed = Blocks(self.blocks, KERNELS[i])(handed, train)
                coarser = [enlarged(made[0], levels[i])] if made else []
                x = jnp.concatenate([x, handed, *([] if i else local), *coarser], 3)
                x = Blocks(2 * self.blocks)(x, train) if i else finest(x, self.width, self.blocks, train)
            if i < 3:
                made.insert(0, jnp.tanh(conv(self.channels, bias=True)(x)))
        return made


def finest(x, width, blocks, train):
    """Return the last features of a face; for compact modules."""
    x = Blocks(blocks, 5)(x, train)
    x = Blocks(blocks)(leaky(norm(conv(width, 5)(x), train)), train)
    return leaky(norm(conv(max(1, width // 2))(x), train))


class G(nn.Module):
    """Faces [b, h, w, c], a key -> the faces from the front at h, h / 2 and h / 4; their patches; logits [b, people].

    The key is that of the noise, and of what the code loses, seven numbers in ten, before the people are read off it.
    """

    people: int
    width: int = 64
    blocks: int = 1

    @nn.compact
    def __call__(self, x, key, train=True):
        levels, (b, *_, c) = sizes(x.shape[1:3], 2, 4), x.shape
        beside = [jnp.concatenate([one, one[:, :, ::-1]], 3) for one in (x, halved(x), halved(halved(x)))]
        found, code = Encoder(self.width, self.blocks, len(levels))(beside[0], train)
        z = Z_STD * rng.normal(jax.random.fold_in(key, 0), (b, Z_DIM))
        eye, other, nose, mouth = patches(x)
        seen = eye, jnp.concatenate([other, eye], 3), nose, mouth
        features, front = zip(*(Local(c, self.width, self.blocks)(one, train) for one in seen), strict=True)
        local = [laid(features, levels[0], 0), laid(front, levels[0], -1)]
        decoder = Decoder(c, self.width, self.blocks)
        made = decoder(found, beside, jnp.concatenate([code, z], 1), local, train)
        return made, list(front), dense(self.people)(dropout(jax.random.fold_in(key, 1), code, 0.7))


class D(nn.Module):
    """x [b, h, w, c] -> logits of its places [b, places], 4x4 of 128x128."""

    width: int = 64
    blocks: int = 1

    @nn.compact
    def __call__(self, x, train=True):
        n = len(sizes(x.shape[1:3], 2, 5)) - 1
        for i in range(n):
            x = conv(self.width * 2 ** min(i, 3), 3, 2, bias=i == 0)(x)
            x = leaky(norm(x, train) if i else x)
            x = Blocks(self.blocks if i >= n - 2 else 0)(x, train)
        return conv(1, 1, bias=True)(x).reshape(x.shape[0], -1)


class F(nn.Module):
    """Faces [b, h, w, c], seen in grey -> logits [b, people]; features of places [b, n, m, o], and of all [b, 8 width].

    Each unit is the larger of two, as in the Light CNN (Wu et al. 2018, arXiv 1511.02683).
    """

    people: int
    width: int = 16

    @nn.compact
    def __call__(self, x, train=True):
        x = x.mean(-1, keepdims=True)
        for i in range(len(sizes(x.shape[1:3], 1, 3)) - 1):
            x = jnp.maximum(*jnp.split(Conv(self.width * 2 ** (i + 1), 3)(x), 2, 3))
            x = nn.max_pool(x, (2, 2), (2, 2), "SAME")
        code = jnp.maximum(*jnp.split(nn.Dense(16 * self.width)(x.reshape(x.shape[0], -1)), 2, 1))
        return nn.Dense(self.people)(code), x, code
