"""`python -m benchmarks mode_collapse`: ways against mode collapse, one budget for all, beside what is published.

The sizes quarter and half are the 1000 modes of Metz et al. 2017 (arXiv 1611.02163): stacked MNIST, the same nets for
all, D a quarter or half as wide as G. The sizes ring and grid are the mixtures of VEEGAN (arXiv 1705.07761), each
experiment with its own nets.
"""

import re
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from benchmarks import harness
from benchmarks.quality import compare
from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.metrics import floor
from gan_jax.run import log, plots, rundir

SIZES = {"quarter": (20_000, 8), "half": (20_000, 8), "ring": (12_000, 10), "grid": (25_000, 10)}  # steps, seeds

# name: experiment and flags; R3GAN's schedules are shares of the run, as in its paper
STACKED = {
    **{f"unrolled{k}": f"unrolled_modes --preset={{size}} --unroll={k}" for k in (0, 1, 5, 10)},
    **{f"unrolled{k}_pack2": f"unrolled_modes --preset={{size}} --unroll={k} --pack=2" for k in (0, 1, 5, 10)},
    **{f"unrolled{k}_std": f"unrolled_modes --preset={{size}} --unroll={k} --std" for k in (0, 1, 5, 10)},
    "unrolled10_paired": "unrolled_modes --preset={size} --unroll=10 --loss=relativistic_paired",
    "pacgan2": "pacgan --preset=stacked_{size} --pack=2",
    "pacgan3": "pacgan --preset=stacked_{size} --pack=3 --batch-size=129",  # whole packs
    "pacgan4": "pacgan --preset=stacked_{size} --pack=4",
    "mrgan": "mrgan --preset=stacked_{size}",
    "veegan": "veegan --preset=stacked_{size}",
    "wgan_gp": "wgan_gp --preset=stacked_{size}",
    "pggan": "progressive --preset=mnist1k_{size}",
    "pggan_nostd": "progressive --preset=mnist1k_{size} --group=0",
    "r3gan": "r3gan --preset=stacked_{size} --burn-in={burn_in} --ema={half_life}",
    "r3gan_resnet": "r3gan --preset=stacked_resnet --burn-in={burn_in} --ema={half_life}",
}
TOYS = {
    "vanilla": "vanilla --preset=ring --dataset={dataset}",
    "unrolled0": "unrolled --preset=veegan_{size} --unroll=0",
    "unrolled5": "unrolled --preset=veegan_{size} --unroll=5",
    "pacgan2": "pacgan --preset=default --dataset={dataset} --pack=2",
    "pacgan3": "pacgan --preset=default --dataset={dataset} --pack=3 --batch-size=258",
    "pacgan4": "pacgan --preset=default --dataset={dataset} --pack=4",
    "mrgan": "mrgan --dataset={dataset}",
    "veegan": "veegan --dataset={dataset}",
    "wgan_gp": "wgan_gp --dataset={dataset}",
    "r3gan": "r3gan --dataset={dataset}",
}
# modes, of toys the share of high quality, and KL; in brackets one of PROTOCOLS
PUBLISHED = {
    "quarter": {
        "unrolled0": "30.6 ± 20.73, KL 5.99 ± 0.42 [Metz]",
        "unrolled1": "65.4 ± 34.75, KL 5.91 ± 0.14 [Metz]",
        "unrolled5": "236.4 ± 63.30, KL 4.67 ± 0.43 [Metz]",
        "unrolled10": "327.2 ± 74.67, KL 4.66 ± 0.46 [Metz]",
        "pacgan2": "484.5 ± 32.99, KL 2.61 ± 0.22 [PacGAN]",
        "pacgan3": "601.3 ± 32.18, KL 2.00 ± 0.17 [PacGAN]",
        "pacgan4": "667.4 ± 29.00, KL 1.81 ± 0.15 [PacGAN]",
        "wgan_gp": "640.1 ± 136.3, KL 1.97 [PGGAN]",
        "pggan": "881.3 ± 39.2, KL 0.39 [PGGAN]",
        "pggan_nostd": "856.7 ± 50.4, KL 0.40 [PGGAN]",
        "r3gan_resnet": "1000, KL 0.0781 [R3GAN]",
    },
    "half": {
        "unrolled0": "628.0 ± 140.9, KL 2.58 ± 0.75 [Metz]",
        "unrolled1": "523.6 ± 55.77, KL 2.44 ± 0.26 [Metz]",
        "unrolled5": "732.0 ± 44.98, KL 1.66 ± 0.09 [Metz]",
        "unrolled10": "817.4 ± 37.91, KL 1.43 ± 0.12 [Metz]",
        "pacgan2": "840.7 ± 15.92, KL 1.00 ± 0.05 [PacGAN]",
        "pacgan3": "866.6 ± 12.10, KL 0.90 ± 0.04 [PacGAN]",
        "pacgan4": "820.2 ± 25.50, KL 1.15 ± 0.14 [PacGAN]",
        "wgan_gp": "772.4 ± 146.5, KL 1.35 [PGGAN]",
        "pggan": "918.3 ± 30.2, KL 0.22 [PGGAN]",
        "pggan_nostd": "886.6 ± 58.5, KL 0.26 [PGGAN]",
        "r3gan_resnet": "1000, KL 0.0781 [R3GAN]",
    },
    "ring": {
        "vanilla": "6.3 ± 0.5, 98.2 ± 0.2 %, KL 0.45 ± 0.09 [PacGAN 2-D]",
        "unrolled5": "7.6, 35.6 % [VEEGAN]",
        "pacgan2": "7.9 ± 0.1, 95.6 ± 2.0 %, KL 0.07 ± 0.03 [PacGAN 2-D]",
        "pacgan3": "7.8 ± 0.1, 97.7 ± 0.3 %, KL 0.10 ± 0.02 [PacGAN 2-D]",
        "pacgan4": "7.8 ± 0.1, 95.9 ± 1.4 %, KL 0.07 ± 0.02 [PacGAN 2-D]",
        "veegan": "8, 52.9 % [VEEGAN]",
    },
    "grid": {
        "vanilla": "17.3 ± 0.8, 94.8 ± 0.7 %, KL 0.70 ± 0.07 [PacGAN 2-D]",
        "unrolled5": "23.6, 16 % [VEEGAN]",
        "pacgan2": "23.8 ± 0.7, 91.3 ± 0.8 %, KL 0.13 ± 0.04 [PacGAN 2-D]",
        "pacgan3": "24.6 ± 0.4, 94.2 ± 0.4 %, KL 0.06 ± 0.02 [PacGAN 2-D]",
        "pacgan4": "24.8 ± 0.2, 93.6 ± 0.6 %, KL 0.04 ± 0.01 [PacGAN 2-D]",
        "veegan": "24.6, 40 % [VEEGAN]",
    },
}
PROTOCOLS = {
    "Metz": "arXiv 1611.02163, as PacGAN reprints it; 25,600 samples, ± over seeds",
    "PacGAN": "Lin et al., arXiv 1712.04086: the same nets re-created, 500,000 steps of 128 packs, 25,600 samples with "
    "batch statistics, 50 runs, ± standard error",
    "PGGAN": "Karras et al., arXiv 1710.10196, from memory: like nets at 32x32 without batch norm in D, 10 million "
    "images, averaged G, 10 times 25,600 samples, 8 runs",
    "R3GAN": "Huang et al., arXiv 2501.05441: small residual nets that are not said, samples and runs neither",
    "VEEGAN": "Srivastava et al., arXiv 1705.07761: 2,500 samples",
    "PacGAN 2-D": "arXiv 1712.04086: 400,000 steps of 100 packs, maxout D, 2,500 samples, 10 runs, ± standard error",
}
COMMAND = "python -m benchmarks mode_collapse"
PROTOCOL = (
    "{}, {} updates of G, {} seeds, last step, {} samples of each, mean ± standard deviation over seeds. "
    "The first row is what draws of the data score.\n\n    " + COMMAND + " {}"
)


def main(
    names: tyro.conf.Positional[tuple[str, ...]] = (),
    size: Literal["quarter", "half", "ring", "grid"] = "quarter",
    steps: int = 0,
    seeds: int = 0,
    flags: str = "",
    record: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/mode_collapse",
):
    """Train each way over several seeds and score its last step.

    A step is an update of G. Finished runs are not trained again, stopped ones go on; ways recorded alike before stay.

    Args:
        names: the ways, see STACKED and TOYS in this file [all of the size].
        size: which modes, and how wide D is.
        steps: updates of G [20,000; ring: 12,000; grid: 25,000].
        seeds: runs of each, with seeds 0, 1, ... [8; ring and grid: 10].
        flags: more flags, each for the ways that have it, as one word: --flags="--d-lr=2e-3 --gpu".
        record: name of the record [mode_collapse-SIZE-STEPSxSEEDS].
        out: folder of RECORD.md, RECORD.jsonl, RECORD.png and RECORD-samples.png.
        runs: folder of the runs.
    """
    steps, seeds = steps or SIZES[size][0], seeds or SIZES[size][1]
    ways = spelt(size, steps, names)
    names, folder, found = names or tuple(ways), Path(runs, f"{size}-{steps}x{seeds}"), {}
    modules = {name: harness.experiment(ways[name].split()[0]) for name in names}
    more = harness.taken(modules, flags)
    for name in names:
        given = [*ways[name].split()[1:], f"--steps={steps}", f"--seeds={seeds}", *more[name]]
        row = {"way": name, "experiment": ways[name], "published": PUBLISHED[size].get(name, "-")}
        found[name] = row | scored(modules[name], given, folder / name)
    source = data.load(found[names[0]]["config"]["dataset"])
    file = Path(out, record or f"mode_collapse-{size}-{steps}x{seeds}")
    best = floor.scores(source)
    protocol = PROTOCOL.format(source.name, steps, seeds, best.pop("n"), said(size, steps, seeds, flags, record))
    rows = list((carried(file.name, out, protocol) | found).values())
    harness.check_alike({way: row["protocol"] for way, row in found.items()})
    harness.check_alike({row["way"]: row.get("protocol") for row in rows}, here=False)
    protocol = protocol.replace(COMMAND, f"{COMMAND} {' '.join(row['way'] for row in rows)}")
    harness.record(file.name, [{"protocol": protocol, "data": best}, *rows], out)
    file.with_suffix(".md").write_text(tell(protocol, rows, best))
    chart(file.with_suffix(".png"), rows, best)
    samples(file.with_name(f"{file.name}-samples.png"), folder, [row["way"] for row in rows], source)


def said(size, steps, seeds, flags, record) -> str:
    """Return the flags of a command for a record's protocol."""
    more = {f'--flags="{flags}"': flags, f"--record={record}": record}
    return " ".join([f"--size={size} --steps={steps} --seeds={seeds}", *(flag for flag in more if more[flag])])


def spelt(size, steps, names=()) -> dict:
    """Return {way: its experiment and flags} of a size. Raises UserError where one of `names` is none of them."""
    dataset = {"ring": "ring8_unit", "grid": "grid25"}.get(size)
    shares = {"burn_in": max(1, steps // 5), "half_life": max(1, steps // 20)}
    ways = TOYS if dataset else STACKED
    if unknown := set(names) - set(ways):
        raise UserError(f"{', '.join(unknown)}: no such way at size {size}; choose from {', '.join(ways)}.")
    return {name: way.format(size=size, dataset=dataset, **shares) for name, way in ways.items()}


def scored(module, flags, folder) -> dict:
    """Return the scores of the experiment's run with these flags in `folder`, trained first where it is missing."""
    results = harness.trained(module, flags, folder)
    print(
        f"{folder.name}: " + ", ".join(f"{n} {log.spread(v)}" for n, v in harness.covered(results).items()), flush=True
    )
    row = harness.covered(results) | {"seconds": results["seconds"], "config": rundir.read(folder)["config"]}
    row |= {"health": results["health"], "trained": harness.trained_by(folder), "protocol": results.get("protocol")}
    return row | {"curve": harness.history(folder, ("modes", "reverse_kl"))}


def carried(name, out, protocol) -> dict:
    """Return {way: row} of what was recorded before by the same protocol, whichever ways were asked for then."""
    without_names = lambda text: re.sub(r"python -m .*?(?=--size)", "", text)  # of the command
    lines = harness.recorded(name, out)
    same = [rows for first, *rows in lines if without_names(first["protocol"]) == without_names(protocol)]
    return {row["way"]: row for rows in same for row in rows}


def tell(protocol, rows, best) -> str:
    """Print protocol, table and what is published, and return them as Markdown."""
    notes = [f"- {k}: {what}" for k, what in PROTOCOLS.items() if any(f"[{k}]" in row["published"] for row in rows)]
    notes = "\n".join(["\nPublished, by protocols of their own:", *notes, ""]) if notes else ""
    print(f"\n{protocol}\n")
    names = [*harness.covered(rows[0]), "seconds"]
    head = ("way", "experiment", *(n.replace("_", " ") for n in names), "published")
    cells = [[r["way"], r["experiment"], *(log.spread(r[n]) for n in names), r["published"]] for r in rows]
    of_data = ["data", "", *(log.spread(best[n]) if n in best else "" for n in names), ""]
    lines = harness.table(head, [of_data, *cells])
    print(notes)
    return f"{protocol}\n\n{lines}\n{notes}"


def samples(file, folder, names, source):
    """Draw samples of the first seed of all ways; where a way's run is not here, a picture that is there stays."""
    here = {name: folder / name for name in names if (folder / name / "results.json").exists()}
    if len(here) < len(names) and file.exists():
        print(f"{file} stays as it is: runs of {', '.join(set(names) - set(here))} are not in {folder}")
        return
    drawn = plots.KINDS[source.kind].drawn
    compare.draw(file, {name: compare.sampled(run, drawn)[0] for name, run in here.items()}, source)


def chart(file, rows, best):
    """Draw modes and KL against the step: a line for each way, a band of one standard deviation over its seeds."""
    curves = {row["way"]: row["curve"] for row in rows if "curve" in row}  # the oldest lines have none
    fig, axes = plots.figure(2, 6, 4.5)
    alpha = min(0.15, 0.8 / len(curves))  # many bands would hide the lines
    for axis, score in zip(axes, ("modes", "reverse_kl"), strict=True):
        for i, (name, of) in enumerate(curves.items()):
            values = np.asarray(of[score], float)  # [evaluations, seeds]
            values[~np.isfinite(values)] = np.nan  # infinite: no sample of high quality
            mean, std = values.mean(1), values.std(1, ddof=min(1, values.shape[1] - 1))
            style = {"color": f"C{i % 10}", "linestyle": ("-", "--", ":")[i // 10]}
            axis.plot(of["step"], mean, ".", markersize=3, color=style["color"])
            axis.plot(of["step"], mean, linewidth=1.2, label=name, **style)
            axis.fill_between(of["step"], mean - std, mean + std, alpha=alpha, linewidth=0, color=style["color"])
        axis.axhline(np.mean(best[score]), color="0.6", linewidth=1, linestyle="-.", label="data")
        axis.set(xlabel="step", title=score.replace("_", " "), ylim=(0, None))
    axes[1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main)
