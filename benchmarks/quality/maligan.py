"""`python -m benchmarks maligan`: MaliGAN, alone and mixed with likelihood, against likelihood alone at equal budget.

The budget is a number of updates of G, of as many strings each; in the game D learns beside it, which likelihood alone
spares, so its seconds are fewer. On the grammar's strings two figures are exact: which share of what G draws is
accepted, and the Kullback-Leibler divergence from the grammar to G. Of all sets there are the perplexity of held-out
strings, and the share of the runs of tokens in samples, of four or, of words, three, that stand in them; beside it that
of training strings. In all ways G's rate falls to a tenth when half of the updates are made. The last step counts.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import harness
from experiments.sequences import maligan
from gan_jax.run import log
from gan_jax.run.config import Count

WORDS = "level=word,length=20,vocabulary=1000"
SETS = {
    "expressions": "expressions",
    **{name: f"{name},{WORDS}" for name in ("tiny_shakespeare", "war_and_peace", "wikitext2_heldout")},
    "zinc20k": "zinc20k,x=smiles,length=64",
    "qm9_smiles5k": "qm9_smiles5k",
}
WAYS = ("likelihood", "MaliGAN", "mixed")
HEAD = ("set", "way", "perplexity", "runs", "of data", "different", "mass", "KL", "seconds")
SCORES = ("perplexity", "overlap", "distinct", "mass", "kl")


def main(
    sets: tuple[Literal[*SETS], ...] = tuple(SETS),
    ways: tuple[Literal[*WAYS], ...] = WAYS,
    seeds: Count = 1,
    flags: str = "",
    record: str = "maligan",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/maligan",
):
    """Train in each of the ways and measure. A run that is finished is not trained again, one that was stopped goes on.

    Args:
        sets: which strings.
        ways: likelihood alone; likelihood, then MaliGAN; likelihood, then MaliGAN that keeps beginnings.
        seeds: runs of each, with seeds 0, 1, ...
        flags: more flags of every run, as one word: --flags="--width=32 --gpu".
        record: name of the record.
        out: folder of RECORD.md and RECORD.jsonl.
        runs: folder of the runs.
    """
    rows = []
    for name in sets:
        for way in ways:
            folder, given = Path(runs, name, way), [*of_set(name), *harness.words(flags)]
            given += of_way(way, harness.cli.parse(maligan.Config, maligan.PRESETS, given)[0])
            given += [f"--seeds={seeds}", "--eval-every=0"]
            row, results = harness.measured(maligan, given, folder, set=name, way=way, seeds=seeds)
            n = next(n for n in (4, 3, 2, 1) if f"overlap{n}/gan" in results)
            of = {score: f"{score}{n}" if score == "overlap" else score for score in SCORES}
            row |= {k: np.ravel(results[f"{v}/gan"]).tolist() for k, v in of.items() if f"{v}/gan" in results}
            row |= {"n": n, "overlap/data": float(np.ravel(results[f"overlap{n}/data"])[0])}
            rows.append(row)
            print(f"{name} {way}: perplexity {log.spread(row['perplexity'])}", flush=True)
    harness.report(record, HEAD, cells, rows, out)


def of_set(name) -> list[str]:
    """Return the flags of a set: texts have larger vectors."""
    return [f"--dataset={SETS[name]}"] + ["--dim=32"] * (name != "expressions")


def of_way(way, cfg) -> list[str]:
    """Return the flags of a way: likelihood alone takes all of the steps."""
    return {"likelihood": [f"--mle={cfg.steps}"], "MaliGAN": ["--mixed=0"], "mixed": []}[way]


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    said = {score: log.spread(row[score]) if score in row else "" for score in SCORES}
    said["overlap"] += f" of {row['n']}"
    perplexity, runs, *others = said.values()
    return row["set"], row["way"], perplexity, runs, log.spread(row["overlap/data"]), *others, round(row["seconds"])


if __name__ == "__main__":
    harness.command(main)
