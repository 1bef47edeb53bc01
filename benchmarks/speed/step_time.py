"""`python -m benchmarks step_time`: what a step of each experiment costs, on the ring and on digits."""

from pathlib import Path

import numpy as np

import experiments as known
from benchmarks import harness
from gan_jax.run import plots
from gan_jax.run.config import Count


def main(
    experiments: tuple[str, ...] = (),
    preset: str = "",
    seeds: tuple[Count, ...] = (1,),
    steps: int = 0,
    repeats: Count = 5,
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
        out: folder of step_time.jsonl and step_time.png, which shows the last timing of each, of earlier runs too.
    """
    rows = []
    for name, module, p, cfg in harness.presets(experiments, preset):
        for s in seeds:
            rows.append({"experiment": name, "preset": p, "seeds": s} | harness.times(module, cfg, s, steps, repeats))
            if alone and s == 1:
                rows[-1]["alone"] = harness.clock(harness.alone(module, cfg), rows[-1]["steps"], repeats)["ms"]
    head = ("experiment", "preset", "seeds", *harness.HEAD, *["inside over outside the loop"] * alone)
    ratio = lambda r: f"{np.median(r['ms']) / np.median(r['alone']):.2f}" if "alone" in r else ""
    cells = [(r["experiment"], r["preset"], r["seeds"], *harness.cells(r), *[ratio(r)] * alone) for r in rows]
    harness.table(head, cells)
    harness.record("step_time", rows, out)
    draw(Path(out) / "step_time.png", newest(harness.recorded("step_time", out)))


def newest(lines) -> list[dict]:
    """Return the last row of each experiment, preset and number of seeds that there is still, of all that was timed."""
    found = {(row["experiment"], row["preset"], row["seeds"]): row for rows in lines for row in rows}
    presets = {name: harness.experiment(name).PRESETS for name, *_ in found if name in known.modules()}
    return [row for (name, preset, _), row in found.items() if preset in presets.get(name, {})]


def draw(file, rows):
    """Write a bar for each row, longest at the bottom: the median of its milliseconds a step, and their range.

    Each machine, with its version of JAX, has a colour.
    """
    rows = sorted(rows, key=lambda row: np.median(row["ms"]))
    machine = lambda row: "{cpu}, threads: {threads}, jax {jax}".format(**row["trained"])
    seeds = lambda row: f", {row['seeds']} seeds" if row["seeds"] > 1 else ""
    fig, (axis,) = plots.figure(1, 7, 1.2 + 0.22 * len(rows))
    for colour, of in enumerate(dict.fromkeys(map(machine, rows))):
        at = [i for i, row in enumerate(rows) if machine(row) == of]
        ms = [rows[i]["ms"] for i in at]
        middle = np.array([np.median(one) for one in ms])
        reach = [middle - [min(one) for one in ms], [max(one) for one in ms] - middle]
        axis.barh(at, middle, xerr=reach, color=f"C{colour}", label=of)
    axis.set_yticks(range(len(rows)), [f"{row['experiment']}, {row['preset']}{seeds(row)}" for row in rows])
    axis.set(xscale="log", xlabel="milliseconds a step")
    axis.invert_yaxis()
    axis.margins(y=0.01)
    fig.legend(loc="outside upper center", fontsize="small")
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
