"""`python -m benchmarks.ablation`: what makes the unrolled GAN work? All ways of experiments/ablation.py, compared."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from benchmarks import measure
from experiments import ablation
from gan_jax import cli, data, log, plots
from gan_jax.metrics import classifier, features

PRESETS = {"ring8": "default", "grid25": "grid", "stacked_mnist": "stacked_quarter"}


def main(
    ways: tyro.conf.Positional[tuple[Literal[tuple(ablation.WAYS)], ...]] = tuple(ablation.WAYS),
    dataset: Literal[tuple(PRESETS)] = "ring8",
    steps: int = 0,
    seeds: int = 8,
    samples: int = 25_600,
    moments: int = 5,
    out: str = "benchmarks/results",
    runs: str = "runs/ablation",
):
    """Train each way with the same settings and seeds, and score its last step.

    On a toy the scores are those of mode coverage. On stacked_mnist they are the modes that the classifier of MNIST
    sees, and their KL against 1,000 equal ones. A run that is finished is not trained again, a stopped one goes on.

    Args:
        ways: which ones.
        dataset: the data, and with it the preset of experiments/ablation.py.
        steps: updates of G [the preset's].
        seeds: runs of each, with seeds 0, 1, ...
        samples: stacked images of each seed that are scored.
        moments: how often, evenly, stacked images are scored; a toy is every 1,000 steps.
        out: folder of ablation-DATASET.md, .jsonl and .png.
        runs: folder of the runs.
    """
    preset = ablation.PRESETS[PRESETS[dataset]]
    steps, source, rows = steps or preset.steps, data.load(dataset), []
    marks = [steps] if source.modes else [steps * (i + 1) // moments for i in range(moments)]
    for way in ways:
        folder = Path(runs, f"{dataset}-{steps}x{seeds}-{moments}x{samples}", way)
        flags = [f"--preset={PRESETS[dataset]}", f"--way={way}", f"--seeds={seeds}"]
        found = measure.scored(ablation.main, flags, folder, marks, lambda run: scores(run, source, samples))
        history = found
        if source.modes:
            past = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]
            history = [row for row in past if "modes" in row and row["step"] < steps]
            history.append({"step": steps} | json.loads((folder / "results.json").read_text()))
        names = [n for n in ("modes", "high_quality", "reverse_kl") if n in history[-1]]
        history = [{n: row[n] for n in ("step", *names)} for row in history]
        rows.append({"way": way, "seconds": sum(row["seconds"] for row in found), "history": history})
        print(f"{way}: " + ", ".join(f"{n} {log.spread(history[-1][n])}" for n in names), flush=True)
    protocol = f"{dataset}, {steps} updates of G, {seeds} seeds, last step, mean ± standard deviation"
    protocol += (
        "" if source.modes else f"; {samples} samples a seed, classifier {classifier.load(source.base.name).digest}"
    )
    lines = measure.table(
        ("way", *(n.replace("_", " ") for n in names), "seconds"),
        [(r["way"], *(log.spread(r["history"][-1][n]) for n in names), round(r["seconds"])) for r in rows],
    )
    file = Path(out) / f"ablation-{dataset}"
    measure.record(file.name, [{"protocol": protocol}, *rows], out)
    file.with_suffix(".md").write_text(f"{protocol}.\n\n{lines}\n")
    draw(file.with_suffix(".png"), rows, source.classes)


def scores(run, source, n):
    """Return the modes that a classifier sees in n samples of each seed, and their KL; of a toy nothing."""
    if source.modes:
        return {}
    seen = measure.labels(run, classifier.load(source.base.name), n)
    found = [features.label_histogram(np.arange(source.classes), one, source.classes) for one in seen]
    return {name: [one[name] for one in found] if len(found) > 1 else found[0][name] for name in found[0]}


def draw(file, rows, classes):
    """Write a panel for each way: shares of covered modes and of good samples over steps; bands: all seeds."""
    fig, axes = plots.figure(len(rows), 2.6, 2.2, across=5)
    for axis, row in zip(axes, rows, strict=True):
        at = [moment["step"] for moment in row["history"]]
        for name, most in (("modes", classes), ("high_quality", 1)):
            if name in row["history"][0]:
                share = np.array([np.ravel(moment[name]) for moment in row["history"]]) / most  # [moments, seeds]
                (line,) = axis.plot(at, share.mean(1), label=name.replace("_", " "))
                axis.fill_between(at, share.min(1), share.max(1), color=line.get_color(), alpha=0.2, linewidth=0)
        axis.set(title=row["way"], ylim=(-0.03, 1.03), xlabel="step")
    axes[0].legend(fontsize="small", loc="lower right")
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    cli.run(lambda: tyro.cli(main))
