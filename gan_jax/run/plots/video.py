"""Clips: strips of frames, a row a clip, and a GIF in which they play."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.run.plots import images, page
from gan_jax.run.plots.given import Given, Panels

FRAMES, PAUSE = 16, 125  # frames of a strip, at most; milliseconds a frame


def picture(panels: Panels, given: Given) -> np.ndarray:
    """Return the clips [n, t, h, w, c] of each panel as strips, with the number of each frame over it."""
    titles = [title for title, x in panels.items() for _ in x]
    return strips(np.concatenate([*panels.values()]), titles if len(panels) > 1 else ())


def strips(x: np.ndarray, rows: Sequence[str] = ()) -> np.ndarray:
    """Return clips [n, t, h, w, c] as rows of frames; of long ones, frames at even distances."""
    shown = np.unique(np.linspace(0, x.shape[1] - 1, min(FRAMES, x.shape[1])).round().astype(int))
    frames = x[:, shown].reshape(-1, *x.shape[2:])
    return images.grid(frames, len(shown), rows=rows, heads=[str(t + 1) for t in shown])


def files(file: Path, panels: Panels, given: Given) -> None:
    """Write FILE.gif, in which the clips of each panel play at once."""
    length = next(iter(panels.values())).shape[1]
    play(file, [page.beside({title: images.grid(x[:, t]) for title, x in panels.items()}) for t in range(length)])


def table(x: np.ndarray, says: Any, given: Given) -> np.ndarray:
    """Return clips [rows, columns, t, h, w, c] as strips, one under the other."""
    names = [f"{row} {column}".strip() for row in says.rows or [""] for column in says.columns or [""]]
    names = names if len(names) == len(x) * x.shape[1] else [n for n in says.rows for _ in range(x.shape[1])]
    return strips(x.reshape(-1, *x.shape[2:])[:32], names[:32])


def table_files(file: Path, x: np.ndarray, says: Any, given: Given) -> None:
    """Write FILE.gif, in which clips [rows, columns, t, h, w, c] play where they stand."""
    flat = x.reshape(-1, *x.shape[2:])
    play(file, [images.grid(flat[:, t], x.shape[1], says.captions, says.rows, says.columns) for t in range(x.shape[2])])


def play(file: Path, frames: Iterable[np.ndarray]) -> None:
    """Write frames as FILE.gif."""
    page.animate(file.with_suffix(".gif"), frames, [PAUSE] * (len(frames) - 1) + [4 * PAUSE])
