"""`python -m benchmarks defaults`: what every experiment ends with, started as `python -m experiments NAME`."""

from pathlib import Path

import numpy as np
import tyro
from PIL import Image

import experiments
from benchmarks import harness
from experiments.__main__ import families
from gan_jax.run import log, plots, rundir
from gan_jax.run.config import Count
from gan_jax.run.plots import page

HEAD = ("experiment", "data", "steps", "what it ends with", "health", "seconds")
SIDE = 200  # of a small picture
ASIDE = {"shares", "protocol", "steps", "seconds", "seeds", "flags", "loss/g", "loss/d"}


def main(
    names: tyro.conf.Positional[tuple[str, ...]] = (),
    seeds: Count = 1,
    flags: str = "",
    record: str = "defaults",
    out: str = "benchmarks/quality/results",
    runs: str = "",
):
    """Train with the defaults. A run that is finished is not trained again, one that was stopped goes on.

    The table and the pictures are of every experiment that the record has, of each its newest row.

    Args:
        names: the experiments, by their files' names [all].
        seeds: runs of each, with seeds 0, 1, ...
        flags: more flags, each for the experiments that have it, as one word: --flags="--width=16 --gpu".
        record: name of the record; with another one, what they end with under other flags.
        out: folder of RECORD.md and .jsonl, and of a folder RECORD with a picture of each; RECORD.png is of all of
            them, where they are of several families there is one of each family in that folder instead.
        runs: folder of the runs [runs/RECORD].
    """
    runs = runs or f"runs/{record}"
    modules, rows = {name: harness.experiment(name) for name in names or experiments.modules()}, []
    more = harness.taken(modules, flags)
    for name, module in modules.items():
        results = harness.trained(module, [f"--seeds={seeds}", *more[name]], Path(runs, name))
        config = rundir.read(Path(runs, name))["config"]
        row = {"experiment": name, "data": config["dataset"], "seeds": seeds, "flags": more[name]} | results
        rows.append(row | {"config": config, "trained": harness.trained_by(Path(runs, name))})
        print(f"{name}: {'; '.join(results['health'])}", flush=True)
    harness.record(record, rows, out)
    Path(out, record).mkdir(exist_ok=True)
    for name in modules:
        small_picture(Path(runs, name, "samples")).save(picture(out, record, name))
    newest = {row["experiment"]: row for line in harness.recorded(record, out) for row in line}
    known = {name: newest[name] for stems in families().values() for name in stems if name in newest}
    lines = harness.table(HEAD, [cells(row) for row in known.values()])
    Path(out, f"{record}.md").write_text(lines + "\n")
    there = lambda stems: {name: picture(out, record, name) for name in stems if picture(out, record, name).exists()}
    drawn = {family: pictures for family, stems in families().items() if (pictures := there(stems))}
    for family, pictures in drawn.items():
        draw(Path(out, record, f"family-{family}.png") if len(drawn) > 1 else Path(out, f"{record}.png"), pictures)


def picture(out, record: str, name: str) -> Path:
    """Return the file of an experiment's small picture."""
    return Path(out, record, f"{name}.png")


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    scores = {k: v for k, v in row.items() if k not in ASIDE and np.asarray(v).dtype.kind in "iuf"}
    said = ", ".join(f"{name.replace('_', ' ')} {log.spread(value)}" for name, value in scores.items())
    found = dict.fromkeys(word.split(":")[0] for words in row["health"] for word in words.split("; "))
    return row["experiment"], row["data"], row["steps"], said, "; ".join(found), round(row["seconds"])


def small_picture(samples):
    """Return a small picture of a run's last samples; of texts the first ones, in letters that can be read."""
    texts = samples / "final.txt"
    if not texts.exists():
        image = Image.open(samples / "final.png").convert("RGB")
        image.thumbnail((SIDE, SIDE))
        return image
    lines = [line for line in texts.read_text().splitlines() if line][: SIDE // page.height_of(1)]
    sheet, inside = page.blank(SIDE, SIDE), SIDE - 2 * page.GAP
    page.write(sheet, (page.GAP,) * 2, [page.wrapped(line, inside, 1, even=True)[0] for line in lines], even=True)
    return sheet


def draw(file, pictures):
    """Write the last samples of each experiment side by side."""
    fig, axes = plots.figure(len(pictures), 2.4, 2.6, across=6)
    for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(np.asarray(Image.open(picture).convert("RGB")))
        axis.set(title=name, xticks=[], yticks=[])
    fig.savefig(file, dpi=75)
    Image.open(file).convert("RGB").quantize(256).save(file, optimize=True)  # a third of the bytes


if __name__ == "__main__":
    harness.command(main)
