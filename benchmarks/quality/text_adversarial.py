"""`python -m benchmarks text_adversarial`: errors of a classifier of sentences trained plainly, by AT, VAT, or both.

The ways of Miyato, Dai and Goodfellow 2017 (arXiv 1605.07725) with few labels: reviews of films, and sentences about
films, products and restaurants. Which records are labelled is drawn by the seed; errors are those of the last step on
the whole test split. The paper's reviews of IMDB are whole texts, with 25,000 labels and a language model that is
trained first, so only the order of the ways is comparable.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import harness
from experiments.text import text_adversarial
from gan_jax.run import log
from gan_jax.run.config import Count

WAYS = {  # flags
    "plain": ["--adversarial=0", "--virtual=0"],
    "AT": ["--virtual=0"],
    "VAT": ["--adversarial=0"],
    "both": [],
}
SETS = {"rt_polarity": "default", "sentiment_sentences": "sentences"}  # {set: preset}
HEAD = ("set", "labels", "way", "test error", "each draw", "seconds")


def main(
    sets: tuple[Literal[*SETS], ...] = tuple(SETS),
    ways: tuple[Literal[*WAYS], ...] = tuple(WAYS),
    seeds: Count = 3,
    flags: str = "",
    record: str = "text_adversarial",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/text_adversarial",
):
    """Train in each of the ways and measure. A run that is finished is not trained again, one that was stopped goes on.

    Args:
        sets: which texts.
        ways: which of the four.
        seeds: runs of each, with seeds 0, 1, ...; each draws its labels and its nets.
        flags: more flags of every run, as one word: --flags="--labels=100 --gpu".
        record: name of the record.
        out: folder of RECORD.md and RECORD.jsonl.
        runs: folder of the runs.
    """
    rows = []
    for name in sets:
        for way in ways:
            folder = Path(runs, name, way)
            given = [f"--preset={SETS[name]}", f"--seeds={seeds}", "--eval-every=0", *WAYS[way], *harness.words(flags)]
            row, results = harness.measured(text_adversarial, given, folder, set=name, way=way, seeds=seeds)
            row |= {"error": np.ravel(results["test/error"]).tolist(), "flags": flags}
            rows.append(row)
            print(f"{name} {way}: {log.spread(100 * np.array(row['error']))} %", flush=True)
    harness.report(record, HEAD, cells, rows, out)


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    error = 100 * np.array(row["error"])
    each = ", ".join(f"{one:.1f}" for one in error)
    return row["set"], row["config"]["labels"], row["way"], f"{log.spread(error)} %", each, round(row["seconds"])


if __name__ == "__main__":
    harness.command(main)
