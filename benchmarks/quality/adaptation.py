"""`python -m benchmarks adaptation`: how well a classifier reads a set of which it saw no label, adapted or not.

MNIST and USPS, both ways, 2,000 and 1,800 of their training images (which ones is drawn by the seed) or all of them.
Target accuracy is that of the last step on the whole test split of the target. Beside it stand, without a word of the
target's labels in training either: accuracy on the target images that training saw, which is what CoGAN's authors
measured from MNIST to USPS in the small setting; and the same classifier trained on the source alone.
"""

from pathlib import Path
from typing import Literal

import jax
import numpy as np
import optax

from benchmarks import harness
from gan_jax import data, metrics
from gan_jax.game import descend
from gan_jax.run import log
from gan_jax.run.config import Count
from gan_jax.run.program import game

SETS = {  # {size of an image: {set: (name, images of the small setting)}}
    28: {"mnist": ("mnist", 2000), "usps": ("usps,size=28", 1800)},
    16: {"mnist": ("mnist,size=16", 2000), "usps": ("usps", 1800)},
}
WAYS = {"mnist-usps": ("mnist", "usps"), "usps-mnist": ("usps", "mnist")}  # source, target
HEAD = ("experiment", "way", "images", "steps", "target", "target, images seen", "source", "source alone", "seconds")
FOUND = {"target": "accuracy/target", "seen": "accuracy/target_seen", "source": "accuracy/source"}


def main(
    names: tuple[str, ...] = ("cogan",),
    ways: tuple[Literal[*WAYS], ...] = tuple(WAYS),
    settings: tuple[Literal["small", "whole"], ...] = ("small",),
    size: Literal[*SETS] = 28,
    seeds: Count = 5,
    alone: Count = 500,
    flags: str = "",
    record: str = "adaptation",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/adaptation",
):
    """Train each way and measure. A run that is finished is not trained again, one that was stopped goes on.

    Args:
        names: experiments that adapt a classifier: with the fields source, images and source_images, and `named`.
        ways: from which set to which.
        settings: how many images are seen.
        size: of the images, 28 as MNIST's or 16 as those of USPS.
        seeds: runs of each, with seeds 0, 1, ...; each draws its images and its nets.
        alone: updates of the classifier on the source alone.
        flags: more flags of every run, as one word: --flags="--steps=10000 --gpu".
        record: name of the record.
        out: folder of RECORD.md and RECORD.jsonl.
        runs: folder of the runs.
    """
    rows = []
    for name in names:
        module = harness.experiment(name)
        for way in ways:
            for setting in settings:
                folder = Path(runs, name, f"{way}-{setting}")
                given = [f"--seeds={seeds}", *flags_of(way, setting, size), *harness.words(flags)]
                of = {"experiment": name, "way": way, "setting": setting, "seeds": seeds}
                row, results = harness.measured(module, given, folder, **of)
                row |= {word: np.ravel(results[of]).tolist() for word, of in FOUND.items() if of in results}
                row["alone"] = [unadapted(module, module.Config(**row["config"]), seed, alone) for seed in range(seeds)]
                row |= {"alone_steps": alone, "flags": flags}
                rows.append(row)
                print(f"{name} {way} {setting}: {log.spread(row['target'])}", flush=True)
    harness.report(record, HEAD, cells, rows, out)


def flags_of(way, setting, size=28) -> list[str]:
    """Return the flags that choose the sets and how many of their images are seen."""
    (source, n), (target, m) = (SETS[size][name] for name in WAYS[way])
    n, m = (n, m) if setting == "small" else (0, 0)
    return [f"--source={source}", f"--dataset={target}", f"--source-images={n}", f"--images={m}"]


def unadapted(module, cfg, seed, steps) -> float:
    """Return the accuracy on the target's test split of the experiment's classifier, trained on the source alone.

    It sees the images that the experiment sees with this seed, in the same order, and classifies through the source's
    own layers.
    """
    source, b, *_ = game(module, cfg).setup
    key, (*_, tx) = jax.random.key(seed), module.build(cfg)
    feed = data.resident(source)["source"]

    @jax.jit
    def move(d, feed, i):
        raw = data.take(feed, source.pick(key, i, b)["source"])
        x, y = data.decode(raw)["x"], raw["y"]

        def loss(params):
            logits = module.named(cfg, d._replace(params=params), x, "a")
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        return descend(d, jax.grad(loss)(d.params), tx)

    d = jax.jit(lambda key: module.init(cfg, key).d)(key)
    for i in range(steps):
        d = move(d, feed, np.int32(i))
    test = data.resident(data.load(cfg.dataset).test)
    one = lambda x: module.named(cfg, d, data.decode({"x": x})["x"][None], "a")[0].argmax()
    said = jax.jit(lambda x: jax.lax.map(one, x, batch_size=500))(test["x"])
    return float(metrics.agreement(said, test["y"]))


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    percent = lambda name: f"{log.spread(100 * np.array(row[name]))} %" if name in row else ""
    found = (percent(name) for name in ("target", "seen", "source", "alone"))
    return row["experiment"], row["way"], row["setting"], row["steps"], *found, round(row["seconds"])


if __name__ == "__main__":
    harness.command(main)
