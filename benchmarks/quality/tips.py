"""`python -m benchmarks tips`: what each tip of "How to train a GAN" is worth, alone, beside none of them and all.

A DCGAN that is trained against each tip of the list (experiments/images/tips.py), then with one alone, then with all of
the preset `ganhacks`. `--base tanh nonsat gaussian split leaky` puts each on top of these instead. Scores are those of
the set's classifier for samples of the last step, as `compare` has them, and the run's own word on its health.
"""

import collections
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from benchmarks import harness
from benchmarks.quality import compare
from experiments.images import tips
from gan_jax import data
from gan_jax.run import health, log, rundir
from gan_jax.run.config import Count

Tip = Literal[tuple(tips.TIPS)]
SCORES = "frechet", "precision", "recall", "reverse_kl", "diversity"


def main(
    names: tyro.conf.Positional[tuple[Literal["none", *tips.TIPS, "ganhacks"], ...]] = ("none", *tips.TIPS, "ganhacks"),
    base: tuple[Tip, ...] = (),
    dataset: str = "digits",
    steps: int = 0,
    seeds: Count = 2,
    samples: Count = 2000,
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/tips",
):
    """Train with each tip, and score the last step. A run that is finished is not trained again.

    Args:
        names: tips, "none" and "ganhacks".
        base: tips that all runs have besides.
        dataset: an image set with labels and a test split.
        steps: updates of G [the preset's].
        seeds: runs of each, with seeds 0, 1, ...
        samples: images of each seed that are scored.
        flags: more flags of every run, as one word: --flags="--width=16 --gpu".
        out: folder of tips.md and tips.jsonl; with a base of tips-based.md and so on.
        runs: folder of the runs.
    """
    source, steps = data.load(dataset), steps or tips.Config.steps
    judge, rows = compare.Judge(source, samples), []
    for name in (name for name in names if name not in base):
        used = tips.HACKS if name == "ganhacks" else (*base, *(() if name == "none" else (name,)))
        folder = Path(runs, f"{dataset}-{steps}x{seeds}", "+".join(used) or "none")
        given = [f"--tips={','.join(used)}", f"--dataset={dataset}", f"--steps={steps}", f"--seeds={seeds}"]
        row = scored(tips, [*given, *harness.words(flags)], folder, judge, samples)
        rows.append({"tip": name, "number": tips.TIPS.get(name), "tips": used} | row)
        print(f"{name}: " + ", ".join(f"{n} {log.spread(row[n])}" for n in SCORES), flush=True)
    protocol = f"{dataset}, {steps} updates of G, {seeds} seeds, last step, mean ± standard deviation; {judge.protocol}"
    protocol = harness.with_flags(protocol + (f"; all with {', '.join(base)}" if base else ""), flags)
    report(
        Path(out, "tips-based" if base else "tips"), protocol, ("tip", "number"), rows, itself(judge, source, samples)
    )


def scored(module, flags, folder, judge, samples):
    """Return scores, health and seconds of the experiment's run with these flags, trained unless it is there."""
    results = harness.trained(module, flags, folder)
    row = judge(compare.sampled(folder, samples)) | {"diversity": results["diversity"], "health": results["health"]}
    row |= {"seconds": results["seconds"], "config": rundir.read(folder)["config"]}
    return row | {"trained": harness.trained_by(folder)}


def itself(judge, source, samples):
    """Return the scores of the training data."""
    return judge(data.decode({"x": source.whole()["x"][:samples]})["x"][None])


def report(file, protocol, names, rows, itself):
    """Print a row for each way, and one of the training data itself; write them to FILE.md, and all to FILE.jsonl.

    names: of what a row says of its way, which comes first.
    """
    head = *names, *(name.replace("_", " ") for name in SCORES), "health", "seconds"
    own = lambda row: (row[name] or "" for name in names)
    lines = [(*own(row), *(log.spread(row[n]) for n in SCORES), said(row), round(row["seconds"])) for row in rows]
    first = "the training data", *("" for _ in names[1:])
    lines.append((*first, *(log.spread(itself[n]) if n in itself else "1" for n in SCORES), "", ""))
    lines = harness.table(head, lines)
    harness.record(file.name, [{"protocol": protocol, "itself": itself}, *rows], file.parent)
    file.with_suffix(".md").write_text(f"{protocol}.\n\n{lines}\n")


def said(row) -> str:
    """Return a run's findings on its health, without their figures, and of how many of its seeds."""
    found = collections.Counter(
        "; ".join(part.partition(":")[0] for part in line.split("; ")) for line in np.ravel(row["health"]).tolist()
    )
    well = {health.WELL: "well"}
    return ", ".join(f"{well.get(what, what)}" + f" ({n})" * (len(found) > 1) for what, n in found.items())


if __name__ == "__main__":
    harness.command(main)
