"""`python -m benchmarks lstm_mnist`: the digits that an LSTM generator covers with K = 0, 5 and 20.

The paper (Metz et al. 2017, arXiv 1611.02163, section 3.2) shows pictures alone: with K = 0 G collapses and wanders
from digit to digit, with K = 20 it draws them all. Here is a number for each: digits with a sample, in the eyes of the
classifier; the KL of their shares from the data's; and how much of the samples changes its digit from one look to the
next.
"""

from pathlib import Path

import numpy as np

from benchmarks import harness
from experiments import unrolled_lstm
from gan_jax import data
from gan_jax.metrics import classifier, features, modes
from gan_jax.run import log, plots
from gan_jax.run.config import Count


def main(
    ks: tuple[int, ...] = (0, 5, 20),
    dataset: str = "mnist",
    steps: Count = 20_000,
    seeds: Count = 2,
    moments: Count = 10,
    samples: Count = 2000,
    width: Count = 256,
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/lstm_mnist",
):
    """Train with each K and look at the samples now and then. A run that is finished is not trained again.

    Args:
        ks: the K to train with; 0 is the plain GAN.
        dataset: a grey image set with labels and a test split.
        steps: joint updates of G and D.
        seeds: runs of each K, with seeds 0, 1, ...
        moments: how often, evenly, samples are looked at.
        samples: of each seed, each time.
        width: units of the LSTM.
        flags: more flags of every run, as one word: --flags="--g-lr=1e-3 --gpu".
        out: folder of lstm_mnist.jsonl and lstm_DATASET.png.
        runs: folder of the runs.
    """
    source, rows = data.load(dataset), []
    judge = classifier.load(source)
    shares = np.bincount(data.resident(source)["y"], minlength=source.classes) / source.n
    marks = [steps * (i + 1) // moments for i in range(moments)]
    of_all = ["--preset=mnist", f"--dataset={dataset}", f"--seeds={seeds}", f"--width={width}", "--eval-every=0"]
    of_all += harness.words(flags)
    for k in ks:
        folder = Path(runs, f"{dataset}-{steps}x{seeds}-{moments}x{samples}-{width}", f"k{k}")
        look = lambda run: histogram(run, judge, samples)
        seen = harness.scored(unrolled_lstm, [*of_all, f"--unroll={k}"], folder, marks, look)
        rows.append({"k": k, "step": marks, "seconds": sum(row["seconds"] for row in seen)})
        rows[-1] |= {"trained": harness.trained_by(folder)} | summary(
            np.asarray([row["shares"] for row in seen]), shares
        )
        print(f"K {k}: modes {log.spread(np.squeeze(rows[-1]['modes'][-1]))}", flush=True)
    harness.table(HEAD, [cells(row) for row in rows])
    protocol = f"{dataset}, {steps} steps, {seeds} seeds, {samples} samples, classifier {judge.digest}"
    harness.record("lstm_mnist", [{"protocol": harness.with_flags(protocol, flags)}, *rows], out)
    draw(Path(out) / f"lstm_{dataset}.png", rows)


HEAD = ("K", "digits", "reverse KL", "change of digit between looks", "seconds")


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD: at the last look, and the mean change over all."""
    shown = row["modes"][-1], row["reverse_kl"][-1], np.mean(row["switched"], 0)
    return row["k"], *(log.spread(np.squeeze(values)) for values in shown), round(row["seconds"])


def histogram(run, judge, n):
    """Return {"shares": [seeds, classes]}, of each digit among n samples."""
    seen = harness.labels(run, judge, n)
    return {"shares": [(np.bincount(one, minlength=judge.net.classes) / n).tolist() for one in seen]}


def summary(shares, real):
    """Return what the shares [moments, seeds, classes] say, beside those of the data [classes].

    "modes" and "reverse_kl" [moments, seeds]; "switched" [moments - 1, seeds]: the least share of samples that must
    have changed their digit since the look before.
    """
    return {
        "modes": (shares > 0).sum(-1).tolist(),
        "reverse_kl": features.kl(shares, real).tolist(),
        "switched": modes.label_switches(shares).tolist(),
        "shares": shares.tolist(),
    }


def draw(file, rows):
    """Write a panel for each K: the shares of the digits among the samples of the first seed, over steps."""
    fig, axes = plots.figure(len(rows), 3.4, 2.6)
    for axis, row in zip(axes, rows, strict=True):
        axis.stackplot(row["step"], np.asarray(row["shares"])[:, 0].T, labels=range(10))
        axis.set(title=f"K = {row['k']}", xlabel="step", ylabel="share of each digit", ylim=(0, 1))
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main)
