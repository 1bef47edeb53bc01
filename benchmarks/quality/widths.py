"""`python -m benchmarks widths`: GAT at several widths, with a rate that falls as 1 / width, and with one for all.

Both have the same rate at the narrowest: that of experiments/images/gat.py there. Scores are those of `tips`.
"""

from pathlib import Path

import tyro

from benchmarks import harness
from benchmarks.quality import compare, tips
from experiments.images import gat
from gan_jax import data
from gan_jax.run import log
from gan_jax.run.config import Count


def main(
    widths: tyro.conf.Positional[tuple[Count, ...]] = (16, 32, 64),
    dataset: str = "digits",
    steps: Count = 600,
    seeds: Count = 1,
    samples: Count = 2000,
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/widths",
):
    """Train each width at both rates, and score the last step. A run that is finished is not trained again.

    Args:
        widths: channels of a token, in both nets.
        dataset: an image set with labels and a test split.
        steps: updates of D, and of G.
        seeds: runs of each, with seeds 0, 1, ...
        samples: images of each seed that are scored.
        flags: more flags of every run, as one word: --flags="--depth=8 --gpu".
        out: folder of widths.md, widths.jsonl and widths.png.
        runs: folder of the runs.
    """
    source, rows, pictures = data.load(dataset), [], {}
    judge, fixed = compare.Judge(source, samples), gat.Config.lr * gat.Config.lr_width / min(widths)
    for width in sorted(set(widths)):
        by_width = gat.Config.lr * gat.Config.lr_width / width
        for way in ("1 / width", "fixed") if width > min(widths) else ("1 / width",):
            rate = by_width if way == "1 / width" else fixed
            given = [f"--dataset={dataset}", f"--steps={steps}", f"--seeds={seeds}", *harness.words(flags)]
            given += [f"--width={width}", f"--lr={rate}", "--lr-width=0"]
            folder = Path(runs, f"{dataset}-{steps}x{seeds}", f"{width}-{rate:.3g}")
            row = tips.scored(gat, given, folder, judge, samples)
            rows.append({"width": width, "way": way, "rate": f"{rate:.2g}"} | row)
            pictures[f"{width}, {way}"] = compare.sampled(folder, samples)[0]
            print(f"{width}, {way}: " + ", ".join(f"{n} {log.spread(row[n])}" for n in tips.SCORES), flush=True)
    protocol = f"{dataset}, {steps} updates of {gat.Config.batch_size} pictures, {seeds} seeds, last step"
    protocol = harness.with_flags(f"{protocol}, mean ± standard deviation; {judge.protocol}", flags)
    tips.report(Path(out, "widths"), protocol, ("width", "way", "rate"), rows, tips.itself(judge, source, samples))
    compare.draw(Path(out, "widths.png"), pictures, source)


if __name__ == "__main__":
    harness.command(main)
