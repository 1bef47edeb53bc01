"""Augmentations of what D sees, through which G's gradient passes: ADA's with its controller, and DiffAugment's.

Reals and fakes are augmented alike, in D's loss and in G's; x: [b, h, w, c] in [-1, 1], grey or RGB. Both functions
can be differentiated as often as x's use asks for. A row's augmentation does not depend on the other rows.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from gan_jax.errors import UserError
from gan_jax.game import rng

# The low-pass filter of the wavelet "symlet 6" (Daubechies 1992), whose squares sum to 1.
SYM6 = np.array(
    [0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633]
    + [0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252]
    + [-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148]
)


def ada(key, x, p):
    """Return x [b, h, w, c] under the augmentations `bgc` of ADA (Karras et al. 2020, arXiv 2006.06676).

    p: the probability of each of them, by itself, in the order of `draw`; a number or traced. As the authors' code has
    it, but that the image is mirrored at its sides without end (there: once a side, and 0 beyond), of which the margins
    need not be measured. With p = 0 x comes back, but for rounding: the filter is orthogonal to its even shifts. A flip
    or a turn is not exact to the pixel, since the filter is not quite symmetric. Raises UserError for other channels.
    """
    if x.shape[-1] not in (1, 3):
        raise UserError(f"ADA augments grey and RGB images; these have {x.shape[-1]} channels.")
    drawn = draw(key, len(x), p)
    return recolour(warp(x, *affine(drawn, *x.shape[1:3])), drawn)


def draw(key, b, p):
    """Return what is done to each of b images, in ADA's order: name -> [b], of shifts [b, 2] (along x, along y).

    Where an augmentation does not happen its number is neutral. Scales and contrasts are factors, angles radians,
    shifts shares of a side, `turns` quarters of a turn. Hue and saturation do nothing to grey.
    """
    normal = lambda name, *shape: rng.normal(rng.at(key, 0, name), (b, *shape))
    even = lambda name, *shape: rng.uniform(rng.at(key, 0, name), (b, *shape), -1)  # in [-1, 1)

    def maybe(name, values, neutral, p=p):
        happens = rng.uniform(rng.at(key, 1, name), (b, *[1] * (values.ndim - 1))) < p
        return jnp.where(happens, values, neutral)

    either = 1 - jnp.sqrt(jnp.clip(1 - p, 0, 1))  # of two rotations at least one has then probability p
    return {
        "flip": maybe("flip", jnp.where(even("flip") < 0, -1.0, 1.0), 1),
        "turns": maybe("turns", jnp.floor(2 * even("turns") + 2), 0),
        "shift": maybe("shift", 0.125 * even("shift", 2), 0),  # to whole pixels
        "scale": maybe("scale", jnp.exp2(0.2 * normal("scale")), 1),
        "before": maybe("before", math.pi * even("before"), 0, either),
        "stretch": maybe("stretch", jnp.exp2(0.2 * normal("stretch")), 1),
        "after": maybe("after", math.pi * even("after"), 0, either),
        "move": maybe("move", 0.125 * normal("move", 2), 0),
        "brightness": maybe("brightness", 0.2 * normal("brightness"), 0),
        "contrast": maybe("contrast", jnp.exp2(0.5 * normal("contrast")), 1),
        "luma": maybe("luma", jnp.where(even("luma") < 0, -1.0, 1.0), 1),
        "hue": maybe("hue", math.pi * even("hue"), 0),
        "saturation": maybe("saturation", jnp.exp2(normal("saturation")), 1),
    }


def affine(drawn, h, w):
    """Return (A [b, 2, 2], t [b, 2]): the pixel at q = (x, y), from the centre, shows what was at A q + t."""
    product = functools.partial(jnp.matmul, precision="highest")
    matrix = lambda *of: jnp.moveaxis(jnp.array(jnp.broadcast_arrays(*of)), 0, -1).reshape(-1, 2, 2)
    rotate = lambda angle: matrix(jnp.cos(angle), -jnp.sin(angle), jnp.sin(angle), jnp.cos(angle))
    scale = lambda x, y: matrix(x, 0, 0, y)

    whole = product(scale(drawn["flip"], 1), rotate(math.pi / 2 * drawn["turns"]))
    stretch = scale(1 / drawn["stretch"], drawn["stretch"]) / drawn["scale"][:, None, None]
    free = product(product(rotate(drawn["before"]), stretch), rotate(drawn["after"]))
    side = jnp.array([w, h], jnp.float32)
    shift, move = (jnp.round(drawn["shift"] * side)[..., None], (drawn["move"] * side)[..., None])  # [b, 2, 1]
    return product(whole, free), -product(whole, product(free, move) + shift)[..., 0]


def warp(x, a, t):
    """Return x [b, h, w, c] moved by `affine`'s A and t: twice as large, bilinear samples of that, half as large."""
    (up_y, down_y), (up_x, down_x) = map(_resampling, x.shape[1:3])
    between = functools.partial(jnp.einsum, "ip,jq,bpqc->bijc", precision="highest", optimize="optimal")
    h, w = x.shape[1:3]
    # From the centre, in half pixels; the grid begins 5 before the first pixel, since the filter reaches as far.
    y, x_ = (jnp.arange(-5, 2 * n + 5, dtype=jnp.float32) - (n - 1) for n in (h, w))

    def sample(large, a, t):  # [4 (h - 1), 4 (w - 1)], periodic
        at = [
            row[0] * x_[None] + row[1] * y[:, None] + 2 * add + n - 1 for row, add, n in zip(a, t, (w, h), strict=True)
        ]
        return map_coordinates(large, at[::-1], order=1, mode="wrap")

    over_channels = jax.vmap(sample, (-1, None, None), -1)
    moved = jax.vmap(over_channels)(between(up_y.astype(x.dtype), up_x.astype(x.dtype), x), a, t)
    return between(down_y.astype(x.dtype), down_x.astype(x.dtype), moved.astype(x.dtype))


@functools.cache
def _resampling(n):
    """Return (up [4 (n - 1), n], down [n, 2 n + 10]): the filter, for a side of n pixels, as matrices.

    up: one period, twice as fine, of the pixels mirrored at both ends; entry 2 j stands where pixel j does. down: of
    samples that begin 5 before pixel 0.
    """
    taps, period = SYM6 / SYM6.sum(), max(2 * (n - 1), 1)
    up, down = np.zeros((2 * period, n)), np.zeros((n, 2 * n + 10))
    for i in range(2 * period):
        for j in range(-(-(i - 6) // 2), (i + 5) // 2 + 1):
            up[i, min(j % period, period - j % period)] += 2 * taps[i + 5 - 2 * j]
    for i in range(n):
        down[i, 2 * i : 2 * i + 12] = taps
    return up, down


def recolour(x, drawn):
    """Return x [b, h, w, c] brighter, with another contrast, its grey part flipped, its colours turned and scaled."""
    each = {name: values.reshape(-1, *[1] * (x.ndim - 1)) for name, values in drawn.items() if values.ndim == 1}
    lit = x + each["brightness"]
    grey = lit.mean(-1, keepdims=True)
    colour = lit - grey  # orthogonal to the axis (1, 1, 1), about which hue turns; 0 where x is grey
    across = (jnp.roll(colour, -2, -1) - jnp.roll(colour, -1, -1)) / math.sqrt(3)  # the axis x colour
    turned = jnp.cos(each["hue"]) * colour + jnp.sin(each["hue"]) * across
    return (each["contrast"] * (each["luma"] * grey + each["saturation"] * turned)).astype(x.dtype)


def controller(p, signs, real_score, step, target=0.6, every=4, images=500_000):
    """Return (p, signs) after this batch: ADA's probability rises while D's scores of reals have too often one sign.

    p, signs: scalars, 0 at the start; real_score [b]: D's scores of augmented reals. step: how many batches there were
    before. r_t is the mean of sign(D(real)) over the `every` batches since p was last moved; p goes by as much as leads
    from 0 to 1 within `images` reals, up where r_t is above `target`, down where below. It is never negative; it has
    no other bound, as in the authors' code. For transfer they take 100,000 images.
    """
    signs = signs + jnp.sign(real_score).mean()
    moved = jnp.maximum(p + jnp.sign(signs / every - target) * (real_score.size * every / images), 0)
    due = (step + 1) % every == 0
    return jnp.where(due, moved, p), jnp.where(due, 0, signs)


def diff_augment(key, x):
    """Return x [b, h, w, c] under DiffAugment's colour, translation and cutout (Zhao et al. 2020, arXiv 2006.10738).

    Each row has its own: brightness +-0.5, saturation x 0 to 2, contrast x 0.5 to 1.5, a shift of up to an eighth of
    each side with 0 beyond, and a square of half of each side set to 0, its centre anywhere.
    """
    b, h, w, c = x.shape
    between = lambda name, low, high: rng.uniform(rng.at(key, 0, name), (b, 1, 1, 1), low, high)
    around = lambda x, axes, factor: x.mean(axes, keepdims=True) * (1 - factor) + x * factor
    y = x + between("brightness", -0.5, 0.5)
    y = around(y, -1, between("saturation", 0, 2))
    y = around(y, (1, 2, 3), between("contrast", 0.5, 1.5))

    reach = h // 8, w // 8
    start = [
        jnp.floor(between(name, 0, 2 * r + 1)).astype(jnp.int32).ravel() for name, r in zip("yx", reach, strict=True)
    ]
    y = jnp.pad(y, [(0, 0), *((r, r) for r in reach), (0, 0)])
    y = jax.vmap(lambda x, i, j: jax.lax.dynamic_slice(x, (i, j, 0), (h, w, c)))(y, *start)

    def inside(name, n):  # the rows, or columns, of the square
        size = n // 2
        first = jnp.floor(between(name, 0, n + 1 - size % 2)).reshape(b, 1) - size // 2
        return (jnp.arange(n) >= first) & (jnp.arange(n) < first + size)

    cut = inside("cut y", h)[:, :, None, None] & inside("cut x", w)[:, None, :, None]
    return jnp.where(cut, 0, y).astype(x.dtype)
