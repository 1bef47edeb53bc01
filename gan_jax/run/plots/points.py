"""Points: scatter plots over what is known of the data."""

from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.run.plots import page
from gan_jax.run.plots.given import Given, Panels

BLUE = "#1764ab"


def scatter(file: Path, panels: dict[str, np.ndarray], means: np.ndarray, std: float) -> None:
    """Write points [n, c] of each panel over circles of 3 std around the true means."""
    page.save(file, drawn(panels, means, std))


def picture(panels: Panels, given: Given) -> np.ndarray:
    """Return the points of each panel over the data's modes where they are known, else over real points."""
    modes = given.modes
    return drawn(panels, modes.means, modes.std) if modes else drawn(panels, real=given.real)


def drawn(
    panels: Panels, means: np.ndarray | None = None, std: float | None = None, real: np.ndarray | None = None
) -> np.ndarray:
    """Return points [n, c] of each panel over circles of 3 std around the means, or over real points [m, c].

    Of more than two columns the first two are drawn, of a single one a histogram.
    """
    known = means if means is not None else real
    if known.shape[1] == 1:
        return _histograms(panels, known if real is not None else None)
    low, high = _window(means, std, real)
    fig, axes = page.figure(len(panels))
    for axis, (title, points) in zip(axes, panels.items(), strict=True):
        points = np.asarray(points, np.float32)
        if points.shape[1] > 2:
            title = f"{title}: columns 1, 2 of {points.shape[1]}".removeprefix(": ")
        if means is not None:
            _circles(axis, means, max(3 * std, 0.015 * (high - low)[0]))
        else:
            axis.scatter(*real[:, :2].T, s=3, linewidths=0, color="0.7", zorder=1)
        axis.scatter(*points[:, :2].T, s=3, alpha=0.5, linewidths=0, color=BLUE, zorder=2)
        off = ((points[:, :2] < low) | (points[:, :2] > high)).any(1).mean()
        words = "samples (blue) over " + ("the modes" if means is not None else "data (grey)")
        words += f"; {off:.0%} outside" if off >= 0.005 else ""
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], title=title)
        axis.set_aspect("equal" if means is not None else "auto")
        axis.set_xlabel(words, fontsize=8)
    return page.rendered(fig)


def _window(means, std, real):
    """Return the lower left and the upper right corner of what is shown: two arrays [2]."""
    if means is not None:
        reach = 1.35 * max(np.abs(np.asarray(means)[:, :2]).max(), 3 * std)
        return np.full(2, -reach), np.full(2, reach)
    low, high = np.quantile(real[:, :2], (0.005, 0.995), axis=0)
    pad = 0.2 * np.maximum(high - low, 1e-6)
    return low - pad, high + pad


def _circles(axis, means, radius):
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Circle

    circles = [Circle(mean[:2], radius) for mean in np.asarray(means)]
    axis.add_collection(PatchCollection(circles, facecolor="none", edgecolor="0.6", zorder=1))


def _histograms(panels, real):
    fig, axes = page.figure(len(panels))
    for axis, (title, points) in zip(axes, panels.items(), strict=True):
        known = np.asarray(points if real is None else real).ravel()
        bins = np.linspace(*np.quantile(known, (0, 1)) + np.array([-1e-6, 1e-6]), 61)
        if real is not None:
            axis.hist(known, bins, density=True, color="0.8", label="data")
        axis.hist(np.asarray(points).ravel(), bins, density=True, histtype="step", color=BLUE, label="samples")
        axis.legend(fontsize="small")
        axis.set(title=title, yticks=[])
    return page.rendered(fig)


def table(x: np.ndarray, says: Any, given: Given) -> np.ndarray:
    """Return points [rows, columns, c], the rows in colours of their own; what has no data beside it has numbers."""
    from matplotlib import colormaps

    if x.shape[-1] == 1:
        return _histograms({f"row {i + 1}": row for i, row in enumerate(x)}, given.real)
    fig, (axis,) = page.figure(1, 5, 4)
    if given.modes:
        low, high = _window(*given.modes[:2], None)
        _circles(axis, given.modes.means, max(3 * given.modes.std, 0.015 * (high - low)[0]))
    elif given.real is not None:
        low, high = _window(None, None, given.real)
        axis.scatter(*given.real[:, :2].T, s=3, linewidths=0, color="0.8")
    for i, points in enumerate(x):
        colour = colormaps["turbo"](i / max(1, len(x) - 1))
        label = says.rows[i] if i < len(says.rows) else f"row {i}"
        axis.scatter(*points[:, :2].T, s=14, color=colour, linewidths=0, label=label if len(x) <= 25 else None)
    if given.modes or given.real is not None:
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], aspect="equal")
    else:
        axis.set(**dict(zip(("xlabel", "ylabel"), given.field.names, strict=False)))
    if len(x) <= 25:
        fig.legend(loc="outside right upper", fontsize="small", ncols=1 + (len(x) > 13))
    return page.rendered(fig)
