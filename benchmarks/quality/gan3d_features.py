"""`python -m benchmarks gan3d_features`: what a linear classifier reads from the features of 3D-GAN's discriminator.

The protocol of Wu et al. 2016 (arXiv 1610.07584, section 4.2): the activations of D's layers of 16^3, 8^3 and 4^3
voxels, max-pooled to 2^3 cells, and a linear SVM on them, here the one of `dcgan_features`. Beside it the same SVM on
voxels, averaged over blocks of 4^3, and on the features of a D that was never trained. The paper's 91.0 % on ModelNet10
comes from a D of 64^3 voxels that was trained on seven classes of ShapeNet; here D sees the training shapes of
ModelNet10, whose labels the SVM has.
"""

from pathlib import Path

import gan_jax
from benchmarks import harness, linear
from experiments.shapes import gan3d
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
    parts = linear.splits(gan_jax.load(folder).cfg.dataset, rows)
    found = linear.read_run(gan3d, folder, parts, {"voxels": linear.shrunk}, iterations)
    published = "published (64^3 voxels, D trained on ShapeNet): 91.0 % on ModelNet10"
    linear.report("gan3d_features", found, published, out)


if __name__ == "__main__":
    harness.command(main)
