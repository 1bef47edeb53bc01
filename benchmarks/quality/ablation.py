"""`python -m benchmarks ablation`: what makes the unrolled GAN work? All ways of experiments/ablation.py, compared.

`--ks 0 1 3 5 10` compares K instead: the way `unrolled`, with so many updates ahead.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from benchmarks import harness
from experiments import ablation
from gan_jax import data
from gan_jax.run import log, plots
from gan_jax.run.config import Count

PRESETS = {"ring8": "default", "grid25": "grid", "stacked_mnist": "stacked_quarter"}


def main(
    ways: tyro.conf.Positional[tuple[Literal[tuple(ablation.WAYS)], ...]] = tuple(ablation.WAYS),
    dataset: Literal[tuple(PRESETS)] = "ring8",
    steps: int = 0,
    seeds: Count = 8,
    ks: tuple[int, ...] = (),
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/ablation",
):
    """Train each way with the same settings and seeds, and score its last step.

    A run that is finished is not trained again, a stopped one goes on. Ways that were recorded with the same settings
    before stay in table and picture.

    Args:
        ways: which ones.
        dataset: the data, and with it the preset of experiments/ablation.py.
        steps: updates of G [the preset's].
        seeds: runs of each, with seeds 0, 1, ...
        ks: K of the way `unrolled`, instead of the ways.
        flags: more flags of every run, as one word: --flags="--eval-every=500 --gpu".
        out: folder of ablation-DATASET.md, .jsonl and .png; of K, ablation-DATASET-k.md and so on.
        runs: folder of the runs.
    """
    steps, what = steps or ablation.PRESETS[PRESETS[dataset]].steps, "K" if ks else "way"
    file = Path(out) / (f"ablation-{dataset}" + "-k" * bool(ks))
    protocol = f"{dataset}, {steps} updates of G, {seeds} seeds, last step, mean ± standard deviation"
    protocol = {"protocol": harness.with_flags(protocol, flags), "flags": flags}
    found = carried(file.name, out, protocol)
    of_k = {f"K = {k}": ["--way=unrolled", f"--unroll={k}"] for k in ks}
    for way, own in (of_k or {way: [f"--way={way}"] for way in ways}).items():
        folder = Path(runs, f"{dataset}-{steps}x{seeds}", way.replace(" = ", ""))
        given = [f"--preset={PRESETS[dataset]}", *own, f"--steps={steps}", f"--seeds={seeds}"]
        found[way] = trained(way, [*given, *harness.words(flags)], folder)
    rows = list(found.values())
    lines = table(what, rows)
    harness.record(file.name, [protocol, *rows], out)
    file.with_suffix(".md").write_text(f"{protocol['protocol']}.\n\n{lines}\n")
    draw(file.with_suffix(".png"), rows, data.load(dataset).classes)


def trained(way, flags, folder) -> dict:
    """Return the row of a way, trained first where its run is missing."""
    results = harness.trained(ablation, flags, folder)
    names = tuple(harness.covered(results))
    print(f"{way}: " + ", ".join(f"{n} {log.spread(results[n])}" for n in names), flush=True)
    row = {"way": way, "seconds": results["seconds"], "history": harness.history(folder, names)}
    return row | {"trained": harness.trained_by(folder)}


def table(what, rows) -> str:
    """Print a row for each way, or K, and return the table."""
    names = [name for name in rows[-1]["history"] if name != "step"]
    cells = lambda row: (log.spread(row["history"][name][-1]) for name in names)
    lines = [(row["way"].removeprefix("K = "), *cells(row), round(row["seconds"])) for row in rows]
    return harness.table((what, *(name.replace("_", " ") for name in names), "seconds"), lines)


def carried(name, out, protocol) -> dict:
    """Return {way: row} of what was recorded before by the same protocol (a line that says no flags is of another)."""
    same = [rows for first, *rows in harness.recorded(name, out) if protocol.items() <= first.items()]
    return {row["way"]: row for rows in same for row in rows}


def draw(file, rows, classes):
    """Write a panel for each way: shares of covered modes and of good samples over steps; bands: all seeds."""
    fig, axes = plots.figure(len(rows), 2.6, 2.2, across=5)
    for axis, row in zip(axes, rows, strict=True):
        for name, most in (("modes", classes), ("high_quality", 1)):
            if name in row["history"]:
                share = np.array(row["history"][name]) / most  # [evaluations, seeds]
                (line,) = axis.plot(row["history"]["step"], share.mean(1), label=name.replace("_", " "))
                axis.fill_between(
                    row["history"]["step"], share.min(1), share.max(1), color=line.get_color(), alpha=0.2, linewidth=0
                )
        axis.set(title=row["way"], ylim=(-0.03, 1.03), xlabel="step")
    axes[0].legend(fontsize="small", loc="lower right")
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main)
