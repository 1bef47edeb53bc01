"""`python -m benchmarks principled`: gradients of a G that stands still, while D learns to tell its samples from data.

Figures 1 to 3 of Arjovsky and Bottou 2017 (arXiv 1701.04862): a DCGAN plays for 1, 10 and 25 epochs; then G stands
still, D begins anew, and at each of its updates its loss and the norms of both gradients of G are measured; beside it a
D which sees all under noise. The same for a perceptron whose samples lie on a curve, on the ring of eight Gaussians.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from PIL import Image

from benchmarks import harness
from experiments import principled
from gan_jax.run import plots, rundir
from gan_jax.run.config import Count
from gan_jax.run.plots import lines

SETS = {  # {set: (preset, {how long the game was played: updates of G})}
    "usps": ("default", {"1 epoch": 114, "10 epochs": 1140, "25 epochs": 2850}),
    "ring8": ("ring", {"100 updates": 100, "4,000 updates": 4000}),
}
CURVES = {
    "cross_entropy": "D's loss",
    "minimax": "gradient of E log(1 - D(G(z))): norm",
    "non_saturating": "gradient of -E log D(G(z)): norm",
}
STYLES = "-", "--", ":"
HEAD = ("set", "G has played", "noise of D", "D's accuracy", *CURVES.values(), "its deviation over its mean")


def main(
    sets: tyro.conf.Positional[tuple[Literal[*SETS], ...]] = tuple(SETS),
    played: tuple[str, ...] = (),
    alone: Count = 1500,
    flags: str = "",
    record: str = "principled",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/principled",
):
    """Train and measure. A run that is finished is not trained again, one that was stopped goes on.

    Args:
        sets: which data.
        played: which of the games, by their names in the table [all].
        alone: updates of the Ds after G stands still.
        flags: more flags of every run, as one word: --flags="--width=8 --gpu".
        record: name of the record.
        out: folder of RECORD.md, .jsonl and .png.
        runs: folder of the runs.
    """
    rows, curves = [], {}
    for name in sets:
        preset, moments = SETS[name]
        for game, moment in moments.items():
            if played and game not in played:
                continue
            folder = Path(runs, name, str(moment))
            begun = [f"--preset={preset}", f"--g-steps={moment}", f"--steps={moment + alone}"]
            given = [*begun, "--log-every=1", "--eval-every=0", *harness.words(flags)]
            results = harness.trained(principled, given, folder)
            cfg = principled.Config(**rundir.read(folder)["config"])
            for sigma in cfg.sigmas:
                curves[name, game, sigma] = found = after(folder, cfg.g_steps, sigma)
                row = {"set": name, "played": game, "sigma": sigma} | numbers(found)
                row |= {"flags": flags, "seconds": results["seconds"], "config": dataclasses.asdict(cfg)}
                rows.append(row | {"trained": harness.trained_by(folder)})
    table = harness.table(HEAD, map(cells, rows))
    harness.record(record, rows, out)
    Path(out, f"{record}.md").write_text(table + "\n")
    draw(Path(out, f"{record}.png"), curves)


def after(folder, moment, sigma) -> dict:
    """Return {name: [updates]}: what was measured of the D of this sigma from its first update on."""
    found = plots.series(folder / "metrics.jsonl", 1)
    of = lambda name: found[f"{name}/{sigma:g}"]
    return {name: of(name).values[of(name).steps > moment, 0] for name in ("accuracy", *CURVES)}


def numbers(found) -> dict:
    """Return of each curve [its median over the first ten updates, that over the last tenth], and its spread there.

    The spread is the deviation over the mean.
    """
    row = {}
    for name, values in found.items():
        last = values[-max(1, len(values) // 10) :]
        row[name] = [float(np.median(values[:10])), float(np.median(last))]
        row[f"{name}/spread"] = float(last.std() / last.mean())
    return row


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    way = lambda name: " → ".join(f"{value:.3g}" for value in row[name])
    said = (f"{100 * row['accuracy'][1]:.1f} %", *map(way, CURVES), f"{row['non_saturating/spread']:.2f}")
    return row["set"], row["played"], row["sigma"], *said


def draw(file, curves):
    """Draw a row for each set: a panel for each curve, a colour for each game, a kind of line for each noise."""
    sets = list(dict.fromkeys(name for name, *_ in curves))
    fig, axes = plots.figure(len(sets) * len(CURVES), 4, 3.2, across=len(CURVES))
    for i, axis in enumerate(axes):
        at, name = sets[i // len(CURVES)], list(CURVES)[i % len(CURVES)]
        games, noises = (list(dict.fromkeys(key[k] for key in curves if key[0] == at)) for k in (1, 2))
        for (of, played, sigma), found in curves.items():
            if of == at:
                style = {"color": f"C{games.index(played)}", "linestyle": STYLES[noises.index(sigma) % len(STYLES)]}
                label = f"{played}, noise {sigma:g}" if sigma else played
                lines.line(axis, np.arange(len(found[name])), found[name], label=label, **style)
        axis.set(yscale="log", title=f"{at}: {CURVES[name]}", xlabel="updates of D")
        axis.title.set_fontsize(9)
        axis.legend(fontsize=7)
    plots.page.save(file, plots.page.rendered(fig, 80))
    Image.open(file).quantize(64).save(file, optimize=True)  # a third of the bytes


if __name__ == "__main__":
    harness.command(main)
