"""The nets of multi-scale video prediction (Mathieu, Couprie and LeCun 2016, arXiv 1511.05440).

The coarsest scale predicts first. Each further net sees the frames before at its own scale, with twice as many pixels a
side, and adds a correction to what the one before it predicted, enlarged. Each scale has a D of its own, which sees the
frames before and what is said to follow them. Widths are those of the paper's table in parts of its 128.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.nets.conv import Conv
from gan_jax.nets.equalized import upsample

# of each scale, the coarsest first: (maps between layers, kernels)
G_SCALES = (
    ((128, 256, 128), (3, 3, 3, 3)),
    ((128, 256, 128), (5, 3, 3, 5)),
    ((128, 256, 512, 256, 128), (5, 3, 3, 3, 3, 5)),
    ((128, 256, 512, 256, 128), (7, 5, 5, 5, 5, 7)),
)
D_SCALES = (  # (maps, kernels, units of dense layers)
    ((64,), (3,), (512, 256)),
    ((64, 128, 128), (3, 3, 3), (1024, 512)),
    ((128, 256, 256), (5, 5, 5), (1024, 512)),
    ((128, 256, 512, 128), (7, 7, 5, 5), (1024, 512)),
)


def halved(x):
    """Return pictures or clips x [..., h, w, c] with half as many pixels a side: means of four."""
    *others, h, w, c = x.shape
    return x.reshape(*others, h // 2, 2, w // 2, 2, c).mean((-4, -2))


def pyramid(x, scales):
    """Return x [..., h, w, c] at so many scales, the coarsest first, each with twice as many pixels a side."""
    found = [x]
    for _ in range(scales - 1):
        found.append(halved(found[-1]))
    return tuple(found[::-1])


def enlarged(x):
    """Return pictures x [b, h, w, c] with twice as many pixels a side, bilinearly; the border goes on outside."""
    return upsample(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge"))[:, 2:-2, 2:-2]


def stacked(x):
    """Return the frames of x [b, t, h, w, c] as channels: [b, h, w, t c]."""
    return jnp.moveaxis(x, 1, 3).reshape(x.shape[0], *x.shape[2:4], -1)


class G(nn.Module):
    """Frames [b, t, h, w, c] -> the next one at each scale, the coarsest first: [b, h / 2^k, w / 2^k, c].

    Nothing cuts the sums: a number may lie beyond [-1, 1].
    """

    scales: int = 4
    width: int = 128

    @nn.compact
    def __call__(self, frames, train=True):
        found = []
        for seen, (maps, kernels) in zip(pyramid(frames, self.scales), G_SCALES[: self.scales], strict=True):
            before = enlarged(found[-1]) if found else None
            x = stacked(seen) if before is None else jnp.concatenate([stacked(seen), before], 3)
            for n, kernel in zip(maps, kernels[:-1], strict=True):
                x = nn.relu(Conv(max(1, n * self.width // 128), kernel)(x))
            x = jnp.tanh(Conv(frames.shape[-1], kernels[-1])(x))
            found.append(x if before is None else before + x)
        return tuple(found)


class D(nn.Module):
    """(frames [b, t, h, w, c], the next one at each scale) -> scores [b, scales]."""

    width: int = 128

    @nn.compact
    def __call__(self, frames, following, train=True):
        scores, part = [], lambda n: max(1, n * self.width // 128)
        tables = D_SCALES[: len(following)]
        for seen, x, (maps, kernels, units) in zip(pyramid(frames, len(following)), following, tables, strict=True):
            x = jnp.concatenate([stacked(seen), x], 3)
            for n, kernel in zip(maps, kernels, strict=True):
                x = nn.relu(Conv(part(n), kernel, padding="VALID")(x))
            x = nn.max_pool(x, (2, 2), (2, 2)).reshape(len(x), -1)
            for n in units:
                x = nn.relu(nn.Dense(part(n))(x))
            scores.append(nn.Dense(1)(x)[:, 0])
        return jnp.stack(scores, 1)


def gradient_difference(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return how much edges of pictures x [b, h, w, c] are stronger or weaker than those of y: [b].

    The mean of | |dx| - |dy| | over neighbours, of both directions together (the paper's equation 6 with alpha = 1).
    """
    total = 0.0
    for axis in (1, 2):
        a, b = (jnp.abs(jnp.diff(of, axis=axis)) for of in (x, y))
        total += jnp.abs(a - b).mean((1, 2, 3))
    return total
