"""Filters of pictures as whole numbers, levels of 0 to 255: exact, so the same bits in every program."""

import jax
import jax.numpy as jnp
import numpy as np


def area(v: jax.Array, factor: int) -> jax.Array:
    """Return v [..., h, w, c] smaller by a factor that divides both sides: means, halves up."""
    *others, h, w, c = v.shape
    total = v.reshape(*others, h // factor, factor, w // factor, factor, c).sum((-4, -2))
    return (2 * total + factor**2) // (2 * factor**2)


def squares(v: jax.Array, starts: jax.Array, sizes: jax.Array, side: int) -> jax.Array:
    """Return a square of each of v [b, h, w, c] at `side` pixels [b, side, side, c]: means by area, halves up.

    It begins at `starts` [b, (y, x)] and has `sizes` [b] pixels, at most 2048, a side.
    """

    def shares(axis):
        """Of each new pixel in each old one, in units of 1 / side of an old pixel: [b, side, old]."""
        low = (side * starts[:, axis, None] + sizes[:, None] * np.arange(side, dtype=np.int32)[None])[..., None]
        old = side * np.arange(v.shape[1 + axis], dtype=np.int32)[None, None]
        return jnp.maximum(jnp.minimum(low + sizes[:, None, None], old + side) - jnp.maximum(low, old), 0)

    total = jnp.einsum("bjw,biwc->bijc", shares(1), jnp.einsum("bih,bhwc->biwc", shares(0), v))
    square = (sizes**2)[:, None, None, None]
    return (2 * total + square) // (2 * square)


def bicubic(v: jax.Array, factor: int) -> jax.Array:
    """Return v [..., h, w, c] smaller by a factor, bit for bit as Pillow makes it."""
    for axis in (-2, -3):  # Pillow's order
        at, weights = _taps(v.shape[axis], factor)
        near = jnp.moveaxis(v, axis, -1)[..., at]  # [..., smaller, taps]
        v = jnp.moveaxis((near * weights.reshape((1,) * (near.ndim - weights.ndim) + weights.shape)).sum(-1), -1, axis)
        v = jnp.clip((v + (1 << 21)) >> 22, 0, 255)
    return v


def _taps(size, factor):
    """Return which pixels make each smaller one, and their weights in units of 2^-22: [size / factor, taps] of both."""
    offsets = np.arange(4 * factor + 1) - 2 * factor
    centres = (np.arange(size // factor) + 0.5) * factor
    at = np.int32(centres)[:, None] + offsets
    t = np.abs(at + 0.5 - centres[:, None]) / factor
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    weights = np.where(t < 1, near, np.where(t < 2, far, 0)) * ((at >= 0) & (at < size))
    weights /= weights.sum(1, keepdims=True)
    return at.clip(0, size - 1), np.int32(np.trunc(weights * 2**22 + np.copysign(0.5, weights)))


def matlab(v: jax.Array, factor: int) -> jax.Array:
    """Return v [..., h, w, c] smaller by a factor, at most 16, as MATLAB's `imresize` makes it of 8-bit pictures."""
    for axis in (-3, -2):  # its order; it rounds after each axis
        at, weights, unit = _mirrored_taps(v.shape[axis], factor)
        near = jnp.moveaxis(v, axis, -1)[..., at]  # [..., smaller, taps]
        v = jnp.moveaxis((near * weights.reshape((1,) * (near.ndim - 1) + (-1,))).sum(-1), -1, axis)
        v = jnp.clip((v + unit // 2) // unit, 0, 255)
    return v


def _mirrored_taps(size, factor):
    """Return which pixels make each smaller one [size / factor, taps], mirrored at the border; their weights; 1."""
    k, f = np.arange(4 * factor) - 3 * factor // 2, factor
    o = np.abs(2 * k - f + 1)  # from the middle of the smaller pixel, in half pixels
    near, far = 3 * o**3 - 10 * f * o**2 + 16 * f**3, -(o**3) + 10 * f * o**2 - 32 * f**2 * o + 32 * f**3
    at = (f * np.arange(size // f)[:, None] + k[None]) % (2 * size)
    return np.int32(np.where(at < size, at, 2 * size - 1 - at)), np.int32(np.where(o < 2 * f, near, far)), 16 * f**4


def enlarged(v: jax.Array, sides: tuple[int, int]) -> jax.Array:
    """Return v [..., h, w, c] at other sides, none smaller, bilinear: bit for bit as Pillow makes it."""
    for axis, m in zip((-2, -3), reversed(sides), strict=True):  # Pillow's order
        at, weights = _between(v.shape[axis], m)
        near = jnp.moveaxis(v, axis, -1)[..., at]  # [..., m, 2]
        v = jnp.moveaxis((near * weights.reshape((1,) * (near.ndim - 2) + weights.shape)).sum(-1), -1, axis)
        v = (v + (1 << 21)) >> 22
    return v


def _between(n, m):
    """Return which two of n pixels make each of m, and their weights in units of 2^-22: [m, 2] of both."""
    place = (np.arange(m) + 0.5) * n / m - 0.5
    at = np.floor(place)[:, None] + np.arange(2)
    weights = (1 - np.abs(place[:, None] - at)) * ((at >= 0) & (at < n))
    weights /= weights.sum(1, keepdims=True)
    return np.int32(at.clip(0, n - 1)), np.int32(np.trunc(weights * 2**22 + 0.5))


def nearest(a: jax.Array, sides: tuple[int, int]) -> jax.Array:
    """Return a map of labels [..., h, w] at other sides, each with the label of the pixel that its middle is in."""
    for axis, m in zip((-1, -2), reversed(sides), strict=True):
        a = jnp.take(a, (2 * np.arange(m) + 1) * a.shape[axis] // (2 * m), axis)
    return a


def sobel(v: jax.Array) -> jax.Array:
    """Return the length of the Sobel gradient of v [b, h, w], a quarter of it and at most 255: [b, h, w, 1]."""
    dy, dx = _gradient(v)
    return jnp.minimum(jnp.round(jnp.sqrt((dy**2 + dx**2).astype(np.float32)) / 4), 255)[..., None]


def thin_edges(v: jax.Array, low: int = 100, high: int = 200) -> jax.Array:
    """Return the edges of v [b, h, w] as lines of one pixel, 0 and 255 [b, h, w, 1], in Canny's way (1986)."""
    blurred = (_filtered(_filtered(v, (1, 4, 6, 4, 1), -2), (1, 4, 6, 4, 1), -1) + 8) >> 4  # in 1/16 of a level
    dy, dx = _gradient(blurred)
    length = dy**2 + dx**2  # at most 2 * 16,320^2, which is less than 2^31
    around = _neighbours(length)
    # the tangent of 22.5 degrees is 408 / 985
    flat, steep = 985 * abs(dy) < 408 * abs(dx), 985 * abs(dx) < 408 * abs(dy)
    falling = (dy > 0) == (dx > 0)  # the gradient goes to the lower right, or to the upper left
    across = lambda y, x: (length > around[-y, -x]) & (length >= around[y, x])
    diagonal = jnp.where(falling, across(1, 1), across(1, -1))
    ridge = jnp.where(flat, across(0, 1), jnp.where(steep, across(1, 0), diagonal))
    weak, strong = (ridge & (length > (16 * bound) ** 2) for bound in (low, high))

    def grown(state):
        lines, _ = state
        return weak & _dilated(_dilated(lines, -2), -1), lines

    lines, _ = jax.lax.while_loop(lambda state: (state[0] != state[1]).any(), grown, (strong, jnp.zeros_like(strong)))
    return lines[..., None] * 255


def _gradient(v):
    """Return Sobel's derivatives down and to the right of v [..., h, w]; the border is repeated."""
    derivative = lambda along, across: _filtered(_filtered(v, (-1, 0, 1), along), (1, 2, 1), across)
    return derivative(-2, -1), derivative(-1, -2)


def _filtered(v, taps, axis):
    reach, size = len(taps) // 2, v.shape[axis]
    widths = [(0, 0)] * v.ndim
    widths[axis] = (reach, reach)
    padded = jnp.pad(v, widths, "edge")
    return sum(tap * jax.lax.slice_in_dim(padded, k, k + size, axis=axis % v.ndim) for k, tap in enumerate(taps))


def _dilated(lines, axis):
    widths = [(1, 1) if k == axis % lines.ndim else (0, 0) for k in range(lines.ndim)]
    padded, size = jnp.pad(lines, widths), lines.shape[axis]
    a, b, c = (jax.lax.slice_in_dim(padded, k, k + size, axis=axis % lines.ndim) for k in range(3))
    return a | b | c


def _neighbours(v):
    """Return {(y, x): what stands y below and x to the right of each place of v [b, h, w]}, itself too; 0 outside."""
    padded = jnp.pad(v, ((0, 0), (1, 1), (1, 1)))
    h, w = v.shape[1:]
    return {(y, x): padded[:, 1 + y : 1 + y + h, 1 + x : 1 + x + w] for y in (-1, 0, 1) for x in (-1, 0, 1)}
