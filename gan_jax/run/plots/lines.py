"""Curves: what the rows of a run say, against the step."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gan_jax.run import log
from gan_jax.run.plots import page

ALIKE = 8  # names share a panel where their sizes, and their spans alone and together, differ by no more than this
POINTS = 1500  # of a line, at most
BINS = 100  # of a list, at most
OF_LOGITS = "minimax", "non_saturating"  # the losses whose scores are logits of probabilities


class Series(NamedTuple):
    """One metric of a run: where it stands in the rows, and what it is there."""

    steps: np.ndarray  # [r]
    values: np.ndarray  # [r, seeds], or of lists [r, seeds, k]


def series(file: Path, seeds: int) -> dict[str, Series]:
    """Return the metrics of a metrics.jsonl by their names, in the order in which they first appear."""
    found = {}
    for number, line in enumerate(log.lines(file), 1):
        row = log.row_of(line, seeds)
        if row is None and line.endswith(b"\n"):  # the last one may be half written
            raise ValueError(f"line {number} is no row")
        row = dict(row or {})
        step = row.pop("step", 0)
        row.pop("evaluated", None)
        for name, value in row.items():
            steps, values = found.setdefault(name, ([], []))
            if not values or np.shape(value) == np.shape(values[0]):  # a list may have become longer
                steps.append(step)
                values.append(value)
    # null, which was not finite, becomes nan
    arrays = {name: (np.array(steps), np.asarray(values, float)) for name, (steps, values) in found.items()}
    return {name: Series(at, v if seeds > 1 else v[:, None]) for name, (at, v) in arrays.items()}


def curves(file: Path, rows: Path, seeds: int = 1, first_seed: int = 0, loss: str | None = None) -> None:
    """Write every metric of a metrics.jsonl against the step.

    Metrics of one prefix ("loss/g", "loss/d") share a panel where they are of like size and there is one seed; several
    seeds have a colour each. In games of probabilities D's answers have a panel for each D, with a line at 0.5, where
    it can't tell. A list a row (the share of each mode) is a stack, or rows of grey where it is long. loss: the game's
    name in `losses.PAIRS`, where it is known.
    """
    found = series(rows, seeds)
    lines = {name: one for name, one in found.items() if one.values.ndim == 2}
    lists = {name: one for name, one in found.items() if one.values.ndim == 3}
    answers = probabilities(lines, loss)
    if not found:
        return
    lines = {name: one for name, one in lines.items() if not name.startswith(("p/real", "p/fake"))}
    panels = shared(lines) if seeds == 1 else [[name] for name in lines]
    fig, axes = page.figure(len(panels) + len(answers) + len(lists), 3.6, 2.6)
    axes = iter(axes)
    colours = [(f"seed {first_seed + s}", colour) for s, colour in enumerate(palette(seeds))]
    for names in panels:
        _panel(next(axes), {name: lines[name] for name in names}, colours)
    for title, answer in answers.items():
        axis = next(axes)
        _panel(axis, answer, colours)
        axis.axhline(0.5, color="0.4", linewidth=1, linestyle=":")
        axis.set(title=title, ylim=(-0.02, 1.02))
    for name, one in lists.items():
        _shares(next(axes), name + (f" (seed {first_seed})" if seeds > 1 else ""), one)
    if seeds > 1:
        legend(fig, colours)
    page.save(file, page.rendered(fig))


def overlay(file: Path, runs: dict[str, dict[str, Series]], names: list[str]) -> None:
    """Write metrics of several runs, a panel a name and a colour a run: its mean, and each of several seeds thinly."""
    fig, axes = page.figure(len(names), 4, 3, across=3)
    colours = list(zip(runs, palette(len(runs)), strict=True))
    for axis, name in zip(axes, names, strict=True):
        for run, colour in colours:
            if name not in runs[run]:
                continue
            steps, values = runs[run][name]
            if values.shape[1] > 1:
                thin = -(-len(steps) // POINTS)
                axis.plot(steps[::thin], values[::thin], color=colour, linewidth=0.5, alpha=0.35)
            line(axis, steps, values.mean(1), color=colour)
        axis.set(title=name, xlabel="step")
    legend(fig, colours, 3)
    page.save(file, page.rendered(fig))


def shared(lines: dict[str, Series]) -> list[list[str]]:
    """Return the names panel by panel: those of one prefix together, as far as neither makes the other flat."""
    finite = {name: one.values[np.isfinite(one.values)] for name, one in lines.items()}
    size = {name: max(np.quantile(np.abs(v), 0.9), 1e-12) if v.size else 1 for name, v in finite.items()}
    ends = {name: np.quantile(v, (0.05, 0.95)) if v.size else np.zeros(2) for name, v in finite.items()}
    prefix = lambda name: name.rpartition("/")[0]

    def alike(a, b):
        both, larger = np.ptp([ends[a], ends[b]]), max(np.ptp(ends[a]), np.ptp(ends[b]))
        return prefix(a) == prefix(b) != "" and 1 / ALIKE <= size[a] / size[b] <= ALIKE and both <= ALIKE * larger

    panels = []
    for name in lines:
        beside = next((p for p in panels if all(alike(name, other) for other in p)), None)
        if beside is None:
            panels.append([name])
        else:
            beside.append(name)
    return panels


def probabilities(lines: dict[str, Series], loss: str | None = None) -> dict[str, dict[str, Series]]:
    """Return {title: {"D(x)", "D(G(z))"}}, the answers of each D to data and to samples, in games of probabilities.

    A step says them itself, as "p/real" and "p/fake", with an ending where there are several D ("p/real_a"). Else they
    are the sigmoids of mean scores where the game is known to be one of probabilities, or its rows say so.
    """
    found, sigmoid = {}, lambda score: 0.5 * (1 + np.tanh(score / 2))
    for end in [name.removeprefix("p/real") for name in lines if name.startswith("p/real")]:
        if "p/fake" + end in lines:
            found["D(x), D(G(z))" + end.replace("_", " ")] = lines["p/real" + end], lines["p/fake" + end]
    scores = [lines[name] for name in ("score/real", "score/fake") if name in lines]
    if not found and len(scores) == 2 and (_of_logits(lines, *scores) if loss is None else loss in OF_LOGITS):
        found["D(x), D(G(z))"] = tuple(Series(one.steps, sigmoid(one.values)) for one in scores)
    return {title: dict(zip(("D(x)", "D(G(z))"), both, strict=True)) for title, both in found.items()}


def _of_logits(lines, real, fake) -> bool:
    """Return whether D's loss is the cross-entropy of its scores, the logits.

    By Jensen's inequality it is at least that of their means: log(1 + exp(-real)) + log(1 + exp(fake)). Where D of a
    game of least squares, hinges, Wasserstein distances or differences is any good, its loss is below that.
    """
    d = lines.get("loss/d")
    if d is None or not d.steps.shape == real.steps.shape == fake.steps.shape:
        return False
    bound = np.logaddexp(0, -real.values) + np.logaddexp(0, fake.values)
    return (d.values >= bound - 1e-3 * (1 + np.abs(bound))).mean() >= 0.95


def palette(n: int) -> list:
    """Return n colours that can be told apart, as far as that goes."""
    from matplotlib import colormaps

    return [f"C{i}" for i in range(n)] if n <= 10 else [colormaps["viridis"](i / (n - 1)) for i in range(n)]


def legend(fig: Any, colours: list, columns: int = 6) -> None:
    """Write under the figure what each colour is; of many, some."""
    from matplotlib.lines import Line2D

    shown = colours[:: -(-len(colours) // 12)]
    handles = [Line2D([], [], color=colour, label=label) for label, colour in shown]
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize="small")


def _panel(axis, lines, seeds):
    """Draw metrics: of one seed a colour each, of several a colour a seed and dashes for the second one."""
    many = len(seeds) > 1
    for i, (name, one) in enumerate(lines.items()):
        for s, (_, colour) in enumerate(seeds):
            style = {"color": colour, "linestyle": "-" if i == 0 else "--"} if many else {"color": f"C{i}"}
            label = name.rpartition("/")[2] if s == 0 else None
            line(axis, one.steps, one.values[:, s], label=label, **style)
    if len(lines) > 1:
        axis.legend(fontsize="small")
    axis.ticklabel_format(axis="y", useOffset=False)
    low, high = axis.get_ylim()
    if high - low < 1e-3 * max(abs(low), abs(high)):  # rounding errors are no curve
        axis.set_ylim(low - 0.05 * abs(low), high + 0.05 * abs(high))
    names = [name.rpartition("/")[2] for name in lines]
    prefix = next(iter(lines)).rpartition("/")[0]
    axis.set(title=f"{prefix}: {', '.join(names)}" if prefix and len(names) > 1 else next(iter(lines)), xlabel="step")


def line(axis: Any, steps: np.ndarray, values: np.ndarray, label: str | None = None, **style: Any) -> None:
    """Draw one line, with gaps where it is not finite; one of many points pale, under its running mean."""
    thin = -(-len(steps) // POINTS)
    values = np.where(np.isfinite(values), values, np.nan)
    if len(steps) < 100:
        axis.plot(steps, values, linewidth=1.2, marker="." if len(steps) < 20 else None, label=label, **style)
        return
    axis.plot(steps[::thin], values[::thin], linewidth=0.6, alpha=0.3, **style)
    wide = len(steps) // 50
    with np.errstate(invalid="ignore"):  # a gap makes gaps
        mean = np.convolve(values, np.full(wide, 1 / wide), "valid")
    at = (steps[wide - 1 :] + steps[: len(steps) - wide + 1]) / 2
    axis.plot(at[::thin], mean[::thin], linewidth=1.4, label=label, **style)


def _shares(axis, name, one):
    """Draw a list a row, of the first seed."""
    thin = -(-len(one.steps) // 500)
    steps, values = one.steps[::thin], one.values[::thin, 0]  # [r, k]
    k = values.shape[1]
    axis.set(title=name, xlabel="step")
    if k <= 12 and (values >= 0).all() and len(steps) > 1:
        axis.stackplot(steps, values.T, colors=[_hue(i / k) for i in range(k)])
        axis.set(xlim=(steps[0], steps[-1]), ylabel=f"share of each of {k}")
        return
    each = -(-k // BINS)
    values = np.pad(values, ((0, 0), (0, -k % each))).reshape(len(steps), -1, each).sum(-1)
    edges = np.concatenate([steps[:1] - (steps[-1] - steps[0] or 1) / max(1, len(steps) - 1), steps])
    at = np.append(np.arange(0, k, each), k)
    axis.pcolormesh(edges, at, values.T, cmap="gray", vmin=0)
    most = np.nanmax(values, initial=0)
    axis.set(title=f"{name}: black 0, white {most:.2g}", ylabel=f"of {k}" + (f", {each} together" if each > 1 else ""))


def _hue(share):
    from matplotlib import colormaps

    return colormaps["turbo"](0.05 + 0.9 * share)
