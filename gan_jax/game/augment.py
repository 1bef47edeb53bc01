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
    [
        *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
        *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
        *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
    ]
)


def ada(key, x, p):
    """Return x [b, h, w, c] under the augmentations `bgc` of ADA (Karras et al. 2020, arXiv 2006.06676).

    p: the probability of each of them, by itself, in the order of `draw`; a number or traced. As the authors' code has
    it, but that the image is mirrored at its sides without end (there: once a side, and 0 beyond), of which the margins
    need not be measured. With p = 0 x comes back, but for rounding: the filter is orthogonal to its even shifts. Flips
    and turns, as there, also move each axis that they reverse by 0.1 pixels, since the filter is not quite symmetric.
    Raises UserError for other channels.
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
    of = lambda name: rng.at(key, 0, name)
    flip, turns, right, down, before, after, luma, hue = rng.uniform(of("even"), (8, b), -1)  # in [-1, 1)
    scale, stretch, *move, brightness, contrast, saturation = rng.normal(of("normal"), (7, b))
    sign = lambda even: 1 - 2 * jnp.floor(even + 1)  # 1 or -1, from [-1, 1)
    drawn = {  # name: (what it is where it happens, and where not)
        "flip": (sign(flip), 1),
        "turns": (jnp.floor(2 * turns + 2), 0),
        "shift": (0.125 * jnp.stack([right, down], 1), 0),  # to whole pixels
        "scale": (jnp.exp2(0.2 * scale), 1),
        "before": (math.pi * before, 0),
        "stretch": (jnp.exp2(0.2 * stretch), 1),
        "after": (math.pi * after, 0),
        "move": (0.125 * jnp.stack(move, 1), 0),
        "brightness": (0.2 * brightness, 0),
        "contrast": (jnp.exp2(0.5 * contrast), 1),
        "luma": (sign(luma), 1),
        "hue": (math.pi * hue, 0),
        "saturation": (jnp.exp2(saturation), 1),
    }
    either = 1 - jnp.sqrt(jnp.clip(1 - p, 0, 1))  # of two rotations at least one has then probability p
    chances = rng.uniform(of("happens"), (len(drawn), b))
    for (name, (values, neutral)), u in zip(drawn.items(), chances, strict=True):
        happens = u < (either if name in ("before", "after") else p)
        drawn[name] = jnp.where(happens.reshape(b, *[1] * (values.ndim - 1)), values, neutral)
    return drawn


def affine(drawn, h, w):
    """Return (A [b, 2, 2], t [b, 2]): the pixel at q = (x, y), from the centre, shows what was at A q + t."""
    product = functools.partial(jnp.matmul, precision="highest")
    matrix = lambda *of: jnp.moveaxis(jnp.array(jnp.broadcast_arrays(*of)), 0, -1).reshape(-1, 2, 2)
    rotate = lambda angle: matrix(jnp.cos(angle), -jnp.sin(angle), jnp.sin(angle), jnp.cos(angle))
    scale = lambda x, y: matrix(x, 0, 0, y)

    whole = product(scale(drawn["flip"], 1), rotate(math.pi / 2 * drawn["turns"]))
    stretch = scale(1 / drawn["stretch"], drawn["stretch"]) / drawn["scale"][:, None, None]
    free = product(product(rotate(drawn["before"]), stretch), rotate(drawn["after"]))
    side = jnp.array([[w, h]], jnp.float32)
    shift, move = jnp.round(drawn["shift"] * side)[..., None], (drawn["move"] * side)[..., None]  # [b, 2, 1]
    return product(whole, free), -product(whole, product(free, move) + shift)[..., 0]


def warp(x, a, t):
    """Return x [b, h, w, c] moved by `affine`'s A and t: twice as large, bilinear samples of that, half as large."""
    n = x.shape[1:3]
    up, down = ([matrix.astype(x.dtype) for matrix in both] for both in zip(*map(_resampling, n), strict=True))
    resample = functools.partial(jnp.einsum, "ip,jq,bpqc->bijc", precision="highest", optimize="optimal")
    # In half pixels from the centre; the samples begin 5 before the first pixel, since the filter reaches as far.
    y, x_ = (jnp.arange(-5, 2 * side + 5, dtype=jnp.float32) - (side - 1) for side in n)
    x_, y = x_[None], y[:, None]

    def sample(large, a, t):  # large: [4 (h - 1), 4 (w - 1)], periodic
        of = lambda i: a[i, 0] * x_ + a[i, 1] * y + 2 * t[i]
        return map_coordinates(large, [of(1) + n[0] - 1, of(0) + n[1] - 1], order=1, mode="wrap")

    moved = jax.vmap(jax.vmap(sample, (-1, None, None), -1))(resample(*up, x), a, t)
    return resample(*down, moved.astype(x.dtype))


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
    """Return x [b, h, w, c] under DiffAugment's colour, translation and cutout (Zhao et al. 2020, arXiv 2006.10738)."""
    return cutout(key, translate(key, recolour_evenly(key, x)))


def recolour_evenly(key, x):
    """Return x, each row brighter by up to +-0.5, its saturation times 0 to 2, its contrast times 0.5 to 1.5."""
    between = lambda name, low, high: rng.uniform(rng.at(key, 0, name), (len(x), 1, 1, 1), low, high)
    around = lambda x, axes, factor: (mean := x.mean(axes, keepdims=True)) + factor * (x - mean)
    y = around(x + between("brightness", -0.5, 0.5), -1, between("saturation", 0, 2))
    return around(y, (1, 2, 3), between("contrast", 0.5, 1.5)).astype(x.dtype)


def translate(key, x):
    """Return x, each row moved by whole pixels, by up to an eighth of each side, with 0 beyond."""
    b, h, w, _ = x.shape

    def start(name, reach):
        return jnp.floor(rng.uniform(rng.at(key, 0, name), (b,), 0, 2 * reach + 1)).astype(jnp.int32)

    padded = jnp.pad(x, [(0, 0), (h // 8, h // 8), (w // 8, w // 8), (0, 0)])
    along = jax.lax.dynamic_slice_in_dim
    cut = lambda x, i, j: along(along(x, i, h, 0), j, w, 1)
    return jax.vmap(cut)(padded, start("down", h // 8), start("right", w // 8))


def cutout(key, x):
    """Return x, each row 0 in a rectangle of half of each side, whose centre is anywhere."""
    b, h, w, _ = x.shape

    def inside(name, side):
        size, pixel = side // 2, jnp.arange(side)[None]
        first = jnp.floor(rng.uniform(rng.at(key, 0, name), (b, 1), 0, side + 1 - size % 2)) - size // 2
        return (pixel >= first) & (pixel < first + size)

    rows, columns = inside("rows", h)[:, :, None, None], inside("columns", w)[:, None, :, None]
    return jnp.where(rows & columns, 0, x)
