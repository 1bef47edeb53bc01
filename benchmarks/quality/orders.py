"""`python -m benchmarks orders`: does a random forest tell orders of eCommerceGAN from those of a shop?

ecGAN and ec2GAN, which is told a product, are trained, or finished runs taken. A forest (sklearn, 200 trees) learns of
half of the orders that are held out and as many others, and says of the other halves which they are: half the time
rightly by chance. The others are samples, orders whose parts are drawn one by one, and training orders, which are the
best that can be had. A forest asks one number after the other, so it finds what a perceptron smooths over, as vectors
that no product has; it is asked once more of orders that were read as the nearest customer and product. Kumar et al.
2018 (arXiv 1801.03244) have a forest, too; no accuracy of it is known to us.
"""

from pathlib import Path

import jax
import numpy as np

import gan_jax
from benchmarks import harness
from experiments.tables import orders
from gan_jax.data.shopping import sections
from gan_jax.run import log
from gan_jax.run.config import Count

WAYS = {"ecGAN": ["--no-conditional"], "ec2GAN": ["--conditional"]}  # flags
TREES, ROWS = 200, 2000  # of a forest; orders of each kind
HEAD = ("orders", "told by a forest", "as nearest product", "steps")


def main(
    forests: Count = 3,
    flags: str = "",
    record: str = "orders_told",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/orders",
):
    """Train in both ways and ask the forests. A run that is finished is not trained again.

    Args:
        forests: for each kind of orders, with seeds 0, 1, ...
        flags: more flags of every run, as one word: --flags="--steps=500 --gpu".
        record: name of the record.
        out: folder of RECORD.md and RECORD.jsonl.
        runs: folder of folders `ecGAN` and `ec2GAN` with the runs.
    """
    rows = []
    for way, own in WAYS.items():
        folder = Path(runs, way)
        row, _ = harness.measured(orders, ["--eval-every=0", *own, *harness.words(flags)], folder, orders=way)
        run = gan_jax.load(folder)
        source = orders.source_of(run.cfg)
        real, read = np.asarray(source.test.whole()["x"][:ROWS]), source.row["x"].undo
        of = lambda x, read=read, real=real: {
            "told": [told(real, x, seed) for seed in range(forests)],
            "read": [told(*(np.asarray(read(part)) for part in (real, x)), seed) for seed in range(forests)],
        }
        rows.append(row | of(np.asarray(run.sample(jax.random.key(0), len(real)))))
    known = np.asarray(source.whole()["x"])
    facts = {"config": row["config"], "trained": row["trained"]}
    rows.append({"orders": "parts drawn one by one"} | of(apart(run.cfg, known, len(real))) | facts)
    rows.append({"orders": "training orders"} | of(known[-len(real) :]) | facts)
    harness.report(record, HEAD, cells, rows, out)


def told(real, x, seed) -> float:
    """Return the share of rows, half of them x and half real, of which a forest says rightly which they are.

    It sees the first half of each, and is asked about the second.
    """
    from sklearn.ensemble import RandomForestClassifier

    n = min(len(real), len(x)) // 2
    rows = lambda part: np.concatenate([real[part], x[part]])
    y, forest = np.arange(2 * n) < n, RandomForestClassifier(TREES, random_state=seed, n_jobs=1)
    return float(forest.fit(rows(slice(n)), y).score(rows(slice(n, 2 * n)), y))


def apart(cfg, known, n) -> np.ndarray:
    """Return n orders, of each part of which (customer, product, ...) the one of an order drawn for itself."""
    generator, drawn = np.random.default_rng(0), np.zeros((n, known.shape[1]), known.dtype)
    for at in sections(cfg.customer, cfg.product).values():
        drawn[:, at] = known[generator.integers(len(known), size=n)][:, at]
    return drawn


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    said = [f"{log.spread(100 * np.array(row[what]))} %" for what in ("told", "read")]
    return row["orders"], *said, row.get("steps", "-")


if __name__ == "__main__":
    harness.command(main)
