"""`python -m benchmarks completion`: errors of the holes of test pictures, after GLCIC's first phase and at its end."""

import shutil
from pathlib import Path
from typing import Literal

from PIL import Image

from benchmarks import harness
from experiments.restoration import completion
from gan_jax.run import log

WAYS = {"hole": "the mean colour", "smooth": "the smoothest surface", "ours": "C", "blended": "C, blended in"}


def main(
    preset: Literal[*completion.PRESETS] = "default",
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/defaults",
):
    """Train a preset up to the end of the first phase, in which there is no D, and on. What is trained is taken.

    Args:
        preset: of the experiment.
        flags: flags of the run, as one word: --flags="--alpha=1e-3 --gpu".
        out: folder of completion_PRESET.jsonl and .md, and of a picture of each moment.
        runs: folder of the runs; `python -m benchmarks defaults completion` takes up that of `default`.
    """
    cfg = completion.PRESETS[preset]
    folder = Path(runs, "completion" if preset == "default" else f"completion_{preset}")
    kinds = "psnr/", "l1/", "l2/", "named/"

    def score(run):
        shutil.copyfile(folder / "samples" / "test-final.png", folder / f"test-{run.results['steps']}.png")
        return {name: value for name, value in run.results.items() if name.startswith(kinds)}

    given = [f"--preset={preset}", "--seeds=1", *harness.words(flags)]
    rows = harness.scored(completion, given, folder, (cfg.t_c, cfg.steps), score)
    protocol = harness.with_flags(f"{cfg.dataset}, {preset}, {cfg.steps} steps, seed 0", flags)
    of = {"protocol": protocol, "trained": harness.trained_by(folder)}
    harness.record(f"completion_{preset}", [of, *rows], out)
    Path(out, f"completion_{preset}.md").write_text(f"{protocol}\n\n{tell(rows)}\n")
    for row in rows:
        small = Image.open(folder / f"test-{row['step']}.png").convert("RGB").quantize(256)  # a third of the bytes
        small.save(Path(out, f"completion_{preset}-{row['step']}.png"), optimize=True)


def tell(rows) -> str:
    """Print the table of all ways after both moments, and return it."""
    head, table = ("steps", "filled by", "PSNR", "L1", "L2", "named right"), []
    for row in rows:
        for way, said in WAYS.items():
            if way in ("hole", "smooth") and row is not rows[-1]:  # always the same
                continue
            numbers = f"{row[f'psnr/{way}']:.2f} dB", f"{row[f'l1/{way}']:.2%}", f"{row[f'l2/{way}']:.2%}"
            named = log.spread(row[f"named/{way}"]) if f"named/{way}" in row else ""
            table.append((row["step"] if way in ("ours", "blended") else "", said, *numbers, named))
    return harness.table(head, table)


if __name__ == "__main__":
    harness.command(main)
