"""`python -m benchmarks simgan`: what a classifier learns from SimGAN's refined pictures, tested on real ones.

The protocol of Shrivastava et al. 2017 (arXiv 1612.07828, section 3.1), with digits instead of eyes: a classifier is
trained on simulated pictures and their labels, another on the same ones refined, both in the same way, and both are
tested on real test pictures, of which neither, nor the refiner, has seen a label. The paper's 7.8 against 9.9 degrees
are errors of gaze: only the direction compares. Beside them stands a classifier of the real training pictures.
"""

import dataclasses
import functools
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import gan_jax
from benchmarks import harness
from experiments.pairs import simgan
from gan_jax import data
from gan_jax.metrics import classifier
from gan_jax.run import log
from gan_jax.run.config import Count


def main(seeds: Count = 2, flags: str = "", out: str = "benchmarks/quality/results", runs: str = "runs/defaults"):
    """Train SimGAN, and a classifier on what each seed refines. A finished run is not trained again.

    Args:
        seeds: runs, with seeds 0, 1, ...
        flags: more flags of the runs, as one word: --flags="--regularise=0.5 --gpu".
        out: folder of simgan.jsonl and simgan.png.
        runs: folder of the runs: what `python -m benchmarks defaults simgan --seeds 2` trained is taken.
    """
    folder = Path(runs, "simgan")
    results = harness.trained(simgan, [f"--seeds={seeds}", *harness.words(flags)], folder)
    run = gan_jax.load(folder)
    source, real = data.load(run.cfg.source), data.load(run.cfg.dataset)
    x = data.decode(source.whole())["x"]
    found = {"simulated": accuracy(source, real, data.resized(jnp.asarray(x), real.shape))}
    found["refined"] = [accuracy(source, real, new) for new in refined(run, x)]
    found["real"] = classifier.load(real).accuracy
    kept = {name: value for name, value in results.items() if name.startswith("label_kept")}
    row = {"data": [source.name, real.name], "steps": results["steps"], "seeds": seeds, "seconds": results["seconds"]}
    row |= {"accuracy": found, **kept, "config": dataclasses.asdict(run.cfg)}
    head = "classifier of", f"accuracy on the {real.test.n} test pictures of {real.name}"
    harness.table(head, [(f"{name} pictures", f"{log.spread(100 * np.array(a))} %") for name, a in found.items()])
    print("published, of another task: errors of gaze of 7.8 degrees (refined) and 9.9 (simulated)")
    harness.record("simgan", [row | {"trained": harness.trained_by(folder)}], out)
    shutil.copyfile(folder / "samples" / "refined-final.png", Path(out, "simgan.png"))


def refined(run, x):
    """Yield pictures x [n, ...] as the R of each seed refines them: [n, h, w, c]."""
    some = jax.jit(functools.partial(simgan.refined, run.cfg))
    for i in range(run.seeds):
        yield some(run.state if run.seeds == 1 else jax.tree.map(lambda a, i=i: a[i], run.state), x)


def accuracy(source, real, x):
    """Return the accuracy on real test pictures of a classifier of pictures x [n, h, w, c] with a source's labels.

    They are 8-bit, as the set's own.
    """
    raw = {"x": data.encode(x), "y": source.whole()["y"]}
    given = {"read": functools.partial(data.take, raw), "whole": lambda: raw, "test": real.test, "fingerprint": ""}
    return classifier.load(dataclasses.replace(source, fields=source.fields | {"x": real.row["x"]}, **given)).accuracy


if __name__ == "__main__":
    harness.command(main)
