"""Rows of a table and labels: how each column is spread, and how often each label comes, samples over real data."""

import csv
import io
from pathlib import Path

import numpy as np

from gan_jax.run.log import write_whole
from gan_jax.run.plots import images, page
from gan_jax.run.plots.given import Given, Panels

PANELS = 24  # columns that are drawn, the first ones
ROWS = 1000  # of a file, the first samples of each panel


def picture(panels: Panels, given: Given) -> np.ndarray:
    """Return a histogram a column of rows [n, c], each panel's samples as a line over real data in grey.

    Where all columns are drawn, and there are no more than a few seeds, two panels more hold the correlations.
    """
    real, names = _real(given), given.field.names
    panels = {title: given.units(x) for title, x in panels.items()}
    columns = next(iter(panels.values())).shape[1]
    shown = min(columns, PANELS)
    linked = real is not None and 1 < columns <= PANELS
    fig, axes = page.figure(shown + 2 * linked, 2.4, 1.8, across=6 if shown > 8 else 4)
    for i, axis in enumerate(axes[:shown]):
        x = {title: np.asarray(rows)[:, i] for title, rows in panels.items()}
        _marginal(axis, x, None if real is None else real[:, i], names[i] if names else f"column {i + 1}")
        if given.field.values and (words := given.field.values[i]):
            ticks = np.linspace(0, len(words) - 1, 3).astype(int)
            axis.set_xticks(ticks, [page.wrapped(words[at], 85, 2)[0] for at in ticks])
    if linked:
        one = next(iter(panels.values()))
        for axis, (title, rows) in zip(axes[shown:], {"of data": real, "of samples": one}.items(), strict=True):
            axis.imshow(_correlations(rows), cmap="RdBu", vmin=-1, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"correlations {title}\nblue 1, red -1", fontsize=8)
    _legend(fig, axes[0], f"the first {shown} of {columns} columns" if shown < columns else None)
    return page.rendered(fig)


def files(file: Path, panels: Panels, given: Given) -> None:
    """Write FILE.csv: a sample a line, in the units of the records, under a line with the names of the columns.

    A column that holds whole numbers alone in real data is rounded; where these have names, they are said by name. With
    several panels the first column says which.
    """
    panels = {title: given.units(x[:ROWS]) for title, x in panels.items()}
    real = _real(given)
    c = next(iter(panels.values())).shape[1]
    names, values = given.field.names or [f"column {i + 1}" for i in range(c)], given.field.values or [()] * c
    whole = [bool(values[i]) or (real is not None and (real[:, i] == np.round(real[:, i])).all()) for i in range(c)]
    said = lambda v, i: f"{v:.6g}" if not whole[i] else values[i][round(v)] if values[i] else str(round(v))
    sheet = io.StringIO()
    written = csv.writer(sheet, lineterminator="\n")
    written.writerow([*["of"] * (len(panels) > 1), *names])
    for title, x in panels.items():
        for row in x.tolist():
            written.writerow([*[title] * (len(panels) > 1), *(said(v, i) for i, v in enumerate(row))])
    write_whole(file.with_suffix(".csv"), sheet.getvalue())


def _real(given):
    """Return real data in the units of the records; a column within rounding of whole numbers is made whole again."""
    if given.real is None:
        return None
    real = given.units(given.real)
    return np.where((np.abs(real - real.round()) < 1e-3).all(0), real.round(), real)


def _marginal(axis, x, real, name):
    """Draw one column: a bar a value where real data has few whole ones, else 30 bins over where it lies."""
    known = np.concatenate([*x.values()]) if real is None else real
    values = np.unique(known)
    if len(values) <= 20 and (values == values.round()).all():
        low, high = values[0], values[-1]
        wide = max(1, np.diff(values).min()) if len(values) > 1 else 1
        bins = np.arange(low - wide / 2, high + wide, wide)
        bins = bins if len(bins) <= 60 else np.linspace(low, high, 31)
    else:
        low, high = np.quantile(known, (0.005, 0.995))
        bins = np.linspace(low - 0.1 * (high - low) - 1e-6, high + 0.1 * (high - low) + 1e-6, 31)
    off = max(((line < bins[0]) | (line > bins[-1])).mean() for line in x.values())
    share = lambda line: np.full(len(line), 1 / len(line))
    if real is not None:
        axis.hist(real, bins, weights=share(real), color="0.8", label="data")
    for i, (title, line) in enumerate(x.items()):
        label = title if len(x) > 1 else "samples"
        axis.hist(line, bins, weights=share(line), histtype="step", color=f"C{i}", label=label)
    axis.set_yticks([])
    axis.tick_params(labelsize=7)
    axis.set_title(name + (f" ({off:.0%} outside)" if off >= 0.005 else ""), fontsize=8)


def _correlations(rows):
    with np.errstate(invalid="ignore", divide="ignore"):  # of a column that is constant there is none
        return np.corrcoef(np.asarray(rows, np.float64), rowvar=False)


def _legend(fig, axis, title=None):
    fig.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=8, fontsize="small", title=title)


def counts(panels: Panels, given: Given) -> np.ndarray:
    """Return how often each label comes among whole numbers [n], a bar a panel beside real data in grey.

    Maps of labels [n, h, w], one a pixel, are pictures, a colour a label.
    """
    field, real = given.field, given.real
    if len(field.shape) == 2:
        layers = lambda x: 2.0 * np.eye(max(4, field.classes), dtype=np.float32)[np.rint(x).astype(int)] - 1
        return page.beside({title: images.grid(layers(x[:64])) for title, x in panels.items()})
    bars = {} if real is None else {"data": real}
    bars |= {title if len(panels) > 1 else "samples": np.rint(x).astype(int).ravel() for title, x in panels.items()}
    k = field.classes or int(max(map(np.max, bars.values()))) + 1
    fig, (axis,) = page.figure(1, min(12, max(4, 1.5 + 0.35 * k)), 3.2)
    for i, (title, x) in enumerate(bars.items()):
        share = np.bincount(np.clip(x, 0, k - 1), minlength=k) / len(x)
        at = np.arange(k) + (i + 0.5) / len(bars) * 0.8 - 0.4
        colour = "0.7" if title == "data" else f"C{i - ('data' in bars)}"
        axis.bar(at, share, 0.8 / len(bars), color=colour, label=title)
    if k <= 40:
        axis.set_xticks(range(k), field.names or range(k), rotation=90 if field.names else 0)
    axis.set_ylabel("share")
    _legend(fig, axis)
    return page.rendered(fig)
