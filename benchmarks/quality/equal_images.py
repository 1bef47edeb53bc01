"""`python -m benchmarks equal_images cifar10_subset`: nine systems after equally many pictures, scored, and their cost.

Each is trained until its D has seen so many real pictures, and the last step is scored by `python -m gan_jax.score`.
With `--no-scored` they are only trained: several commands at once share an accelerator well, timings don't.
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
    """An experiment with nets for these pictures: about as many channels at full resolution as the others.

    Averages of G forget half in a twentieth of the run, those of StyleGAN2 too by default.
    """

    experiment: str
    flags: str  # as on a command line; {width}: channels
    d_steps: int = 1  # updates of D for each step; those with more need labels


_resnet = "--d-steps=2 --g-lr=2e-4 --d-lr=2e-4 --width={half_width}"  # TTUR's and BigGAN's two updates of D
_style = "--width={width} --most=256 --gamma=5 --path=0 --ada-images={tenth}"  # no path lengths, as ADA has CIFAR-10
_grown = "--width={width} --d-width={width} --most=256 --z-dim=128 --first=8 --ema={decay}"
SYSTEMS = {
    "dcgan": System("dcgan", "--width={width}"),
    "unrolled_dcgan": System("unrolled", "--preset=images --width={width} --ema={decay}"),
    "sngan": System("sngan", f"{_resnet} --z-dim=128", 2),
    "sagan": System("sagan", f"{_resnet} --z-dim=128", 2),
    "biggan": System("biggan", f"{_resnet} --ema={{decay}} --ema-start={{half_life}}", 2),
    "progressive": System("progressive", f"{_grown} --stable={{stage}} --fade={{stage}}"),
    "stylegan2": System("stylegan2", f"--no-ada {_style}"),
    "stylegan2_ada": System("stylegan2", f"--ada {_style}"),
    "r3gan": System("r3gan", "--preset=images --width={width} --burn-in={half_run} --ema={half_life}"),
}
SCORES = "frechet", "kernel", "precision", "recall", "coverage"
SIGNS = "sign/train", "sign/test"  # the mean sign of D's scores of pictures that it learns from, and of held-out ones
PROTOCOL = "{}: D sees {:,} pictures in batches of {}, width {}, last step of {} seed{}; {:,} samples a seed, {}"
Name = Literal[tuple(SYSTEMS)]


def main(
    dataset: tyro.conf.Positional[str],
    names: tyro.conf.Positional[tuple[Name, ...]] = tuple(SYSTEMS),
    images: Count = 64_000,
    batch_size: Count = 64,
    width: Count = 32,
    seeds: Count = 1,
    samples: Count = 2000,
    features: str = "vgg16",
    scored: bool = True,
    timed: int = 16,
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
        seeds: runs of each, with seeds 0, 1, ...
        samples: of each seed, against as many reals of the test split as there are.
        features: of `python -m gan_jax.score`: vgg16 (pip install '.[perceptual]'), classifier or pixels.
        scored: score and time what was trained, and write the record.
        timed: steps of each of three timings, 16 of which have each lazy update of StyleGAN2; 0: none.
        flags: more flags of every run, as one word: --flags="--gpu".
        out: folder of equal_images-DATASET-IMAGES.md, .jsonl and .png.
        runs: folder of the runs.
    """
    source = data.load(dataset)
    stem = f"{''.join(c if c.isalnum() else '_' for c in source.name)}-{images}"
    given = [f"--dataset={dataset}", f"--seeds={seeds}", *harness.words(flags)]
    folders = trained(names, source, (images, batch_size, width), given, Path(runs, f"{stem}-{width}x{seeds}"))
    if scored:
        found, floor, judged = scores(folders, samples, features)
        rows = [{"system": name} | found[name] | of_run(of, name, images, timed) for name, of in folders.items()]
        said = PROTOCOL.format(source.name, images, batch_size, width, seeds, "s" * (seeds > 1), samples, judged)
        report(Path(out, f"equal_images-{stem}"), harness.with_flags(said, flags), rows, floor)
        draw(Path(out, f"equal_images-{stem}.png"), folders, source)


def trained(names, source, budget, given, above):
    """Train each system with its own flags and those given to all, and return {name: the folder of its run}.

    budget: what `flags_of` takes besides. above: the folder of the folders. A system that can't be trained is left out.
    """
    folders = {}
    for name in names:
        own = flags_of(name, source, *budget)
        if own is None:
            print(f"{name}: the set has no labels: left out", flush=True)
            continue
        folders[name] = above / name
        harness.trained(harness.experiment(SYSTEMS[name].experiment), [*own, *given], folders[name])
    return folders


def flags_of(name, source, images, batch_size, width):
    """Return the flags of a system for so many images, a list; None where it needs labels and there are none."""
    system = SYSTEMS[name]
    if system.d_steps > 1 and not source.classes:
        return None
    steps = images // (batch_size * system.d_steps)
    before = 2 * int(np.log2(max(source.shape[:2]) / 8))  # stages of growing from 8 pixels, in the run's first half
    half_life = max(1, steps // 20)
    own = system.flags.format(
        width=width,
        half_width=max(1, width // 2),
        half_run=max(1, steps // 2),
        stage=max(1, images // (2 * max(1, before))),
        tenth=max(1, images // 10),
        half_life=half_life,
        decay=round(0.5 ** (1 / half_life), 5),
    )
    return [*own.split(), f"--steps={steps}", f"--batch-size={batch_size}", f"--eval-every={max(1, steps // 5)}"]


def scores(folders, samples, features):
    """Return ({system: {score: value, or one for each seed}}, what the training data score, the protocol of both)."""
    file = next(iter(folders.values())).parent / "score.json"
    score.main(
        [*map(str, folders.values()), f"--n={samples}", f"--features={features}", "--despite=ema", f"--out={file}"]
    )
    saved, found = json.loads(file.read_text()), {name: {} for name in folders}
    for one in saved["measured"]:
        for name, value in one["values"].items():
            found[Path(one["run"]).name].setdefault(name, []).append(value)
    found = {name: {k: v if len(v) > 1 else v[0] for k, v in of.items()} for name, of in found.items()}
    first = next(one for one in saved["data"] if one["name"] == "frechet")
    said = f"against {first['real']:,} of the {first['split']} split by {first['extractor']} {first['digest']}"
    return found, {k: v for one in saved["data"] for k, v in one["values"].items()}, said


def of_run(folder, name, images, timed):
    """Return what a run says of itself, its parameters, and what its step costs."""
    saved, results = rundir.read(folder), rundir.results(folder)
    module = harness.experiment(SYSTEMS[name].experiment)
    cfg = module.Config(**saved["config"])
    cost = harness.times(module, grown(cfg), steps=timed, repeats=3) if timed else None
    a_step = images / cfg.steps  # pictures; milliseconds of one are seconds of a thousand
    return {k: results[k] for k in (*SIGNS, "sign/fake", "health") if k in results} | {
        "seconds_a_thousand": [ms / a_step for ms in cost["ms"]] if cost else None,
        "cpu_seconds_a_thousand": [ms / a_step for ms in cost["cpu_ms"]] if cost else None,
        "cost": cost,
        "parameters": parameters(module, cfg),
        "config": dataclasses.asdict(cfg),
        "trained": harness.trained_by(folder),
    }


def grown(cfg):
    """Return the Config by which nets that grow are at their last level from step 1 on, where a step costs the most."""
    return dataclasses.replace(cfg, stable=1, fade=1) if hasattr(cfg, "fade") else cfg


def parameters(module, cfg) -> dict:
    """Return how many parameters each player has."""
    state = jax.eval_shape(lambda key: module.init(cfg, key), jax.random.key(0))
    return {p: sum(a.size for a in jax.tree.leaves(getattr(state, p).params)) for p in ("g", "d")}


def report(file, protocol, rows, floor):
    """Print the table, and write it to FILE.md, and all of it to FILE.jsonl."""
    memory = lambda cost: f"{(cost['peak'] or cost['temporary']) / 1e6:.0f}" if cost else "-"
    seconds = lambda values: f"{np.median(values):.2f}" if values else "-"
    signs = lambda row: ", ".join(log.spread(row[n]) for n in SIGNS if n in row) or "-"
    head = (
        *("system", *SCORES, "D's sign: train, held out", "G, D: 10^6 parameters"),
        *("s a 1,000 images", "CPU s", "MB", "health"),
    )
    lines = [
        (
            row["system"].replace("_", " "),
            *(log.spread(row[n]) for n in SCORES),
            signs(row),
            ", ".join(f"{row['parameters'][p] / 1e6:.2f}" for p in "gd"),
            seconds(row["seconds_a_thousand"]),
            seconds(row["cpu_seconds_a_thousand"]),
            memory(row["cost"]),
            "; ".join(dict.fromkeys(line.partition(":")[0] for line in np.ravel(row["health"]).tolist())),
        )
        for row in rows
    ]
    lines.append(("the training data", *(log.spread(floor[n]) for n in SCORES), *[""] * (len(head) - 6)))
    lines = harness.table(head, lines)
    harness.record(file.name, [{"protocol": protocol, "itself": floor}, *rows], file.parent)
    file.with_suffix(".md").write_text(f"{protocol}.\n\n{lines}\n")


def draw(file, folders, source):
    """Write a row of samples of each system's first seed."""
    x = np.stack([np.clip(compare.sampled(folder, 12)[0], -1, 1) for folder in folders.values()])
    plots.table(file, plots.Picture(x, rows=tuple(name.replace("_", " ") for name in folders)), source)


if __name__ == "__main__":
    harness.command(main)
