"""Series: rows over time as lines, a panel each, samples beside real ones; where they are music, as music."""

import csv
import io
from pathlib import Path

import numpy as np

from gan_jax.run.log import write_whole
from gan_jax.run.plots import music, page
from gan_jax.run.plots.given import Given, Panels

REAL, LINES = 4, 12  # real ones that are shown, and columns that are drawn, at most


def picture(panels: Panels, given: Given) -> np.ndarray:
    """Return series [n, t, c] of each panel, below some real ones: all on one scale, a colour a column."""
    if music.is_music(given.field):
        return music.picture(panels, given)
    real = [] if given.real is None else [("data", one) for one in given.units(given.real[:REAL])]
    drawn = [(_title(title, panels, i), one) for title, x in panels.items() for i, one in enumerate(given.units(x))]
    c, names = (real + drawn)[0][1].shape[1], given.field.names
    fig, axes = page.figure(len(real + drawn), 3.2, 1.9)
    low, high = np.quantile([one for _, one in real or drawn], (0.001, 0.999))
    for axis, (title, one) in zip(axes, real + drawn, strict=True):
        for j in range(min(c, LINES)):
            axis.plot(one[:, j], linewidth=1, color=f"C{j}", label=names[j] if names else f"column {j + 1}")
        pad = 0.15 * (high - low) + 1e-6
        axis.set(ylim=(low - pad, high + pad))
        axis.set_title(title, fontsize=9, color="0.4" if title == "data" else "black")
        axis.tick_params(labelsize=7)
    axes[-1].set_xlabel("steps" + (f"; the first {LINES} of {c} columns" if c > LINES else ""), fontsize=8)
    if c > 1:
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize="small")
    return page.rendered(fig)


def _title(title, panels, i):
    """Return the title of a panel's i-th series."""
    if len(panels) == 1:
        return f"sample {i + 1}"
    return title if len(panels[title]) == 1 else f"{title}, sample {i + 1}"


def files(file: Path, panels: Panels, given: Given) -> None:
    """Write FILE.mid where the series are music, else FILE.csv: a line a sample and step, in the units of records."""
    if music.is_music(given.field):
        music.files(file, panels, given)
        return
    sheet, names = io.StringIO(), given.field.names or [f"column {j + 1}" for j in range(given.field.shape[1])]
    written = csv.writer(sheet, lineterminator="\n")
    written.writerow(["panel", "sample", "step", *names])
    for title, x in panels.items():
        for i, one in enumerate(given.units(x)):
            written.writerows([title, i + 1, t + 1, *(f"{v:.7g}" for v in row)] for t, row in enumerate(one))
    write_whole(file.with_suffix(".csv"), sheet.getvalue())
