"""A photo edited by a stroke of a brush, as in the Neural Photo Editor (Brock et al. 2017, arXiv 1609.07093)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.nets.conv import conv


def within(shape: tuple[int, ...], top: float, bottom: float, left: float, right: float) -> np.ndarray:
    """Return where a bar is on pictures [h, w, ...]: [h, w, 1], 1 there, 0 elsewhere; one pixel at least.

    Its ends are parts of the picture's height and width, in [0, 1].
    """

    def along(n, start, end):
        first = min(int(start * n), n - 1)
        return (np.arange(n) >= first) & (np.arange(n) < max(round(end * n), first + 1))

    return np.float32(along(shape[0], top, bottom)[:, None] & along(shape[1], left, right)[None])[..., None]


def edited(decode: Callable, z: jax.Array, x: jax.Array, bar: tuple, level: float, moves: int):
    """Return (numbers, pictures {name: [n, h, w, c]}) of photos x [n, h, w, c], edited by a stroke of one level.

    decode: codes -> pictures, row by row; z [n, z]: the codes of x. bar: where the stroke is, as `within` has it.
    level: of the stroke, 0 is black and 1 white. moves: of z. The numbers are, in parts of the way from black to white,
    how far the photos are off the level under the stroke ("stroke/before"), how far once edited ("stroke/after"), and
    how far they have gone elsewhere.
    """
    colour, where = 2 * level - 1, within(x.shape[1:], *bar)
    before, after = decode(z), decode(moved(decode, z, where, colour, moves))
    made = merged(before, after, x)
    mean = lambda a, mask: (jnp.abs(a) * mask[None]).sum() / (max(mask.sum(), 1) * len(x) * x.shape[3]) / 2
    found = {"stroke/before": mean(x - colour, where), "stroke/after": mean(made - colour, where)}
    found["stroke/elsewhere"] = mean(made - x, 1 - where)
    painted = jnp.where(where[None] > 0, jnp.asarray(colour, x.dtype), x)
    return found, {"stroke": painted, "G_before": before, "G_after": after, "edited": made}


def moved(decode: Callable, z: jax.Array, where: np.ndarray, colour: float, moves: int, rate: float = 0.05):
    """Return codes z [n, z] after gradient steps down the mean square of decode(z) - colour where the stroke is.

    The rate is multiplied by the stroke's width in pixels, plus 1.
    """

    def off(z):
        x = decode(z)
        return (where[None] * (x - colour) ** 2).sum() / (where.sum() * x.shape[3])  # a row's gradient is its own

    rate = np.float32(rate * (1 + where.max(0).sum()))
    return jax.lax.fori_loop(0, moves, lambda _, z: z - rate * jax.grad(off)(z), z)


def merged(before: jax.Array, after: jax.Array, x: jax.Array) -> jax.Array:
    """Return photos x with the change from `before`, their reconstructions, to `after`; all [n, h, w, c] in [-1, 1].

    M is the change's size, blurred: the photo takes over M times the change, and keeps 1 - M of what the reconstruction
    missed.
    """
    change = after - before
    m = _blurred(jnp.minimum(jnp.abs(change).mean(3, keepdims=True), 1))
    return jnp.clip(before + m * change + (1 - m) * (x - before), -1, 1)


def _blurred(m, deviation=0.7, reach=3):
    """Return m [n, h, w, 1] after a Gaussian filter; the border is mirrored."""
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    kernel = np.outer(taps, taps)[..., None, None] / taps.sum() ** 2
    around = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    return conv(jnp.pad(m, around, "symmetric"), jnp.asarray(kernel, m.dtype), padding="VALID")
