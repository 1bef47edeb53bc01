"""One picture as an array: upright, in its own colours, whatever its file says; and squares of it."""

import itertools
import math
from typing import Any

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # none that runs programs, as EPS does
PIXELS = 100_000_000  # of a picture, at most: a small file may say that it is huge
ORIENTATION = 0x0112  # the tag of EXIF that says how the camera was held
UPRIGHT = {  # its value -> what makes the array upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def opened(file: Any) -> Image.Image:
    """Return the Pillow picture in a file, a path or one opened for reading, with no pixel decoded.

    Raises ValueError where it is larger than PIXELS, and what Pillow raises where it is of none of FORMATS.
    """
    picture = Image.open(file, formats=FORMATS)
    if math.prod(picture.size) > PIXELS:
        picture.close()
        raise ValueError(f"more than {PIXELS // 10**6} megapixels")
    return picture


def rgb(picture: Image.Image, channels: int) -> np.ndarray:
    """Return a Pillow picture as uint8 [h, w, channels]: 1 is grey (ITU-R 601), 3 is RGB, 4 is RGBA.

    Indices of a palette become its colours, one bit 0 and 255, 16 bits v / 257 rounded; floats are taken to be in
    [0, 1] where all are, else in [0, 255]. What is transparent stands on white, unless 4 channels keep it. CMYK is
    converted without a colour profile. The orientation that EXIF says is applied. Raises ValueError where a picture has
    values or a mode that this leaves open, and what Pillow raises where a file is broken.
    """
    if channels not in (1, 3, 4):
        raise ValueError(f"a picture has 1, 3 or 4 channels, not {channels}")
    picture.load()  # a PNG may say its orientation behind its pixels
    upright = UPRIGHT.get(orientation(picture), lambda a: a)
    if picture.mode[0] in "IF":  # I, I;16 of either byte order, and F
        picture = _of_many_bits(picture)
    picture = picture if channels == 4 else _over_white(picture)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    a = np.asarray(picture if picture.mode == mode else picture.convert(mode))
    return np.ascontiguousarray(upright(a.reshape(*a.shape[:2], channels)))


def size_of(picture: Image.Image) -> tuple[int, int]:
    """Return height and width of a picture, upright."""
    if picture.format == "PNG":
        picture.load()
    return picture.size if orientation(picture) in (5, 6, 7, 8) else picture.size[::-1]


def orientation(picture: Image.Image) -> int:
    """Return what EXIF or XMP say of how the camera was held, 1 (upright) where they say nothing."""
    # to ask `getexif` takes as long as a quarter of a small picture's decoding
    if picture.format in ("PNG", "JPEG") and not any("exif" in key or "xmp" in key for key in picture.info):
        return 1
    return picture.getexif().get(ORIENTATION, 1)


def indices(picture: Image.Image) -> np.ndarray:
    """Return the numbers [h, w] that a picture of one channel holds, int32: of a palette the indices, not the colours.

    Raises ValueError where it has several channels.
    """
    a = np.asarray(picture)
    if a.ndim != 2 or picture.mode == "F":
        raise ValueError(f"a map of labels has one channel of whole numbers, not mode {picture.mode}")
    return a.astype(np.int32)


def _of_many_bits(picture):
    """Return a picture of more than 8 bits a pixel as one of 8, grey."""
    v = np.asarray(picture).astype(np.float64)
    scaled = v / 257 if picture.mode != "F" else v * (255 if v.max() <= 1 else 1)
    if not (scaled.min() >= 0 and scaled.max() <= 255):  # NaN is neither
        raise ValueError(f"the values of a picture of mode {picture.mode} are from {v.min():g} to {v.max():g}")
    grey = np.rint(scaled)
    if "transparency" in picture.info:
        grey[v == picture.info["transparency"]] = 255
    return Image.fromarray(grey.astype(np.uint8))


def _over_white(picture):
    """Return a picture of which nothing is transparent: c alpha + white (1 - alpha), rounded."""
    if "A" not in picture.mode.upper().replace("LAB", "") and "transparency" not in picture.info:
        return picture
    a = np.asarray(picture.convert("RGBA")).astype(np.uint16)
    colour, alpha = a[..., :3], a[..., 3:]
    return Image.fromarray(((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8))


def square(a: np.ndarray, size: int) -> np.ndarray:
    """Return the middle square of a picture [h, w, c], uint8, averaged over areas to [size, size, c]; halves round up.

    Areas and sums are whole numbers, so the bits are the same everywhere. A picture that is enlarged shows its pixels.
    """
    a = middle(a)
    n = len(a)
    if n == size:
        return a
    total = _sums(_sums(a, size).swapaxes(0, 1), size).swapaxes(0, 1)
    # halves up, in whole numbers
    mean = (2 * total + n**2) // (2 * n**2) if a.dtype == np.uint8 else total / n**2
    return np.ascontiguousarray(mean).astype(a.dtype)


def _sums(a, size):
    """Return the sums [size, ...] of a [n, ...] over `size` equal stretches of its first axis; each row weighs size.

    Stretch j is from j n / size to (j + 1) n / size: whole rows from f_j to f_j+1, without r_j of the first one and
    with r_j+1 of the one after the last.
    """
    n, narrow = len(a), a.dtype == np.uint8
    wide = np.int64 if a.dtype.kind in "iu" else np.float64
    f, r = np.divmod(np.arange(size + 1) * n, size)
    rows = [np.add.reduce(a[i:j], 0, np.uint32 if narrow else wide) for i, j in itertools.pairwise(f)]
    of = lambda one: one.reshape(-1, *[1] * (a.ndim - 1))
    first, after = a[f[:-1]].astype(wide), a[np.minimum(f[1:], n - 1)].astype(wide)
    return size * np.stack(rows).astype(wide) - of(r[:-1]) * first + of(r[1:]) * after


def square_map(a: np.ndarray, size: int) -> np.ndarray:
    """Return the middle square of a map of labels [h, w] as [size, size], the pixel in each area's middle."""
    a = middle(a)
    at = (2 * np.arange(size) + 1) * len(a) // (2 * size)
    return a[np.ix_(at, at)]


def middle(a: np.ndarray) -> np.ndarray:
    """Return the middle square of a picture [h, w, ...]; where a row or column is over, it falls at the end."""
    side = min(a.shape[:2])
    top, left = (a.shape[0] - side) // 2, (a.shape[1] - side) // 2
    return np.ascontiguousarray(a[top : top + side, left : left + side])
