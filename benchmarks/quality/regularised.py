"""`python -m benchmarks regularised`: what each way to hold D back is worth where data are few, alone and all at once.

The ways are those of experiments/images/regularised.py. Scores are those of `tips`.
"""

from pathlib import Path
from typing import Literal

import tyro

from benchmarks import harness
from benchmarks.quality import compare, tips
from experiments.images import regularised
from gan_jax import data
from gan_jax.run import log
from gan_jax.run.config import Count

WAYS = {"none": (), **{name: (name,) for name in regularised.USES}, "all": regularised.PRESETS["all"].use}


def main(
    names: tyro.conf.Positional[tuple[Literal[tuple(WAYS)], ...]] = tuple(WAYS),
    records: int = regularised.Config.records,
    steps: Count = regularised.Config.steps,
    seeds: Count = 2,
    samples: Count = 2000,
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/regularised",
):
    """Train each way, and score the last step. A run that is finished is not trained again.

    Args:
        names: the ways; "none" and "all" too.
        records: pictures that are trained on; 0: all.
        steps: updates of G.
        seeds: runs of each, with seeds 0, 1, ...
        samples: images of each seed that are scored.
        flags: more flags of every run, as one word: --flags="--width=32 --gpu".
        out: folder of regularised.md and regularised.jsonl.
        runs: folder of the runs.
    """
    source = data.load(regularised.Config.dataset)
    judge, rows = compare.Judge(source, samples), []
    for name in names:
        given = [f"--records={records}", f"--steps={steps}", f"--seeds={seeds}", *harness.words(flags)]
        given += ["--use", *WAYS[name]] if WAYS[name] else []
        row = tips.scored(regularised, given, Path(runs, f"{records}-{steps}x{seeds}", name), judge, samples)
        rows.append({"way": name} | row)
        print(f"{name}: " + ", ".join(f"{n} {log.spread(row[n])}" for n in tips.SCORES), flush=True)
    few = f"{records} pictures of " if records else ""
    protocol = f"{few}{source.name}, {steps} updates, {seeds} seeds, last step, mean ± standard deviation"
    protocol = harness.with_flags(f"{protocol}; {judge.protocol}", flags)
    tips.report(Path(out, "regularised"), protocol, ("way",), rows, tips.itself(judge, source, samples))


if __name__ == "__main__":
    harness.command(main)
