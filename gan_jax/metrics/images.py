"""Metrics of images themselves, [n, h, w, c] in [-1, 1], without any extractor, on the host."""

import numpy as np
from scipy import ndimage

from gan_jax.errors import UserError
from gan_jax.metrics.features import along_axes, at_least

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # the exponents of MS-SSIM, from the finest scale on
WINDOW, SIGMA = 11, 1.5  # pixels, of its Gaussian
TAPS = np.array([1, 4, 6, 4, 1]) / 16  # the binomial filter of the Laplacian pyramid


def ms_ssim(x, y):
    """Return the multi-scale structural similarity of each pair of images, x and y [n, h, w, c]: [n], in [0, 1].

    Wang, Simoncelli and Bovik 2003 (no arXiv id); 1 for equal images. Five scales, a Gaussian window without borders,
    terms averaged over pixels and channels and cut at 0, as in PGGAN's code (Karras et al. 2018, arXiv 1710.10196): the
    window shrinks, and its sigma alike, where a scale is smaller than 11 pixels. Where a side is odd its last line is
    doubled before it is halved. Images of 16 pixels or more.
    Diversity of a class's samples, Odena et al. 2017, arXiv 1610.09585: `ms_ssim(x[0::2], x[1::2]).mean()`, low is
    diverse; it means something beside that of real images.
    """
    x, y = (np.asarray(a) for a in (x, y))
    if x.shape != y.shape or x.ndim != 4:
        raise ValueError(f"MS-SSIM is of two equally shaped sets [n, h, w, c], not {x.shape} and {y.shape}.")
    if min(x.shape[1:3]) < 2 ** (len(SCALES) - 1):
        raise UserError(f"MS-SSIM has {len(SCALES)} scales: images of {x.shape[1]}x{x.shape[2]} are too small for it.")
    values = np.ones(len(x))
    for start in range(0, len(x), 256):
        these = slice(start, start + 256)
        a, b = ((a[these].astype(np.float64) + 1) / 2 for a in (x, y))  # the dynamic range is 1
        for i, exponent in enumerate(SCALES):
            ssim, contrast = _similarity(a, b)
            values[these] *= (ssim if i == len(SCALES) - 1 else contrast).clip(0) ** exponent
            a, b = _halved(a), _halved(b)
    return values


def _similarity(a, b):
    """Return means over pixels and channels of the SSIM and of its contrast-structure factor: [n], [n]."""
    size = min(WINDOW, *a.shape[1:3])
    offsets = np.arange(size) - (size - 1) / 2
    window = np.exp(-(offsets**2) / (2 * (SIGMA * size / WINDOW) ** 2))
    blur = lambda x: _filtered(x, window / window.sum())
    mean_a, mean_b = blur(a), blur(b)
    covariance = blur(a * b) - mean_a * mean_b
    variances = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
    contrast = (2 * covariance + 0.03**2) / (variances + 0.03**2)
    luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return (luminance * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


def _filtered(x, window):
    """Return x [n, h, w, c] filtered with window [k] along h and w, where the window lies inside."""
    for axis in (1, 2):
        x = np.lib.stride_tricks.sliding_window_view(x, len(window), axis) @ window
    return x


def _halved(x):
    """Return the means of 2x2 pixels; an odd last line counts twice."""
    x = np.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), "edge")
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def sliced_wasserstein(real, fake, patches=128, directions=512, seed=0):
    """Return {"swd_<height>": value for each level, "swd": their mean}, times 1000, for real and fake [n, h, w, c].

    Karras et al. 2018, arXiv 1710.10196: `patches` places an image, 7x7 pixels of each level of the Laplacian pyramid
    down to 16 pixels (at least of the first level), each channel of a level and set with mean 0 and deviation 1; the
    mean Wasserstein-1 distance along `directions` random unit vectors. >= 0 and low is good; equal distributions don't
    reach 0, so set it beside that of two halves of the data. As many fakes as reals (16,384 of each there). A level's
    brightness and contrast are taken out; other settings give other numbers.
    """
    at_least(1, patches=patches, directions=directions)
    real, fake = (np.asarray(a, np.float32) for a in (real, fake))
    if real.ndim != 4 or real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"the sets must be [n, h, w, c] of one shape, not {real.shape} and {fake.shape}.")
    if len(real) != len(fake):
        raise UserError(f"{len(real)} real images and {len(fake)} fakes: this distance needs as many of each.")
    if min(real.shape[1:3]) < 7:
        raise UserError(f"the patches are 7x7: images of {real.shape[1]}x{real.shape[2]} are too small.")
    rng, values = np.random.default_rng(seed), {}
    for levels in zip(*(_pyramid(x) for x in (real, fake)), strict=True):
        descriptors = (_descriptors(level, patches, rng) for level in levels)
        values[f"swd_{levels[0].shape[1]}"] = 1000 * along_axes(*descriptors, directions, rng)
    return {**values, "swd": float(np.mean(list(values.values())))}


def _pyramid(x):
    """Yield the levels of the Laplacian pyramid of x [n, h, w, c], the finest first; the last is the low-pass rest."""
    while min(x.shape[1:3]) >= 32:
        small = _binomial(x)[:, ::2, ::2]
        spread = np.zeros_like(x)
        spread[:, ::2, ::2] = small
        yield x - 4 * _binomial(spread)
        x = small
    yield x


def _binomial(x):
    for axis in (1, 2):
        x = ndimage.correlate1d(x, TAPS, axis, mode="mirror")
    return x


def _descriptors(level, patches, rng):
    """Return 7x7 patches at random places of a level [n, h, w, c], normalised by channel: [n * patches, 49 c]."""
    n, h, w, _ = level.shape
    top, left = (rng.integers(0, side - 6, (n, patches)) for side in (h, w))
    views = np.lib.stride_tricks.sliding_window_view(level, (7, 7), (1, 2))  # [n, h - 6, w - 6, c, 7, 7]
    found = views[np.arange(n)[:, None], top, left].reshape(n * patches, -1, 49)
    found -= found.mean((0, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.square(found).mean((0, 2), keepdims=True, dtype=np.float64)).astype(np.float32)
    return (found / np.where(deviation == 0, 1, deviation)).reshape(len(found), -1)
