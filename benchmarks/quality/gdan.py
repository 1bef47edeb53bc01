"""`python -m benchmarks gdan`: F1 and exact match of a reader with few real questions, with and without G's.

The ways are the rows of Yang et al. 2017 (arXiv 1702.02206): real questions alone; those of a G that learned from them
alone, too; the same with tags; and the whole game. Which questions are known is drawn by the seed. Each way makes as
many updates on real questions; measured is the last step on the whole test split. The paper has SQuAD, whole
paragraphs, and answers that a parser finds in a million others, so only the order of the ways is comparable.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import harness
from experiments.text import gdan
from gan_jax.run import log
from gan_jax.run.config import Count

WAYS = {  # flags
    "real": ["--generated=0", "--reinforce=0"],
    "generated": ["--no-tags", "--reinforce=0"],
    "tags": ["--reinforce=0"],
    "GDAN": [],
}
SETS = {"policyqa_part": "default", "xquad_en": "xquad"}  # {set: preset}
HEAD = ("set", "known", "way", "F1", "exact match", "F1 of the whole window", "each draw's F1", "seconds")


def main(
    sets: tuple[Literal[*SETS], ...] = ("policyqa_part",),
    ways: tuple[Literal[*WAYS], ...] = tuple(WAYS),
    seeds: Count = 1,
    flags: str = "",
    record: str = "gdan",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/gdan",
):
    """Train in each of the ways and measure. A run that is finished is not trained again, one that was stopped goes on.

    Args:
        sets: which texts.
        ways: which of the four.
        seeds: runs of each, with seeds 0, 1, ...; each draws which questions are known, and its nets.
        flags: more flags of every run, as one word: --flags="--labelled=0.2 --gpu".
        record: name of the record.
        out: folder of RECORD.md and RECORD.jsonl.
        runs: folder of the runs.
    """
    rows = []
    for name in sets:
        for way in ways:
            folder = Path(runs, name, way)
            given = [f"--preset={SETS[name]}", f"--seeds={seeds}", "--eval-every=0", *WAYS[way], *harness.words(flags)]
            row, results = harness.measured(gdan, given, folder, set=name, way=way, seeds=seeds)
            row |= {of: np.ravel(results[of]).tolist() for of in ("test/f1", "test/exact", "whole/f1")}
            row["flags"] = flags
            rows.append(row)
            print(f"{name} {way}: F1 {log.spread(100 * np.array(row['test/f1']))} %", flush=True)
    harness.report(record, HEAD, cells, rows, out)


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    percent = {of: 100 * np.array(row[of]) for of in ("test/f1", "test/exact", "whole/f1")}
    known, each = f"{100 * row['config']['labelled']:g} %", ", ".join(f"{one:.1f}" for one in percent["test/f1"])
    spread = [f"{log.spread(one)} %" for one in percent.values()]
    return row["set"], known, row["way"], *spread, each, round(row["seconds"])


if __name__ == "__main__":
    harness.command(main)
