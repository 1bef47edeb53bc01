"""A page: a picture uint8 [h, w, 3] with words on it, laid beside others, written as PNG or, several, as GIF."""

import functools
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan_jax.errors import UserError

GROUND, INK = 228, 24  # grey of the page, and of words
GAP = 4  # pixels between two pictures
SIZE = 13  # pixels of a letter


@functools.cache
def font(size: int = SIZE, even: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font of words, in which letters may be `even` in width; it knows most alphabets of Europe."""
    import matplotlib

    name = "DejaVuSansMono.ttf" if even else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


def width_of(text: str, size: int = SIZE, even: bool = False) -> int:
    """Return how many pixels wide a line is."""
    return int(np.ceil(font(size, even).getlength(text)))


def wrapped(text: str, width: int, most: int = 3, size: int = SIZE, even: bool = False) -> list[str]:
    """Return a text as at most so many lines, each at most `width` pixels wide; what is left out is three dots."""
    fits = lambda line: width_of(line, size, even) <= width
    lines = [""]
    for word in text.split():
        if lines[-1] and not fits(f"{lines[-1]} {word}"):
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    over, lines = len(lines) > most, lines[:most]
    lines[-1] += "…" * over
    for i, line in enumerate(lines):  # a word that is too long by itself
        while len(line) > 1 and not fits(line):
            line = line.rstrip("…")[:-1] + "…"
        lines[i] = line
    return lines


def height_of(lines: int, size: int = SIZE) -> int:
    """Return how many pixels high so many lines are."""
    return lines * round(1.3 * size)


def write(
    image: Image.Image,
    at: tuple[int, int],
    lines: list[str],
    width: int = 0,
    size: int = SIZE,
    even: bool = False,
    ink: tuple[int, int, int] = INK,
) -> None:
    """Write lines onto an image, the first one's upper left corner `at`; with a width, in its middle."""
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        inset = max(0, width - width_of(line, size, even)) // 2 if width else 0
        draw.text((at[0] + inset, at[1] + height_of(i, size)), line, (ink,) * 3, font(size, even))


def blank(height: int, width: int) -> Image.Image:
    """Return an empty page."""
    return Image.new("RGB", (width, height), (GROUND,) * 3)


def headed(picture: np.ndarray, title: str) -> np.ndarray:
    """Return a picture under a title."""
    lines = wrapped(title, picture.shape[1] - 2 * GAP)
    top = height_of(len(lines)) + GAP
    page = blank(picture.shape[0] + top, picture.shape[1])
    page.paste(Image.fromarray(picture), (0, top))
    write(page, (0, GAP), lines, picture.shape[1])
    return np.asarray(page)


def beside(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Return pictures side by side, each under its title; a single one as it is."""
    if len(pictures) == 1:
        return next(iter(pictures.values()))
    titled = [headed(picture, title) for title, picture in pictures.items()]
    page = blank(max(len(p) for p in titled), sum(p.shape[1] for p in titled) + 3 * GAP * (len(titled) - 1))
    at = 0
    for picture in titled:
        page.paste(Image.fromarray(picture), (at, 0))
        at += picture.shape[1] + 3 * GAP
    return np.asarray(page)


def figure(panels: int = 1, width: float = 3.2, height: float = 3.2, across: int = 4) -> tuple[Any, np.ndarray]:
    """Return (matplotlib figure, axes [panels]), `across` of them side by side at most; needs no screen."""
    from matplotlib.figure import Figure

    down, across = -(-panels // across), min(panels, across)
    fig = Figure(figsize=(width * across, height * down), layout="constrained")
    axes = fig.subplots(down, across, squeeze=False)
    for spare in axes.ravel()[panels:]:
        spare.remove()
    return fig, axes.ravel()[:panels]


def rendered(fig: Any, dpi: int = 110) -> np.ndarray:
    """Return a matplotlib figure as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(fig)
    fig.set_dpi(dpi)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def check(name: str, endings: Collection[str] = ()) -> None:
    """Raise UserError where --out is in no folder, or has none of these endings, by default those that `save` knows."""
    file, why = Path(name), ""
    endings = endings or [ending for ending, of in Image.registered_extensions().items() if of in Image.SAVE]
    if not file.parent.is_dir():
        why = f"there is no folder {file.parent}"
    elif file.suffix.lower() not in endings:
        why = "it is not called as a picture is, x.png"
    if why:
        raise UserError(f"{name or '--out='} can't be written: {why}. Choose another --out.")


def save(file: Path, picture: np.ndarray) -> None:
    """Write a picture, whole or not at all, in the format that the file's name ends with."""
    _whole(file, lambda new: Image.fromarray(picture).save(new))


def animate(file: Path, frames: list[np.ndarray], milliseconds: list[int]) -> None:
    """Write pictures of one size as a GIF that begins again and again, each shown for its time."""
    first, *rest = map(_of_palette, frames)
    _whole(file, lambda new: first.save(new, save_all=True, append_images=rest, duration=milliseconds, loop=0))


def _of_palette(frame):
    """Return a picture with its own 256 colours: greys as they are, others by an octree (fast)."""
    if (frame == frame[..., :1]).all():
        return Image.fromarray(np.ascontiguousarray(frame[..., 0]))
    return Image.fromarray(frame).quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def _whole(file, write_to):
    new = file.with_name(f".new-{file.name}")
    try:
        write_to(new)
        os.replace(new, file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
