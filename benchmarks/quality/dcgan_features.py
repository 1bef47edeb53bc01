"""`python -m benchmarks dcgan_features`: what a linear classifier reads from the features of DCGAN's discriminator.

The protocol of Radford et al. 2016 (arXiv 1511.06434, section 5.1): the activations of all of D's convolutions,
max-pooled to a 4x4 grid, flattened, and a linear L2-SVM on them; C is chosen on a fifth of the training rows. Beside it
the same SVM on raw pixels and on the features of a D that was never trained: what D has learnt is what it has above
both. The paper's 82.8 % on CIFAR-10 comes from a large D, trained on ImageNet, and from all 50,000 labels: no figure of
this table is comparable to it.
"""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness, linear
from experiments.images import dcgan
from gan_jax.run.config import Count


def main(
    datasets: tuple[str, ...] = ("cifar10_subset", "fashion_mnist"),
    steps: Count = 3000,
    width: Count = 32,
    batch_size: Count = 64,
    rows: Count = 10_000,
    iterations: Count = 150,
    out: str = "benchmarks/quality/results",
):
    """Train DCGAN on each set without its labels, then the SVM on train rows, and score it on test rows.

    Args:
        datasets: labelled image sets; where there is no test split, the last fifth of the records stands for it.
        steps: updates of DCGAN.
        width: channels of D at full resolution.
        batch_size: rows of an update of DCGAN.
        rows: training rows of the SVM, and test rows, at most.
        iterations: of L-BFGS, for each SVM.
        out: folder of dcgan_features.jsonl.
    """
    found = []
    for name in datasets:
        begin = time.monotonic()
        cfg = dataclasses.replace(dcgan.Config(), dataset=name, width=width, batch_size=batch_size)
        state, keys, feed, advance, _, _ = harness.prepared(dcgan, cfg)
        random = jax.tree.map(jnp.copy, state.d)  # `advance` takes the state's memory over
        for at in range(0, steps, 100):
            state, _ = advance(state, keys, feed, np.int32(min(100, steps - at)))
        _, D, _ = dcgan.build(cfg)
        # D's first convolution has no batch norm; of the others what comes out of theirs
        of = lambda D, d: lambda x: linear.activations(D, d, x, (*linear.layers(d), "Conv_0"), 4)
        kinds = {"pixels": flat, "D, random": of(D, random), "D, trained": of(D, state.d)}
        facts = {"dataset": name, "steps": steps, "width": width}
        found += linear.read(kinds, linear.splits(name, rows), iterations, facts)
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    published = "published, not comparable (D trained on ImageNet, all of CIFAR-10's labels): 82.8 %"
    linear.report("dcgan_features", found, published, out)


def flat(x):
    """Return x [n, ...] as [n, numbers]."""
    return x.reshape(len(x), -1)


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
