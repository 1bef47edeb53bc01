"""`python -m benchmarks equal_images cifar10_subset`: nine systems after equally many pictures, scored, and their cost.

Each is trained until its D has seen so many real pictures, and the last step is scored by `python -m gan_jax.score`.
`--then train` does only that: many trainings at once share an accelerator well, timings don't.
"""

import dataclasses
import json
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
import tyro

from benchmarks import harness
from benchmarks.quality import compare
from gan_jax import data, score
from gan_jax.run import log, plots, rundir
from gan_jax.run.config import Count


class System(NamedTuple):
    """An experiment with nets for these pictures: about as many channels at full resolution as the others."""

    experiment: str
    flags: str  # as on a command line; {width}: channels
    d_steps: int = 1  # updates of D for each step


_resnet = "--d-steps=2 --g-lr=2e-4 --d-lr=2e-4 --width={half_width}"  # TTUR's and BigGAN's two updates of D
_style = "--width={width} --most=256 --gamma=0.01 --path=0 --ada-images={tenth}"  # ADA's own settings of CIFAR-10
_grown = "--width={width} --d-width={width} --most=256 --z-dim=128 --first=8 --ema=0.999"
SYSTEMS = {
    "dcgan": System("dcgan", "--width={width}"),
    "unrolled_dcgan": System("unrolled", "--preset=images --width={width}"),
    "sngan": System("sngan", f"{_resnet} --z-dim=128", 2),
    "sagan": System("sagan", f"{_resnet} --z-dim=128", 2),
    "biggan": System("biggan", f"{_resnet} --ema=0.999 --ema-start=500", 2),
    "progressive": System("progressive", f"{_grown} --stable={{stage}} --fade={{stage}}"),
    "stylegan2": System("stylegan2", f"--no-ada {_style}"),
    "stylegan2_ada": System("stylegan2", f"--ada {_style}"),
    "r3gan": System("r3gan", "--preset=images --width={width} --burn-in={half_run}"),
}
SCORES = "frechet", "kernel", "precision", "recall", "coverage"
Name = Literal[tuple(SYSTEMS)]


def main(
    dataset: tyro.conf.Positional[str],
    names: tyro.conf.Positional[tuple[Name, ...]] = tuple(SYSTEMS),
    images: Count = 64_000,
    batch_size: Count = 64,
    width: Count = 32,
    seeds: Count = 1,
    seed: int = 0,
    samples: Count = 2000,
    features: str = "vgg16",
    then: Literal["all", "train", "score"] = "all",
    timed: int = 20,
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/equal_images",
):
    """Train each, score the last step, time the step. A finished run is not trained again, a stopped one goes on.

    Args:
        dataset: an image set; one without labels leaves out those that need them.
        names: the systems.
        images: real pictures that D sees.
        batch_size: of them in each of its updates.
        width: channels at full resolution; of SN-GAN, SAGAN and BigGAN in all of G.
        seeds: runs of each, with seeds seed, seed + 1, ...
        seed: the first of them.
        samples: of each seed, against as many reals of the test split as there are.
        features: of `python -m gan_jax.score`: vgg16 (pip install '.[perceptual]'), classifier or pixels.
        then: train: only that; score: only what comes after it.
        timed: steps of each of three timings of the step; 0: none.
        flags: more flags of every run, as one word: --flags="--gpu".
        out: folder of equal_images-DATASET.md, .jsonl and .png.
        runs: folder of the runs.
    """
    source = data.load(dataset)
    stem = "".join(c if c.isalnum() else "_" for c in source.name)
    own = {name: flags_of(name, source, images, batch_size, width) for name in names}
    above = Path(runs, f"{stem}-{images}-{width}x{seeds}-{seed}")
    folders = {name: above / name for name in names if own[name] is not None}
    if then != "score":
        train(folders, own, [f"--dataset={dataset}", f"--seeds={seeds}", f"--seed={seed}"], harness.words(flags))
    said = f"D sees {images:,} pictures in batches of {batch_size}, last step"
    said += "" if seeds == 1 else f", {seeds} seeds, mean ± standard deviation"
    if then != "train":
        compared(source, folders, (samples, features), (images, timed), said, flags, Path(out, f"equal_images-{stem}"))


def train(folders, own, given, more):
    """Train the systems that have a folder, with the flags of all, their own and more; say which are left out."""
    for name in own:
        if name in folders:
            flags = [*given, *own[name], *more]
            harness.trained(harness.experiment(SYSTEMS[name].experiment), flags, folders[name])
        else:
            print(f"{name}: the set has no labels: left out", flush=True)


def compared(source, folders, judged, costs, said, flags, file):
    """Score what was trained, say what it cost, and write the files that begin with `file`.

    judged: what `scored` takes; costs: how many real pictures D saw, and steps to time. said: how all were trained.
    """
    found, rows = scored(folders, *judged), []
    for name, folder in folders.items():
        rows.append({"system": name} | found[name] | of_run(folder, name, *costs))
        print(f"{name}: " + ", ".join(f"{n} {log.spread(rows[-1][n])}" for n in SCORES), flush=True)
    said = f"{said}; {judged[0]:,} samples a seed, {found['data']['protocol']}"
    protocol = harness.with_flags(f"{source.name} {'x'.join(map(str, source.shape))}: {said}", flags)
    report(file, protocol, rows, found["data"])
    if source.kind == "image":
        draw(file.with_suffix(".png"), folders, source)


def flags_of(name, source, images, batch_size, width):
    """Return the flags of a system for so many images, a list; None where it needs labels and there are none."""
    system = SYSTEMS[name]
    if system.d_steps > 1 and not source.classes:
        return None
    steps = images // (batch_size * system.d_steps)
    before = 2 * int(np.log2(max(source.shape[:2]) / 8))  # stages of growing from 8 pixels, in the run's first half
    own = system.flags.format(
        width=width,
        half_width=max(1, width // 2),
        half_run=max(1, steps // 2),
        stage=max(1, images // (2 * max(1, before))),
        tenth=max(1, images // 10),
    )
    return [*own.split(), f"--steps={steps}", f"--batch-size={batch_size}", f"--eval-every={max(1, steps // 5)}"]


def scored(folders, samples, features):
    """Return {system: {score: value, or one for each seed}} and, as "data", what the training data score."""
    file = next(iter(folders.values())).parent / "score.json"
    score.main(
        [*map(str, folders.values()), f"--n={samples}", f"--features={features}", "--despite=ema", f"--out={file}"]
    )
    saved, found = json.loads(file.read_text()), {}
    for one in saved["measured"]:
        of = found.setdefault(Path(one["run"]).name, {})
        for name, value in one["values"].items():
            of.setdefault(name, []).append(value)
    found = {name: {k: v if len(v) > 1 else v[0] for k, v in of.items()} for name, of in found.items()}
    first = next(one for one in saved["data"] if one["name"] == "frechet")
    said = f"against {first['real']:,} of the {first['split']} split by {first['extractor']} {first['digest']}"
    floor = {k: v for one in saved["data"] for k, v in one["values"].items()}
    return found | {"data": floor | {"protocol": said}}


def of_run(folder, name, images, timed):
    """Return a run's own words on itself, its parameters, and what its step costs when nothing else runs."""
    saved, results = rundir.read(folder), rundir.results(folder)
    module = harness.experiment(SYSTEMS[name].experiment)
    cfg = module.Config(**saved["config"])
    cost = harness.times(module, cfg, steps=timed, repeats=3) if timed else None
    a_step = images / cfg.steps
    own = {k: v for k, v in results.items() if k.startswith("sign/")} | {"health": results["health"]}
    return own | {
        "seconds_a_thousand": [ms / a_step for ms in cost["ms"]] if cost else None,
        "cost": cost,
        "parameters": parameters(module, cfg),
        "config": dataclasses.asdict(cfg),
        "trained": harness.trained_by(folder),
    }


def parameters(module, cfg) -> dict:
    """Return how many parameters each player has."""
    state = jax.eval_shape(lambda key: module.init(cfg, key), jax.random.key(0))
    return {p: sum(a.size for a in jax.tree.leaves(getattr(state, p).params)) for p in ("g", "d")}


def report(file, protocol, rows, floor):
    """Print the table, and write it to FILE.md, and all of it to FILE.jsonl."""
    memory = lambda cost: (cost["peak"] or cost["temporary"]) / 1e6
    million = lambda n: f"{n / 1e6:.2f}"
    head = ("system", *SCORES, "G, D: 10^6 parameters", "s a 1,000 images", "MB", "health")
    lines = [
        (
            row["system"].replace("_", " "),
            *(log.spread(row[n]) for n in SCORES),
            " ".join(million(row["parameters"][p]) for p in "gd"),
            f"{np.median(row['seconds_a_thousand']):.3f}" if row["cost"] else "-",
            f"{memory(row['cost']):.0f}" if row["cost"] else "-",
            "; ".join(dict.fromkeys(line.partition(":")[0] for line in np.ravel(row["health"]).tolist())),
        )
        for row in rows
    ]
    lines.append(("the training data", *(log.spread(floor[n]) for n in SCORES), "", "", "", ""))
    lines = harness.table(head, lines)
    harness.record(file.name, [{"protocol": protocol, "itself": floor}, *rows], file.parent)
    file.with_suffix(".md").write_text(f"{protocol}.\n\n{lines}\n")


def draw(file, folders, source):
    """Write a row of samples of each system's first seed."""
    x = np.stack([np.clip(compare.sampled(folder, 12)[0], -1, 1) for folder in folders.values()])
    plots.table(file, plots.Picture(x, rows=tuple(name.replace("_", " ") for name in folders)), source)


if __name__ == "__main__":
    harness.command(main)
