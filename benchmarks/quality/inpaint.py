"""`python -m benchmarks inpaint`: how near to the truth a search through DCGAN's latent fills holes.

The protocol of Yeh et al. 2017 (arXiv 1607.07539), small: a DCGAN is trained on the training pictures, and held-out
ones lose their middle, their left half, or 80 % of their pixels. Each is filled by `python -m gan_jax.inpaint` with the
weights of the paper, those of the code that its authors released first (which are the opposite), none, and without D;
with what G made put into the hole as it is, and blended. Beside them what the rim of the hole says by itself, by the
Poisson equation without G. PSNR is that of the hole.
"""

import shutil
from pathlib import Path
from typing import Literal

from benchmarks import harness
from experiments.images import dcgan
from gan_jax import inpaint
from gan_jax.data import recipes
from gan_jax.run.config import Count

SETS = {  # how DCGAN is trained on each
    "usps": ["--steps=3000", "--batch-size=64"],
    "cmu_faces,size=32": ["--steps=3000", "--batch-size=32", "--width=24"],
}
WAYS = {  # the flags of each way
    "paper": [],
    "code": ["--weight=code"],
    "none": ["--weight=none"],
    "paper, without D": ["--prior=0"],
    "all as the code": [
        *("--weight=code", "--loss=non_saturating", "--prior=0.1", "--optimiser=momentum", "--lr=0.01"),
        *("--updates=1000", "--start=normal", "--clip=1"),
    ],
}
HEAD = ("data", "hole", "weights", "G in the hole", "blended", "the rim alone")


def main(
    datasets: tuple[str, ...] = tuple(SETS),
    holes: tuple[str, ...] = ("centre", "half", "pixels"),
    ways: tuple[Literal[*WAYS], ...] = tuple(WAYS),
    pictures: Count = 32,
    starts: Count = 2,
    updates: Count = 300,
    flags: str = "",
    record: str = "inpaint",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/inpaint",
):
    """Train DCGAN on each set, then fill holes. A run that is finished is not trained again.

    Args:
        datasets: image sets with a test split; how others than these are trained, `flags` say.
        holes: kinds of holes.
        ways: what latents are searched by.
        pictures: held-out ones that are filled.
        starts: latents from which each is searched.
        updates: of each latent, but for the way "all as the code", which has its own.
        flags: more flags of every run, as one word: --flags="--width=16 --gpu".
        record: name of the record.
        out: folder of RECORD.md, .jsonl, and RECORD-DATA-HOLE.png, the first eight pictures by the way of the paper.
        runs: folder of the runs.
    """
    rows, lines = [], []
    for dataset in datasets:
        name = dataset.split(",")[0]
        folder = Path(runs, name)
        harness.trained(dcgan, [f"--dataset={dataset}", *SETS.get(dataset, []), *harness.words(flags)], folder)
        search = [str(folder), f"--holes={','.join(holes)}", f"--starts={starts}", f"--updates={updates}"]
        for way in ways:
            more = WAYS[way]
            found = inpaint.main([*search, f"--n={pictures}", f"--out={folder / 'inpaint'}", *more])
            for hole, numbers in found.items():
                row = {"data": dataset, "hole": hole, "way": way, "pictures": pictures, "starts": starts}
                rows.append(row | {"flags": [*search[1:], *more]} | numbers | {"trained": harness.trained_by(folder)})
                psnr = (f"{numbers[f'psnr/{kind}']:.2f}" for kind in inpaint.WAYS)
                lines.append((dataset, hole, way, *psnr))
        inpaint.main([*search, "--n=8", f"--out={folder / 'shown'}"])
        for hole in holes:
            shutil.copyfile(folder / "shown" / f"{hole}.png", Path(out, f"{record}-{name}-{hole}.png"))
    harness.record(record, rows, out)
    Path(out, f"{record}.md").write_text(table(lines, datasets) + "\n")


def table(lines, datasets) -> str:
    """Print the table, by data and hole, and return it."""
    order = {hole: i for i, hole in enumerate(recipes.HOLES)}
    return harness.table(HEAD, sorted(lines, key=lambda row: (datasets.index(row[0]), order[row[1]])))


if __name__ == "__main__":
    harness.command(main)
