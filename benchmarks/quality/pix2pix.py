"""`python -m benchmarks pix2pix`: what a segmenter finds again in photographs made of its labels, five ways.

The protocol of Isola et al. 2017 (arXiv 1611.07004, Table 1): G makes photographs of the label maps of the test split,
with L1 alone, with the GAN or the conditional GAN alone, and with L1 and either of them. A net that learned to segment
real photographs reads them, and what it says is held against the map. The paper has Cityscapes (2975 pairs of 256x256,
500 to test), 200 epochs and FCN-8s, here are the 367 and 233 pairs of CamVid, small ones, and a small U-Net: of the
paper's numbers only the order of the ways is comparable.
"""

from pathlib import Path
from typing import Literal

import jax
import numpy as np

import gan_jax
from benchmarks import harness
from experiments.pairs import pix2pix
from gan_jax import data
from gan_jax.metrics import alexnet, lpips, segmenter
from gan_jax.run import Picture, log, plots
from gan_jax.run.config import Count

WAYS = {  # flags, and the paper's per-pixel accuracy, per-class accuracy and IoU
    "L1": (["--adversarial=0"], (0.42, 0.15, 0.11)),
    "GAN": (["--l1=0", "--no-sees-input"], (0.22, 0.05, 0.01)),
    "cGAN": (["--l1=0"], (0.57, 0.22, 0.16)),
    "L1+GAN": (["--no-sees-input"], (0.64, 0.20, 0.15)),
    "L1+cGAN": ([], (0.66, 0.23, 0.17)),
}
TRUTH = 0.80, 0.26, 0.21
NAMES = "per_pixel", "per_class", "iou"
LPIPS = {"lpips": "LPIPS (VGG16)", "lpips_alex": "LPIPS (AlexNet)"}


def main(
    ways: tuple[Literal[*WAYS], ...] = tuple(WAYS),
    dataset: str = pix2pix.PRESETS["labels"].dataset,
    unlabelled: int = 11,
    steps: Count = 1000,
    seeds: Count = 1,
    width: Count = 16,
    perceptual: bool = False,
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/pix2pix",
):
    """Train in each of the ways, translate the test split and read it. A finished run is not trained again.

    Args:
        ways: which of the five.
        dataset: a set of pictures with a label y for each pixel.
        unlabelled: the label of pixels that nobody labelled, which aren't counted.
        steps: joint updates of G and D.
        seeds: runs of each way, with seeds 0, 1, ...
        width: channels of the first layer of G and of D.
        perceptual: measure LPIPS between translations and photographs, too (pip install -e '.[perceptual]').
        flags: more flags of every run, as one word: --flags="--lr=1e-3 --gpu".
        out: folder of pix2pix_ways.jsonl, .md and .png.
        runs: folder of the runs.
    """
    judge = segmenter.load(data.load(dataset), unlabelled, lambda n: log.Live(n, title=f"the segmenter of {dataset}"))
    test = held_out(dataset)
    found = lambda x: segmenter.scores(judge(x), test["y"], judge.net.classes, unlabelled)
    rows, drawn = [{"way": "truth", "seconds": 0} | found(test["x"])], {}
    for way in ways:
        own, folder = WAYS[way][0], Path(runs, f"{steps}x{seeds}-{width}", way)
        given = ["--preset=labels", f"--dataset={dataset}", f"--steps={steps}", f"--seeds={seeds}", f"--width={width}"]
        results = harness.trained(pix2pix, [*given, "--eval-every=0", *own, *harness.words(flags)], folder)
        made = translations(gan_jax.load(folder), test["source"])
        each = [found(one) | apart(one, test["x"], perceptual) for one in made]
        row = {"way": way, "seconds": results["seconds"]} | {name: [one[name] for one in each] for name in each[0]}
        rows.append(row | {"trained": harness.trained_by(folder)})
        drawn[way] = made[0, :8]
        print(f"{way}: {log.spread(np.squeeze(row['per_pixel']))} of the pixels", flush=True)
    said = f"{dataset}, {steps} steps, {seeds} seeds, width {width}, {len(test['x'])} test pictures, without label"
    protocol = harness.with_flags(f"{said} {unlabelled}, segmenter {judge.digest}", flags)
    harness.record("pix2pix_ways", [{"protocol": protocol}, *rows], out)
    Path(out, "pix2pix_ways.md").write_text(f"{protocol}\n\n{tell(rows)}\n")
    draw(Path(out, "pix2pix_ways.png"), {"input": test["source"][:8]} | drawn | {"truth": test["x"][:8]}, dataset)


def held_out(dataset: str) -> dict:
    """Return the pairs of the test split with their maps of labels, as numpy arrays."""
    test = pix2pix.pairs(pix2pix.Config(dataset)).test
    made = jax.jit(lambda raw: test.make(raw, jax.random.key(0), 0, test.n))(data.resident(test))
    return jax.tree.map(np.asarray, made)


def apart(made, x, perceptual: bool) -> dict:
    """Return how far translations [n, h, w, c] are from photographs x; in LPIPS the first 100 of them."""
    l1 = {"l1": float(np.abs(made - x).mean())}
    some = made[:100], x[:100]
    return l1 | {"lpips": lpips.judge()(*some), "lpips_alex": lpips.judge(alexnet)(*some)} if perceptual else l1


def translations(run, a):
    """Return what a run makes of a [n, h, w, c]: [seeds, n, h, w, o]."""
    one = lambda state: pix2pix.translated(run.cfg, state, jax.random.key(0), a)
    made = jax.jit(one if run.seeds == 1 else lambda states: jax.lax.map(one, states))(run.state)
    return np.asarray(made).reshape(run.seeds, *made.shape[-4:])


def draw(file: Path, drawn: dict, dataset: str) -> None:
    """Write pictures {title of a row: x [columns, ...]}."""
    picture = Picture(np.stack(list(drawn.values())), rows=tuple(drawn))
    plots.table(file, picture, pix2pix.pairs(pix2pix.Config(dataset)))


def tell(rows) -> str:
    """Print the table, the paper's numbers beside ours, and return it."""
    published = {way: numbers for way, (_, numbers) in WAYS.items()} | {"truth": TRUTH}
    head = ("way", "per pixel", "per class", "IoU", "the paper's, on Cityscapes", "L1", *LPIPS.values(), "seconds")
    table = []
    for row in [*rows[1:], rows[0]]:
        ours = [log.spread(np.squeeze(row[name])) for name in NAMES]
        paper = ", ".join(f"{number:.2f}" for number in published[row["way"]])
        distances = [log.spread(np.squeeze(row[name])) if name in row else "" for name in ("l1", *LPIPS)]
        table.append((row["way"], *ours, paper, *distances, round(row["seconds"])))
    return harness.table(head, table)


if __name__ == "__main__":
    harness.command(main)
