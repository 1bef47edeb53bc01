"""`python -m benchmarks fraud`: how well frauds that were held out are found, over many splits.

The ways are D of the game of `fraud`, the same without made codes, the error of the game's autoencoder alone, and
logistic regression on the same standardised columns (sklearn, C = 1). Each seed holds out records of its own, and the
ways see the same ones. Measured at the last step: the area under the curve of precision over recall, and the share of
frauds among the tenth of the records that score highest. The paper (Zheng et al. 2018, Neural Networks 102) has
transfers at two banks, which nobody else has, so nothing is comparable but the order of the ways.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

import gan_jax
from benchmarks import harness
from experiments.tables import fraud
from gan_jax import data
from gan_jax.metrics import ranking
from gan_jax.run import log, rundir
from gan_jax.run.config import Count

WAYS = {"game": [], "alone": ["--made=0"]}  # flags
SAID = {
    "game": "D of the game",
    "alone": "D without made codes",
    "autoencoder": "the autoencoder's error",
    "logistic": "logistic regression",
}
HEAD = ("records", "frauds seen", "sought, of", "way", "precision over recall", "frauds in the highest tenth")


def main(
    presets: tuple[Literal["default", "rare", "cards"], ...] = ("default", "rare", "cards"),
    seeds: Count = 20,
    flags: str = "",
    record: str = "fraud",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/fraud",
):
    """Train in both ways and measure. A run that is finished is not trained again, one that was stopped goes on.

    Args:
        presets: which records, and how many frauds are seen.
        seeds: splits, and runs of each way, with seeds 0, 1, ...
        flags: more flags of every run, as one word: --flags="--held=0.3 --gpu".
        record: name of the record.
        out: folder of RECORD.md and RECORD.jsonl.
        runs: folder of the runs.
    """
    rows = []
    for preset in presets:
        for way, own in WAYS.items():
            folder = Path(runs, preset, way)
            given = [f"--preset={preset}", f"--seeds={seeds}", "--eval-every=0", *own, *harness.words(flags)]
            results = harness.trained(fraud, given, folder)
            cfg = fraud.Config(**rundir.read(folder)["config"])
            common = {"preset": preset, "flags": flags, "config": dataclasses.asdict(cfg)}
            common |= sizes(cfg) | {"steps": results["steps"], "trained": harness.trained_by(folder)}
            for name, of in {way: "d", **({"autoencoder": "autoencoder"} if way == "game" else {})}.items():
                found = {what: np.ravel(results[f"{of}/{what}"]).tolist() for what in ("precision", "caught")}
                rows.append(common | {"way": name} | found)
        rows.append(common | {"way": "logistic"} | regression(cfg, gan_jax.load(folder).state.key.reshape(-1)))
    harness.report(record, HEAD, cells, rows, out)


def sizes(cfg) -> dict:
    """Return how many frauds are trained on and held out, and of how many records that are held out."""
    known, held = jax.eval_shape(lambda: data.dealt(fraud.source_of(cfg), jax.random.key(0), cfg.held, cfg.few))
    return {"seen": len(known[0]), "sought": len(held[0]), "held": len(held[0]) + len(held[1])}


def regression(cfg, keys) -> dict:
    """Return what logistic regression finds on the split of each key, as the runs of these keys have them."""
    from sklearn.linear_model import LogisticRegression

    source, found = fraud.source_of(cfg), {"precision": [], "caught": []}
    x = np.asarray(source.make({"x": source.whole()["x"]}, jax.random.key(0), 0, source.test.n)["x"])
    split = jax.jit(lambda key: data.dealt(source, key, cfg.held, cfg.few))
    for key in keys:
        (frauds, good), held = ([np.asarray(rows) for rows in side] for side in split(key))
        y = np.arange(len(frauds) + len(good)) < len(frauds)
        fitted = LogisticRegression(max_iter=1000).fit(x[np.concatenate([frauds, good])], y)
        rows = np.concatenate(held)
        score, sought = jnp.asarray(fitted.decision_function(x[rows])), jnp.arange(len(rows)) < len(held[0])
        found["precision"].append(float(ranking.average_precision(score, sought)))
        found["caught"].append(float(ranking.caught(score, sought, 0.1)))
    return found


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    percent = [f"{log.spread(100 * np.array(row[what]))} %" for what in ("precision", "caught")]
    few = f" ({row['preset']})" if row["config"]["few"] else ""
    return row["config"]["dataset"] + few, row["seen"], f"{row['sought']}, {row['held']}", SAID[row["way"]], *percent


if __name__ == "__main__":
    harness.command(main)
