"""`python -m benchmarks superresolution`: how near SRResNet and SRGAN come to photographs: Set5, Set14, BSD100.

The protocol is that of `metrics.resolution`: sides cut to multiples of the factor, MATLAB's bicubic filter, Y of YCbCr,
a border of four pixels off. G makes each picture as a whole, at its own size. Of published figures those of the nets
are of Ledig et al. 2017 (arXiv 1609.04802, Table 2), whose SSIM is another one (of the daala tool; bicubic enlargement
has 0.8211 on Set5 there), those of bicubic enlargement of Lim et al. 2017 (arXiv 1707.02921).
"""

import dataclasses
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from PIL import Image

import gan_jax
from benchmarks import harness
from experiments.restoration import srgan
from gan_jax import data
from gan_jax.data import records
from gan_jax.metrics import lpips, resolution
from gan_jax.run import Picture, plots

SETS = {"set5": "Set5", "set14_part": "Set14, without lenna", "bsds300": "BSD100"}
PUBLISHED = {  # {(factor, set): {way: (PSNR, SSIM)}}
    (4, "set5"): {"bicubic": (28.42, 0.8104), "SRResNet": (32.05, 0.9019), "SRGAN": (29.40, 0.8472)},
    (4, "set14_part"): {"bicubic": (26.00, 0.7027), "SRResNet": (28.49, 0.8184), "SRGAN": (26.02, 0.7397)},
    (4, "bsds300"): {"bicubic": (25.96, 0.6675), "SRResNet": (27.58, 0.7620), "SRGAN": (25.16, 0.6688)},
    (2, "set5"): {"bicubic": (33.66, 0.9299)},
    (2, "set14_part"): {"bicubic": (30.24, 0.8688)},
    (2, "bsds300"): {"bicubic": (29.56, 0.8431)},
}
HEAD = "set", "pictures", "way", "PSNR, dB", "SSIM", "LPIPS", "published PSNR, SSIM"
SHOWN = 96  # pixels of the middle of each picture that is drawn


def main(
    sets: tuple[Literal[*SETS], ...] = tuple(SETS),
    factor: Literal[2, 4] = 4,
    resnet: str = "",
    gan: str = "",
    flags: str = "",
    perceptual: tuple[Literal[*SETS], ...] = (),
    record: str = "superresolution",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/superresolution",
):
    """Train SRResNet, then SRGAN from it, and measure. A run that is finished is not trained again.

    Args:
        sets: test sets.
        factor: how many times larger a side becomes.
        resnet: more flags of SRResNet's run, as one word: --resnet="--steps=5000 --lr=5e-4".
        gan: more flags of SRGAN's run.
        flags: more flags of both.
        perceptual: test sets of which LPIPS is measured, too (pip install -e '.[perceptual]').
        record: name of the record.
        out: folder of RECORD.jsonl, .md and .png.
        runs: folder of the runs.
    """
    both, folder = [f"--factor={factor}", *harness.words(flags)], Path(runs, f"x{factor}")
    given = {"SRResNet": ["--preset=srresnet", *both, *harness.words(resnet)]}
    given["SRGAN"] = [*both, f"--begin={folder / 'SRResNet'}", *harness.words(gan)]
    ways, origins = {"bicubic": resolution.resized}, {"bicubic": {}}
    for way, words in given.items():
        results = harness.trained(srgan, words, folder / way)
        run = gan_jax.load(folder / way)
        ways[way] = by(run)
        config = dataclasses.asdict(run.cfg) | {"begin": Path(run.cfg.begin).name}  # not where the runs lay
        origins[way] = {"steps": results["steps"], "seconds": results["seconds"], "config": config}
        origins[way]["trained"] = harness.trained_by(folder / way)
    rows = []
    for name in sets:
        found = measured(name, factor, ways, name in perceptual)
        rows += [{"set": name, "factor": factor, "way": way} | found[way] | origins[way] for way in ways]
    harness.record(record, rows, out)
    Path(out, f"{record}.md").write_text(harness.table(HEAD, [cells(row) for row in rows]) + "\n")
    draw(Path(out, f"{record}.png"), sets[0], factor, ways)


def by(run):
    """Return (small picture uint8 [h, w, c], sides of the large one) -> what a run's G makes of it, uint8."""
    made = jax.jit(lambda state, raw: srgan.enlarged(run.cfg, state, data.decode(raw)["x"]))
    return lambda small, sides: data.encode(made(run.state, {"x": small[None]}))[0]


def pictures(name, factor):
    """Yield (picture uint8 [h, w, c], the same made smaller) of a test set, cut so that the factor divides sides."""
    for v in records.each(name):
        h, w = (side // factor for side in v.shape[:2])
        v = v[: factor * h, : factor * w]
        yield v, resolution.resized(v, (h, w))


def measured(name, factor, ways, perceptual) -> dict:
    """Return {way: {"psnr": mean over the pictures of a test set, ..., "each": those of each picture}}."""
    found, apart = {way: [] for way in ways}, lpips.judge() if perceptual else None
    for v, small in pictures(name, factor):
        for way, enlarge in ways.items():
            made = enlarge(small, v.shape[:2])
            one = resolution.compared(made, v)
            if perceptual:
                one["lpips"] = apart(*(data.decode({"x": a[None]})["x"] for a in (made, v)))
            found[way].append(one)
    mean = lambda each: {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    return {way: mean(each) | {"n": len(each), "each": each} for way, each in found.items()}


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    published = PUBLISHED.get((row["factor"], row["set"]), {}).get(row["way"])
    lpips = f"{row['lpips']:.3f}" if "lpips" in row else ""
    said = "{:.2f}, {:.4f}".format(*published) if published else ""
    return SETS[row["set"]], row["n"], row["way"], f"{row['psnr']:.2f}", f"{row['ssim']:.4f}", lpips, said


def draw(file, name, factor, ways):
    """Write the middle of the first five pictures of a test set, enlarged in all ways, and the truth."""
    drawn = {way: [] for way in (*ways, "truth")}
    for _, (v, small) in zip(range(5), pictures(name, factor), strict=False):
        (top, left) = ((side - SHOWN) // 2 for side in v.shape[:2])
        for way in drawn:
            made = ways[way](small, v.shape[:2]) if way in ways else v
            drawn[way].append(made[top : top + SHOWN, left : left + SHOWN])
    x = np.stack([np.stack(row) for row in drawn.values()])
    x = data.decode({"x": np.broadcast_to(x, (*x.shape[:-1], 3))})["x"]
    plots.table(file, Picture(x, rows=tuple(drawn)), srgan.pairs(srgan.Config()))
    Image.open(file).convert("RGB").quantize(256).save(file, optimize=True)  # a third of the bytes


if __name__ == "__main__":
    harness.command(main)
