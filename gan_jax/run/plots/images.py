"""Images: a grid with gaps, and words over, beside and under the pictures."""

import colorsys
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from gan_jax.run.plots import page
from gan_jax.run.plots.given import Given, Panels

LEAST = 512  # pixels of the longer side of a grid, or more


def colours(images: np.ndarray) -> np.ndarray:
    """Return images [..., c] in [-1, 1] as uint8 [..., 3].

    One channel is grey, three are red, green and blue. Of any other number each has a hue of its own, as layers of
    label maps and poses have, and they are mixed by how bright they are.
    """
    x = np.nan_to_num(np.clip((np.asarray(images, np.float32) + 1) * 127.5, 0, 255))
    c = x.shape[-1]
    if c not in (1, 3):
        hues = np.array([colorsys.hsv_to_rgb(i / c, 0.9, 1) for i in range(c)], np.float32)  # [c, 3]
        x = x @ hues / np.maximum(1, x.sum(-1, keepdims=True) / 255)
    return np.broadcast_to(np.round(x).astype(np.uint8), (*x.shape[:-1], 3))


def grid(
    images: np.ndarray,
    columns: int | None = None,
    captions: Sequence[str] = (),
    rows: Sequence[str] = (),
    heads: Sequence[str] = (),
    least: int = LEAST,
) -> np.ndarray:
    """Return images [n, h, w, c] in [-1, 1] as one picture [h, w, 3]: rows with gaps between, columns of them wide.

    Each is enlarged by a whole factor, so that the longer side is `least` or more. captions: of each image, under it.
    rows: titles at the left of the rows; heads: over the columns. Places without an image stay empty.
    """
    return tiled(colours(images), columns, captions, rows, heads, least)


def tiled(
    tiles: np.ndarray,
    columns: int | None = None,
    captions: Sequence[str] = (),
    rows: Sequence[str] = (),
    heads: Sequence[str] = (),
    least: int = LEAST,
) -> np.ndarray:
    """Return pictures uint8 [n, h, w, 3] as `grid` does."""
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    down, (h, w) = -(-len(tiles) // columns), tiles.shape[1:3]
    factor = max(1, math.ceil(least / max(down * h, columns * w)), math.ceil(80 / w) if len(captions) else 1)
    tiles = tiles.repeat(factor, 1).repeat(factor, 2)
    h, w = h * factor, w * factor

    under = [page.wrapped(str(text), w) for text in captions]
    over = [page.wrapped(str(text), w, 2) for text in heads]
    beside = [page.wrapped(str(text), 150) for text in rows]
    bottom = page.height_of(max(map(len, under), default=0))
    top = page.height_of(max(map(len, over), default=0)) + page.GAP
    left = max((page.width_of(line) + page.GAP for lines in beside for line in lines), default=0) + page.GAP

    across, along = w + page.GAP, h + bottom + page.GAP  # from one to the next
    sheet = page.blank(top + down * along, left + columns * across)
    for i, tile in enumerate(tiles):
        at = left + i % columns * across, top + i // columns * along
        sheet.paste(Image.fromarray(tile), at)
        page.write(sheet, (at[0], at[1] + h), under[i] if under else [], w)
    for i, lines in enumerate(over[:columns]):
        page.write(sheet, (left + i * across, 2), lines, w)
    for i, lines in enumerate(beside[:down]):
        page.write(sheet, (page.GAP, top + i * along + (h - page.height_of(len(lines))) // 2), lines)
    return np.asarray(sheet)


def picture(panels: Panels, given: Given) -> np.ndarray:
    """Return the images of each panel as a square."""
    return page.beside({title: grid(x) for title, x in panels.items()})


def table(x: np.ndarray, says: Any, given: Given) -> np.ndarray:
    """Return images [rows, columns, h, w, c] with their words."""
    return grid(x.reshape(-1, *x.shape[2:]), x.shape[1], says.captions, says.rows, says.columns)
