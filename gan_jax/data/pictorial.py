"""Features that have pixels, as columns: images, clips, voxels, maps of labels."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from gan_jax.data import pictures
from gan_jax.data.column import Column, Look
from gan_jax.data.source import Field
from gan_jax.data.stored import Split
from gan_jax.errors import UserError


def opened(stored: bytes) -> Image.Image:
    """Return the Pillow picture that a file's bytes are. Raises ValueError where they are none that we read."""
    try:
        return pictures.opened(io.BytesIO(stored))
    except UnidentifiedImageError:
        raise ValueError(f"it is no picture ({', '.join(pictures.FORMATS)})") from None


def several(split: Split, path: str, features: dict) -> list:
    """Return the sizes [h, w] of a split's pictures; of several no more than the first two."""

    def make():
        seen = []
        for size in split.each(path, features, lambda stored: list(pictures.size_of(opened(stored)))):
            if size not in seen:
                seen.append(size)
            if len(seen) == 2:
                break
        return seen

    return split.learnt(("sizes", path), make)


def _side(look) -> tuple[int, int, int, bool]:
    """Return height, width and channels of the pictures, and whether they had to be looked at."""
    h, w, channels = look.feature.connector.shape[-3:]
    channels = channels or 3
    if look.asked.size:
        return look.asked.size, look.asked.size, channels, False
    if h and w:
        return h, w, channels, False
    sizes, name = several(look.train, look.path, look.features), look.train.name
    if len(sizes) != 1:
        raise UserError(
            f"the images of {name} have several sizes{''.join(', ' + by(size) for size in sizes)} among them.\n"
            f"Say {name},size=64: their middle squares are cut and shrunk to that side."
        )
    return *sizes[0], channels, True


def by(size: Sequence[int]) -> str:
    """Return a size as words: 64x48, height first."""
    return "x".join(map(str, size))


def _fitted(look, shape):
    """Return the function: array [h, w, c] or map [h, w] -> the same of the asked size."""
    size = look.asked.size

    def fit(a):
        if size:
            a = (pictures.square if a.ndim == 3 else pictures.square_map)(a, size)
        if a.shape != shape:
            raise ValueError(f"{look.path} is {by(a.shape)}, not {by(shape)}")
        return a

    return fit


def image(look: Look) -> Column:
    """Return the column of an image."""
    h, w, channels, measured = _side(look)
    fit = _fitted(look, (h, w, channels))
    if look.feature.is_picture:
        make = lambda stored: fit(pictures.rgb(opened(stored), channels))
    else:
        make = lambda a: fit(_bytes_of(a))
    return Column((look.path,), Field((h, w, channels), "image"), make, measured=measured)


def _bytes_of(a):
    """Return an array of bytes, or of truth values as 0 and 255, as uint8."""
    a = np.asarray(a)
    return a * np.uint8(255) if a.dtype == np.bool_ else a


def video(look: Look) -> Column:
    """Return the column of a clip."""
    shape, one = _clip(look)
    t, *frame = shape
    if look.asked.size:
        frame[:2] = look.asked.size, look.asked.size
    fit = _fitted(look, tuple(frame))

    def make(stored):
        made = np.stack([fit(frame) for frame in one(stored)])
        if len(made) != t:
            raise ValueError(f"{look.path} has {len(made)} frames, not {t}")
        return made

    return Column((look.path,), Field((t, *frame), "video"), make)


def _clip(look):
    """Return the shape [t, h, w, c] of a clip as it is stored, and the function that gives its frames."""
    shape, is_picture = tuple(look.feature.connector.shape), look.feature.is_picture
    read = (lambda stored: pictures.rgb(opened(stored), shape[-1])) if is_picture else _bytes_of
    if len(shape) == 4:
        return shape, (lambda stored: [read(one) for one in stored]) if is_picture else read
    h, w, c = shape  # one picture, the frames one below the other
    return (h // w, w, w, c), lambda stored: read(stored).reshape(h // w, w, w, c)


def voxels(look: Look) -> Column:
    """Return the column of voxels, kept as 0 and 255; of an asked size, full where any of a block is."""
    shape = tuple(look.feature.connector.shape)
    side = look.asked.size
    if any(n % (side or n) for n in shape):
        has = f"the voxels of {look.train.name} are {by(shape)}"
        raise UserError(f"size={side}: {has}; blocks of them have to be whole.")
    blocks = [length for n in shape for length in (side or n, n // (side or n))]

    def make(a):
        a = np.asarray(a)
        if a.dtype != np.bool_ and a.max(initial=0) > 1:
            raise ValueError(f"{look.path} has {a.max()} where voxels are 0 or 1")
        return (a.astype(np.uint8) * np.uint8(255)).reshape(blocks).max((1, 3, 5))[..., None]

    return Column((look.path,), Field((*blocks[::2], 1), "voxels"), make)


def label_map(look: Look) -> Column:
    """Return the column of a map of labels [h, w], whole numbers."""
    h, w, _, measured = _side(look)
    fit = _fitted(look, (h, w))
    read = lambda stored: pictures.indices(opened(stored))
    largest = lambda split: max(split.each(look.path, look.features, lambda stored: int(read(stored).max())))
    classes = 1 + max(s.learnt(("largest", look.path), lambda s=s: largest(s)) for s in (look.train, look.test) if s)
    field = Field((h, w), "label", np.int32, classes)
    return Column((look.path,), field, lambda stored: fit(read(stored)), f"{classes} labels a pixel", measured)
