"""`python -m benchmarks gan3d_features`: what a linear classifier reads from the features of 3D-GAN's discriminator.

The protocol of Wu et al. 2016 (arXiv 1610.07584, section 4.2): the activations of D's layers of 16^3, 8^3 and 4^3
voxels, max-pooled to 2^3 cells, and a linear SVM on them, here the one of `dcgan_features`. Beside it the same SVM on
voxels, averaged over blocks of 4^3, and on the features of a D that was never trained. The paper's 91.0 % on ModelNet10
comes from a D of 64^3 voxels that was trained on seven classes of ShapeNet; here D sees the training shapes of
ModelNet10, whose labels the SVM has.
"""

import functools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp

import gan_jax
from benchmarks import harness
from benchmarks.quality.dcgan_features import fitted, pooled, splits
from experiments.shapes import gan3d
from gan_jax import data
from gan_jax.run.config import Count


def main(
    flags: str = "",
    rows: Count = 10_000,
    iterations: Count = 150,
    out: str = "benchmarks/quality/results",
    runs: str = "runs/gan3d_features",
):
    """Train 3D-GAN without labels, then the SVM on train rows, and score it on test rows.

    Args:
        flags: more flags of the run, as one word: --flags="--width=16 --gpu".
        rows: training rows of the SVM, and test rows, at most.
        iterations: of L-BFGS, for each SVM.
        out: folder of gan3d_features.jsonl.
        runs: folder of a folder `gan3d` with the run; where that is finished, as of `benchmarks defaults`, it stays.
    """
    folder = Path(runs, "gan3d")
    harness.trained(gan3d, harness.words(flags), folder)
    run, found = gan_jax.load(folder), []
    cfg, (train, test) = run.cfg, splits(run.cfg.dataset, rows)
    untrained = jax.jit(functools.partial(gan3d.init, cfg))(jax.random.key(1)).d
    for kind, d in {"voxels": None, "D, random": untrained, "D, trained": run.state.d}.items():
        ours = [flat(gan3d.build(cfg)[1], d, part["x"]) if d else shrunk(part["x"]) for part in (train, test)]
        accuracy, c = fitted(ours, (train["y"], test["y"]), data.load(cfg.dataset).classes, iterations)
        row = {"dataset": cfg.dataset, "steps": int(run.state.step), "width": cfg.width, "features": kind}
        row |= {"train": len(train["y"]), "test": len(test["y"]), "dims": ours[0].shape[1]}
        found.append(row | {"c": c, "accuracy": accuracy})
    head = ("dataset", "features", "dims", "C", "test accuracy")
    harness.table(head, [(r["dataset"], r["features"], r["dims"], r["c"], f"{r['accuracy']:.2%}") for r in found])
    print("published (64^3 voxels, D trained on ShapeNet): 91.0 % on ModelNet10")
    harness.record("gan3d_features", [row | {"trained": harness.trained_by(folder)} for row in found], out)


def shrunk(x):
    """Return x [n, d, h, w, 1], averaged over blocks of 4^3: [n, d h w / 64]."""
    return nn.avg_pool(x, (4, 4, 4), (4, 4, 4)).reshape(len(x), -1)


@functools.partial(jax.jit, static_argnums=0)
def flat(D, d, x):
    """Return the features [n, 8 * (channels of the last three layers before the score)] of solids x [n, d, h, w, 1]."""

    def one(solid):
        keep = lambda module, _: isinstance(module, nn.BatchNorm)
        given = {"params": d.params, **d.stats}, solid[None]
        _, seen = D.apply(*given, train=False, capture_intermediates=keep, mutable="intermediates")
        layers = [seen["intermediates"][f"BatchNorm_{i}"]["__call__"][0] for i in range(len(seen["intermediates"]))]
        return jnp.concatenate([nn.leaky_relu(pooled(x, 2), 0.2).ravel() for x in layers[-3:]])

    return jax.lax.map(one, x, batch_size=500)


if __name__ == "__main__":
    harness.command(main)
