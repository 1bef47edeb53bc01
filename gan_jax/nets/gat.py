"""The transformers of GAT (Hyun, Lee and Heo 2025, arXiv 2509.24935), of any width, for images of whole patches.

A token is a patch of p x p pixels. It is told its place by fixed sines and cosines that are added, and by turning the
queries and keys of its attention (RoPE, arXiv 2104.09864). A block is x + gate * attention(scale * norm(x)), then the
same with a gated perceptron (SwiGLU, arXiv 2002.05202). Norms divide by the root mean square; queries and keys are
normalised, too. In G the scales and gates are linear functions of a style w, in D they are learned numbers.

G's tokens begin as their places alone. After each of `stages` equal parts of its blocks a linear head draws an image,
which is added to the one before. D sees the images of all stages at once, and has a token more, which ends as the
features that are multiplied by the label's (projection, arXiv 1802.05637). As in the authors' code (hse1032/GAT).

Blocks are scanned, their parameters stacked along the first axis: 28 are compiled as fast as two.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.errors import UserError
from gan_jax.nets.equalized import pixel_norm
from gan_jax.nets.layers import normal


def glorot(gain=1.0):
    """Return Glorot's uniform initialiser, times `gain`."""
    return nn.initializers.variance_scaling(gain**2, "fan_avg", "uniform")


Dense = functools.partial(nn.Dense, kernel_init=glorot())


def places(h, w, patch):
    """Return row and column [tokens, 2] of each patch; raise UserError where the patches don't fill the image."""
    if h % patch or w % patch:
        raise UserError(f"images of {h}x{w} can't be cut into patches of {patch}x{patch}; say another --patch.")
    return np.stack(np.indices((h // patch, w // patch)), -1).reshape(-1, 2)


def frequencies(n):
    """Return n frequencies [1, n], falling from 1 towards 1 / 10,000."""
    return 10_000.0 ** -(np.arange(n)[None] / n)


def embedded(at, width):
    """Return places [tokens, 2] as [tokens, width]: sines and cosines of the column, then of the row."""
    angles = [at[:, i : i + 1] * frequencies(width // 4) for i in (1, 0)]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], 1)


def rotations(at, size, dtype):
    """Return (cosines, sines), each [1, tokens, 1, size / 2]: how each pair of a head's `size` channels is turned.

    The first half of the pairs turn with the row, the others with the column.
    """
    angle = np.concatenate([at[:, i : i + 1] * frequencies(size // 4) for i in (0, 1)], 1)
    return tuple(jnp.asarray(f(angle), dtype)[None, :, None] for f in (np.cos, np.sin))


def turned(x, rotation):
    """Return x [b, tokens, heads, size], each pair of neighbouring channels turned by `rotations`."""
    (cos, sin), a, b = rotation, x[..., ::2], x[..., 1::2]
    return jnp.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape)


def attend(q, k, v):
    """Return attention's answer to queries, of keys and values, all [b, tokens, heads, size].

    `jax.nn.dot_product_attention` takes its softmax in float32, whatever it is given; this one can be differentiated
    twice and in float64.
    """
    weights = jax.nn.softmax(jnp.einsum("bthc,bshc->bhts", q, k) / math.sqrt(q.shape[-1]))
    return jnp.einsum("bhts,bshc->bthc", weights, v)


def rms(x):
    """Return x [..., c] divided by the root of its mean square over c."""
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6)


def patches(x, patch):
    """Return images x [b, n, h, w, c] as tokens [b, tokens, n * patch * patch * c]."""
    b, n, h, w, c = x.shape
    x = x.reshape(b, n, h // patch, patch, w // patch, patch, c).transpose(0, 2, 4, 1, 3, 5, 6)
    return x.reshape(b, -1, n * patch * patch * c)


def joined(x, patch, shape):
    """Return tokens [b, n, tokens, patch * patch * c] as images [b, n, h, w, c] of this shape (h, w, c)."""
    h, w, c = shape
    x = x.reshape(*x.shape[:2], h // patch, w // patch, patch, patch, c)
    return x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(*x.shape[:2], h, w, c)


def stacked(Layer, depth):
    """Return a module of `depth` of these layers, x -> (the last one's answer, the answers of all [depth, ...])."""
    return nn.scan(Layer, {"params": 0}, split_rngs={"params": True}, in_axes=nn.broadcast, length=depth)


class Attention(nn.Module):
    """x [b, tokens, c] -> [b, tokens, c]; `rotation`: of queries and keys."""

    heads: int

    @nn.compact
    def __call__(self, x, rotation):
        c = x.shape[-1]
        cut = lambda a: a.reshape(*x.shape[:2], self.heads, c // self.heads)
        q, k, v = (cut(a) for a in jnp.split(Dense(3 * c, name="qkv")(x), 3, -1))
        q, k = (turned(nn.RMSNorm(2**-23, name=name)(a), rotation) for name, a in (("q", q), ("k", k)))
        return Dense(c, name="out")(attend(q, k, v).reshape(x.shape))


class Gated(nn.Module):
    """x [..., c] -> [..., c] through 8 c / 3 gated units."""

    @nn.compact
    def __call__(self, x):
        c = x.shape[-1]
        gate, y = jnp.split(Dense(8 * c // 3 * 2, name="in")(x), 2, -1)
        return Dense(c, name="out")(nn.silu(gate) * y)


class Block(nn.Module):
    """x [b, tokens, c] -> [b, tokens, c]; scales and gates, of attention, then of the perceptron: [b or 1, 1, c]."""

    heads: int

    @nn.compact
    def __call__(self, x, rotation, scale, gate, next_scale, next_gate):
        x = x + gate * Attention(self.heads)(scale * rms(x), rotation)
        return x + next_gate * Gated()(next_scale * rms(x))


class Styled(nn.Module):
    """A block of G, told a style w [b, 1, c]."""

    heads: int

    @nn.compact
    def __call__(self, x, rotation, w):
        said = nn.Dense(4 * x.shape[-1], kernel_init=glorot(0.1), name="style")(w)
        scale, gate, next_scale, next_gate = jnp.split(said, 4, -1)
        x = Block(self.heads, name="block")(x, rotation, 1 + scale, gate, 1 + next_scale, next_gate)
        return x, x


class Plain(nn.Module):
    """A block of D, with scales and gates of its own."""

    heads: int

    @nn.compact
    def __call__(self, x, rotation):
        starts = {"scale": 1.0, "gate": 0.1, "next_scale": 1.0, "next_gate": 0.1}
        of = lambda name: self.param(name, nn.initializers.constant(starts[name]), (1, 1, x.shape[-1]), jnp.float32)
        return Block(self.heads, name="block")(x, rotation, *map(of, starts)), None


class Drawing(nn.Module):
    """Tokens x [b, tokens, c], style w [b, 1, c] -> [b, tokens, features]: the pixels of each."""

    features: int

    @nn.compact
    def __call__(self, x, w):
        scale = nn.Dense(x.shape[-1], kernel_init=glorot(0.1), name="style")(w)
        return Dense(self.features, name="pixels")((1 + scale) * rms(x))


class Slow(nn.Module):
    """x [..., i] -> [..., features] by weights that Adam moves by `rate` of what it moves others."""

    features: int
    rate: float = 0.01

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", glorot(1 / self.rate), (x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return x @ (kernel * self.rate) + (bias * self.rate).reshape(*[1] * (x.ndim - 1), -1)


class Mapping(nn.Module):
    """Latent z [b, z] and label y [b] -> style w [b, width]."""

    classes: int
    width: int

    @nn.compact
    def __call__(self, z, y, train=True):
        label = nn.Embed(self.classes, z.shape[-1], embedding_init=normal)(y)
        x = nn.silu(Slow(self.width)(jnp.concatenate([pixel_norm(label), pixel_norm(z)], -1)))
        return Slow(self.width)(x)


class Synthesis(nn.Module):
    """Style w [b, width] -> the images of all stages [b, stages, *shape], unbounded; the last one is G's."""

    shape: tuple[int, int, int]
    patch: int = 2
    depth: int = 12  # blocks
    heads: int = 6
    stages: int = 4

    @nn.compact
    def __call__(self, w, train=True):
        (b, width), at = w.shape, places(*self.shape[:2], self.patch)
        if self.depth % self.stages or not self.depth or width % (4 * self.heads):
            raise UserError(
                f"depth {self.depth}, stages {self.stages}, width {width}, heads {self.heads} don't fit: depth must be "
                "a multiple of stages, and width one of 4 * heads."
            )
        w, rotation = nn.silu(w)[:, None], rotations(at, width // self.heads, w.dtype)
        x = jnp.broadcast_to(jnp.asarray(embedded(at, width), w.dtype)[None], (b, len(at), width))
        _, x = stacked(Styled, self.depth)(self.heads, name="blocks")(x, rotation, w)  # [depth, b, tokens, width]
        every = self.depth // self.stages
        Drawings = nn.vmap(Drawing, {"params": 0}, {"params": True}, (0, None), 1)
        x = Drawings(self.patch**2 * self.shape[-1], name="drawings")(x[every - 1 :: every], w)
        return jnp.cumsum(joined(x, self.patch, self.shape), 1)


class G(nn.Module):
    """Latent z [b, z], label y [b] -> (the images of all stages [b, stages, h, w, c], style w [b, width])."""

    mapping: Mapping
    synthesis: Synthesis

    def __call__(self, z, y, train=True):
        w = self.mapping(z, y)
        return self.synthesis(w), w


class D(nn.Module):
    """Images of all stages x [b, stages, h, w, c], label y [b] -> score [b]."""

    classes: int
    patch: int = 2
    width: int = 384
    depth: int = 12  # blocks
    heads: int = 6
    features: int = 2048  # that are compared with the label's

    @nn.compact
    def __call__(self, x, y, train=True):
        at, width = places(*x.shape[2:4], self.patch), self.width
        first = self.param("first", normal, (1, 1, width), jnp.float32)
        x = Dense(width, name="patches")(patches(x, self.patch))
        x = x + jnp.asarray(embedded(at, width), x.dtype)[None]
        x = jnp.concatenate([jnp.broadcast_to(first, (len(x), 1, width)), x], 1)
        rotation = rotations(np.pad(at, [(1, 0), (0, 0)]), width // self.heads, x.dtype)  # of the first token none
        x, _ = stacked(Plain, self.depth)(self.heads, name="blocks")(x, rotation)
        seen = Dense(self.features, name="features")(nn.RMSNorm(1e-6, name="norm")(x[:, 0]))
        label = nn.silu(Slow(self.features)(nn.Embed(self.classes, self.features, embedding_init=normal)(y)))
        return (seen * Slow(self.features)(label)).sum(-1)
