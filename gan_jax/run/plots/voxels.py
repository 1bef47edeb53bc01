"""Voxels: what rays see of a solid, from three sides and from a corner, and an .npz of where it is."""

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.run.log import write_whole
from gan_jax.run.plots import images, page
from gan_jax.run.plots.given import Given, Panels

SIDE = 96  # pixels of a view
# what the rays run along, and what is up in the view: axes d, h, w; w points up, as in the usual sets of solids
VIEWS = {
    "from a corner": ((-1, -1.2, -0.9), (0, 0, 1)),
    "along d": ((1, 0, 0), (0, 0, 1)),
    "along h": ((0, 1, 0), (0, 0, 1)),
    "from above": ((0, 0, -1), (1, 0, 0)),
}


def looks(x: np.ndarray, into: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return pictures uint8 [n, SIDE, SIDE, 3] of what x [n, d, h, w, c] shows to parallel rays; solid where x > 0."""
    from scipy import ndimage

    solid = np.pad(np.asarray(x).max(-1) > 0, ((0, 0), (1, 1), (1, 1), (1, 1)))  # [n, d, h, w], with air around
    cells, axes = _rays(solid.shape[1:], into, up)  # [SIDE, SIDE, k], [3, 3]
    light = np.array([0.5, 0.8, 0.7]) @ np.stack([-axes[0], axes[1], -axes[2]])  # from the viewer, above, the left
    pictures = np.full((len(solid), SIDE, SIDE, 3), 255, np.uint8)
    for seen, one in zip(pictures, solid, strict=True):
        met = np.append(one.ravel(), False)[cells]  # the last cell is all that lies outside
        hit = met.any(-1)
        first = met.argmax(-1)
        before = np.take_along_axis(cells, np.maximum(first[..., None] - 2, 0), -1)[..., 0][hit]  # in the air
        slope = np.stack(np.gradient(ndimage.gaussian_filter(one.astype(np.float32), 1)))  # [3, d, h, w]
        normal = -slope.reshape(3, -1)[:, np.minimum(before, one.size - 1)].T
        bright = normal @ light / np.maximum(np.linalg.norm(normal, axis=1) * np.linalg.norm(light), 1e-6)
        near = 1 - 0.35 * first[hit] / cells.shape[-1]
        shade = (0.45 + 0.55 * np.maximum(bright, 0)) * near
        seen[hit] = np.round(shade[:, None] * np.array([120, 180, 255]))
    return pictures


@functools.cache
def _rays(shape, into, up):
    """Return the cells [SIDE, SIDE, k] that each ray meets in turn, and the unit axes (into, up, right) as rows."""
    into = np.array(into, float) / np.linalg.norm(into)
    right = np.cross(into, up)
    right /= np.linalg.norm(right)
    up = np.cross(right, into)
    half = np.array(shape) / 2
    corners = (np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3) * half) @ np.stack([into, up, right], 1)
    deep, high, wide = corners.max(0)
    reach = max(high, wide)
    at = np.linspace(-reach, reach, SIDE)
    starts = half - 0.5 + at[None, :, None] * right - at[:, None, None] * up  # [SIDE, SIDE, 3]
    depth = np.arange(-deep, deep, 0.5)
    cells = np.rint(starts[:, :, None] + depth[:, None] * into).astype(np.int32)  # [SIDE, SIDE, k, 3]
    inside = ((cells >= 0) & (cells < np.array(shape))).all(-1)
    flat = (cells * np.array([shape[1] * shape[2], shape[2], 1], np.int32)).sum(-1)
    return np.where(inside, flat, np.prod(shape)).astype(np.int32), np.stack([into, up, right])


def picture(panels: Panels, given: Given) -> np.ndarray:
    """Return solids [n, d, h, w, c] of each panel in all views, two a row, or one where there are several seeds."""
    across = 2 if len(panels) == 1 else 1

    def drawn(x):
        views = np.stack([looks(x, *view) for view in VIEWS.values()], 1)  # [n, view, ...]
        return images.tiled(views.reshape(-1, SIDE, SIDE, 3), across * len(VIEWS), heads=[*VIEWS] * across)

    return page.beside({title: drawn(x) for title, x in panels.items()})


def files(file: Path, panels: Panels, given: Given) -> None:
    """Write FILE.npz: solids of each panel, bool [n, d, h, w, c], under its title."""
    held = io.BytesIO()
    np.savez_compressed(held, **{title: np.asarray(x) > 0 for title, x in panels.items()})
    write_whole(file.with_suffix(".npz"), held.getvalue())


def table(x: np.ndarray, says: Any, given: Given) -> np.ndarray:
    """Return solids [rows, columns, d, h, w, c] from a corner."""
    views = looks(x.reshape(-1, *x.shape[2:]), *VIEWS["from a corner"])
    return images.tiled(views, x.shape[1], says.captions, says.rows, says.columns)
