"""`python -m benchmarks next_frame`: the next frame of a clip under the losses of multi-scale prediction.

The order of Mathieu, Couprie and LeCun 2016 (arXiv 1511.05440): l2, l1, with the difference of gradients (GDL), and
with a D of each scale, by PSNR, SSIM and sharpness on held-out clips, at the last step. Beside them stands copying the
last frame. The paper has UCF101, nets trained on Sports-1M, and counts moving areas alone, found by optical flow: for
l2 a PSNR of 28.7 dB and an SSIM of 0.84, for GDL on l1 29.9 and 0.90, for all together, fine-tuned, 32.0 and 0.92.
"""

from pathlib import Path
from typing import Literal

from benchmarks import harness
from experiments.video import multiscale
from gan_jax.run import rundir

WAYS = {  # flags
    "l2": ["--p=2", "--gradient=0", "--adversarial=0"],
    "l1": ["--p=1", "--gradient=0", "--adversarial=0"],
    "GDL": ["--p=1", "--adversarial=0"],
    "adversarial": ["--p=1"],
}
SCORES = "psnr", "ssim", "sharpness", "moving"
HEAD = ("loss", "PSNR, dB", "SSIM", "sharpness, dB", "PSNR of what moves, dB", "steps", "seconds")


def main(
    ways: tuple[Literal[*WAYS], ...] = tuple(WAYS),
    flags: str = "",
    record: str = "next_frame",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/next_frame",
):
    """Train with each of the losses and measure. A run that is finished is not trained again.

    Args:
        ways: which of the four.
        flags: more flags of every run, as one word: --flags="--steps=2000 --gpu".
        record: name of the record.
        out: folder of RECORD.jsonl and RECORD.md.
        runs: folder of the runs.
    """
    rows = []
    for way in ways:
        folder = Path(runs, way)
        results = harness.trained(multiscale, ["--eval-every=0", *WAYS[way], *harness.words(flags)], folder)
        config = rundir.read(folder)["config"]
        if not rows:
            copied = {of: results[f"copied/{of}"] for of in SCORES}
            rows.append({"loss": "the last frame, copied", **copied, "trained": harness.trained_by(folder)})
        scores = {of: results[of] for of in SCORES} | {"steps": results["steps"], "seconds": results["seconds"]}
        rows.append({"loss": way} | scores | {"config": config, "trained": harness.trained_by(folder)})
    harness.report(record, HEAD, cells, rows, out)


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    scores = [f"{row[of]:.3f}" if of == "ssim" else f"{row[of]:.2f}" for of in SCORES]
    return row["loss"], *scores, row.get("steps", "-"), round(row["seconds"]) if "seconds" in row else "-"


if __name__ == "__main__":
    harness.command(main)
