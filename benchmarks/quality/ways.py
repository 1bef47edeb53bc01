"""`python -m benchmarks ways mixgan`: an experiment beside the simpler ones that its flags make of it, equal budgets.

MIX+GAN (Arora et al. 2017, arXiv 1703.00573): one of each net, one that is T times as wide, T of each with the shares
learned by backpropagation and by multiplicative weights. Denoising feature matching (Warde-Farley and Bengio, ICLR
2017): the plain GAN, feature matching, the denoiser with D's loss and by itself.
"""

from pathlib import Path
from typing import Literal

import tyro

from benchmarks import harness
from benchmarks.quality import compare
from gan_jax import data
from gan_jax.run import log, rundir
from gan_jax.run.cli import parse
from gan_jax.run.config import Count

WAYS = {  # {experiment: {way: flags}}; {wide} is T times the width
    "mixgan": {
        "one": "--learners=1",
        "one, T times as wide": "--learners=1 --width={wide}",
        "T, backpropagation": "",
        "T, multiplicative weights": "--eta=0.02",
    },
    "feature_denoising": {
        "plain": "--denoising=0 --adversarial=1",
        "feature matching": "--denoising=0 --adversarial=0 --matching=1",
        "denoising and D": "",
        "denoising alone": "--adversarial=0",
    },
}


def main(
    name: tyro.conf.Positional[Literal[*WAYS]],
    dataset: str = "",
    seeds: Count = 2,
    samples: Count = 2000,
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/ways",
):
    """Train each way and score its last step. A finished run is not trained again, a stopped one goes on.

    The scores are those of mode coverage where the data's modes are known, else those of the set's classifier, for
    samples against the test split.

    Args:
        name: the experiment.
        dataset: a toy, or an image set with labels and a test split [the default's, or the preset's in the flags].
        seeds: runs of each, with seeds 0, 1, ...
        samples: images of each seed that are scored.
        flags: more flags of every run, as one word: --flags="--steps=500 --gpu".
        out: folder of ways-NAME-DATASET.md, .jsonl and .png.
        runs: folder of the runs.
    """
    module, rows, pictures = harness.experiment(name), [], {}
    given = [*harness.words(flags), *[f"--dataset={dataset}"] * bool(dataset)]
    cfg, _ = parse(module.Config, module.PRESETS, given)
    dataset = cfg.dataset
    source = data.load(dataset)
    judge = None if source.modes else compare.Judge(source, samples)
    for way, more in WAYS[name].items():
        own = harness.words(more.format(wide=cfg.width * getattr(cfg, "learners", 1)))
        folder = Path(runs, f"{name}-{dataset}", way.replace(", ", "-").replace(" ", "_"))
        results = harness.trained(module, [*given, f"--seeds={seeds}", "--eval-every=0", *own], folder)
        x = compare.sampled(folder, samples)
        row = (judge(x) if judge else harness.covered(results)) | {of: results[of] for of in ("diversity", "seconds")}
        scores, pictures[way] = list(row), x[0]
        print(f"{way}: " + ", ".join(f"{of} {log.spread(value)}" for of, value in row.items()), flush=True)
        row |= {"config": rundir.read(folder)["config"], "protocol": results.get("protocol")}
        rows.append({"experiment": way} | row | {"trained": harness.trained_by(folder)})
    harness.check_alike({row["experiment"]: row["protocol"] for row in rows})
    protocol = f"{name} on {dataset}, {cfg.steps} updates, {seeds} seeds, last step, mean ± standard deviation"
    protocol = harness.with_flags(protocol, flags) + (f"; {judge.protocol}" if judge else "")
    file = Path(out, f"ways-{name}-{dataset}")
    compare.report(file, protocol, scores, rows)
    compare.draw(file.with_suffix(".png"), pictures, source)


if __name__ == "__main__":
    harness.command(main)
