"""Pictures of a run: its samples by what they are, their animation, and curves of its rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gan_jax import data
from gan_jax.data import Field
from gan_jax.data.source import Source
from gan_jax.run.plots import images, page, points, sequences, tables, text, video, voxels
from gan_jax.run.plots.given import Given as Given
from gan_jax.run.plots.images import grid as grid
from gan_jax.run.plots.lines import Series as Series
from gan_jax.run.plots.lines import curves as curves
from gan_jax.run.plots.lines import overlay as overlay
from gan_jax.run.plots.lines import series as series
from gan_jax.run.plots.moving import animation as animation
from gan_jax.run.plots.page import figure as figure
from gan_jax.run.plots.points import scatter as scatter
from gan_jax.run.plots.shown import Picture as Picture


class Kind(NamedTuple):
    """How samples of one kind are drawn.

    panels: {title: x [n, ...]}, one for each seed; says: the `Picture` whose x [rows, columns, ...] is drawn; file: the
    picture's, what it can't hold goes into others of that name.
    """

    drawn: int  # samples of an evaluation
    shown: int  # of them on its picture, all seeds together
    picture: Callable  # (panels, given) -> uint8 [h, w, 3]
    files: Callable | None = None  # (file, panels, given): FILE.gif, ...
    table: Callable | None = None  # (x, says, given) -> uint8 [h, w, 3]; without it, a panel a row
    table_files: Callable | None = None  # (file, x, says, given)
    real: bool = False  # whether real data is drawn, too


KINDS = {
    "points": Kind(2500, 10_000, points.picture, table=points.table, real=True),
    "image": Kind(64, 256, images.picture, table=images.table),
    "video": Kind(16, 8, video.picture, video.files, video.table, video.table_files),
    "voxels": Kind(64, 12, voxels.picture, voxels.files, table=voxels.table),
    "tokens": Kind(64, 8, text.picture, text.files),
    "series": Kind(64, 8, sequences.picture, sequences.files, real=True),
    "row": Kind(2500, 10_000, tables.picture, tables.files, real=True),
    "label": Kind(2500, 10_000, tables.counts, real=True),
}


def reals(source: Source) -> np.ndarray | None:
    """Return the real data that samples of this source are drawn beside; None where they are drawn by themselves."""
    beside = KINDS[source.kind].real and not source.modes
    return np.asarray(data.some(source, 2500)["x"]) if beside else None


def samples(
    file: Path, x: np.ndarray, source: Source, seeds: Sequence[int], real: np.ndarray | None = None, whole: bool = False
) -> np.ndarray:
    """Write what a run drew at one moment as a picture, with other files beside it, and return the picture.

    x [n, ...], or [s, n, ...] for several seeds: the first four are shown. real: what `reals` returned. whole: show all
    n, not only as many as at an evaluation.
    """
    kind, given = KINDS[source.kind], Given(source.row["x"], real, source.modes)
    panels = by_seed(x, seeds)
    each = None if whole else max(1, kind.shown // len(panels))
    picture = kind.picture({title: one[:each] for title, one in panels.items()}, given)
    page.save(file, picture)
    if kind.files:
        kind.files(file, panels, given)
    return picture


def by_seed(x: np.ndarray, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Return samples x [n, ...], or [s, n, ...] for several seeds, as {title: x [n, ...]}, of the first four."""
    x = np.asarray(x)
    x = x[None] if len(seeds) == 1 else x[:4]
    return {f"seed {s}": one for s, one in zip(seeds, x, strict=False)}


def table(file: Path, says: Picture, source: Source, real: np.ndarray | None = None) -> np.ndarray:
    """Write a Picture, with other files beside it, and return it as it is drawn."""
    field, name = source.row["x"], says.kind_beside(source.row["x"])
    x, kind = np.asarray(says.x), KINDS[name]
    own = name == field.kind and (not kind.real or x.shape[2:] == field.shape)
    given = Given(field, real, source.modes) if own else Given(Field(x.shape[2:], name, names=says.columns))
    panels = {says.rows[i] if i < len(says.rows) else f"row {i + 1}": row for i, row in enumerate(x)}
    picture = kind.table(x, says, given) if kind.table else kind.picture(panels, given)
    page.save(file, picture)
    if kind.table_files:
        kind.table_files(file, x, says, given)
    elif kind.files and not kind.table:
        kind.files(file, panels, given)
    return picture
