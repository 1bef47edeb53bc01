"""`python -m benchmarks.step_time`: what a step of each experiment costs, on the ring and on digits."""

import numpy as np
import tyro

from benchmarks import measure
from gan_jax import cli


def main(
    experiments: tuple[str, ...] = (),
    preset: str = "",
    seeds: tuple[int, ...] = (1,),
    steps: int = 0,
    repeats: int = 5,
    alone: bool = False,
    out: str = "benchmarks/results",
):
    """Time experiments inside the training loop.

    Args:
        experiments: names of files in experiments/ [all].
        preset: the preset to time [the first one, and images].
        seeds: how many runs at once, several to compare.
        steps: updates a timing [about half a second's worth].
        repeats: timings, of which median, least and most are shown.
        alone: time one seed's step outside the loop too, dispatched by itself.
        out: folder of step_time.jsonl.
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


if __name__ == "__main__":
    cli.run(lambda: tyro.cli(main), compile_cache=False)
