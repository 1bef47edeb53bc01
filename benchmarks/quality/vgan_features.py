"""`python -m benchmarks vgan_features`: what a linear classifier reads from the features of VGAN's discriminator.

The activations of D's last layers that are normalised, max-pooled to 2^3 cells, and a linear SVM on them, the one of
`dcgan_features`, which tells actions. Beside it the same SVM on the clips' pixels, averaged over blocks of 4^3, and on
the features of a D that was never trained. Vondrick et al. 2016 (arXiv 1609.02612) fine-tune a D that saw two million
clips on UCF101 and have 52.1 % of 101 actions, and 36.7 % from random weights: another protocol, and other data.
"""

from pathlib import Path

import gan_jax
from benchmarks import harness, linear
from experiments.video import vgan
from gan_jax import data
from gan_jax.run.config import Count


def main(
    flags: str = "",
    rows: Count = 2000,
    iterations: Count = 150,
    out: str = "benchmarks/quality/results",
    runs: str = "runs/vgan_features",
):
    """Train VGAN without labels, then the SVM on train clips, and score it on test clips.

    Args:
        flags: more flags of the run, as one word: --flags="--width=32 --gpu".
        rows: training clips of the SVM, and test clips, at most.
        iterations: of L-BFGS, for each SVM.
        out: folder of vgan_features.jsonl.
        runs: folder of a folder `vgan` with the run; where that is finished, as of `benchmarks defaults`, it stays.
    """
    folder = Path(runs, "vgan")
    harness.trained(vgan, harness.words(flags), folder)
    source = data.load(gan_jax.load(folder).cfg.dataset)
    parts = [data.some(part, rows) for part in (source, source.test)]
    found = linear.read_run(vgan, folder, parts, {"pixels": linear.shrunk}, iterations)
    published = "published, not comparable (D fine-tuned on UCF101): 52.1 %, from random weights 36.7 %"
    linear.report("vgan_features", found, published, out)


if __name__ == "__main__":
    harness.command(main)
