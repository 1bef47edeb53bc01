"""`python -m benchmarks.speed.step_time`: what a step of each experiment costs, on the ring and on digits."""

from pathlib import Path

import numpy as np
import tyro

from benchmarks import measure
from gan_jax.run import cli, plots


def main(
    experiments: tuple[str, ...] = (),
    preset: str = "",
    seeds: tuple[int, ...] = (1,),
    steps: int = 0,
    repeats: int = 5,
    alone: bool = False,
    out: str = "benchmarks/speed/results",
):
    """Time experiments inside the training loop.

    Args:
        experiments: names of files in experiments/ [all].
        preset: the preset to time [the first one, and images].
        seeds: how many runs at once, several to compare.
        steps: updates a timing [about half a second's worth].
        repeats: timings, of which median, least and most are shown.
        alone: time one seed's step outside the loop too, dispatched by itself.
        out: folder of step_time.jsonl and step_time.png.
    """
    rows = []
    for name, module, p, cfg in measure.presets(experiments, preset):
        for s in seeds:
            rows.append({"experiment": name, "preset": p, "seeds": s} | measure.times(module, cfg, s, steps, repeats))
            if alone and s == 1:
                rows[-1]["alone"] = measure.clock(measure.alone(module, cfg), rows[-1]["steps"], repeats)["ms"]
    head = ("experiment", "preset", "seeds", *measure.HEAD, *["inside over outside the loop"] * alone)
    ratio = lambda r: f"{np.median(r['ms']) / np.median(r['alone']):.2f}" if "alone" in r else ""
    cells = [(r["experiment"], r["preset"], r["seeds"], *measure.cells(r), *[ratio(r)] * alone) for r in rows]
    measure.table(head, cells)
    measure.record("step_time", rows, out)
    draw(Path(out) / "step_time.png", rows)


def draw(file, rows):
    """Write a bar for each row, longest at the bottom: the median of its milliseconds a step, and their range."""
    rows = sorted(rows, key=lambda row: np.median(row["ms"]))
    middle = np.array([np.median(row["ms"]) for row in rows])
    reach = [middle - [min(row["ms"]) for row in rows], [max(row["ms"]) for row in rows] - middle]
    fig, (axis,) = plots.figure(1, 7, 0.8 + 0.22 * len(rows))
    seeds = lambda row: f", {row['seeds']} seeds" if row["seeds"] > 1 else ""
    axis.barh(
        [f"{row['experiment']}, {row['preset']}{seeds(row)}" for row in rows], middle, xerr=reach, color="#1764ab"
    )
    axis.set(xscale="log", xlabel="milliseconds a step")
    axis.invert_yaxis()
    axis.margins(y=0.01)
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    cli.run(lambda: tyro.cli(main), compile_cache=False)
