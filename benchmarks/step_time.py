"""`python -m benchmarks.step_time`: what a step of each experiment costs, on the ring and on digits."""

import tyro

from benchmarks import measure
from gan_jax import cli


def main(
    experiments: tuple[str, ...] = (),
    preset: str = "",
    seeds: tuple[int, ...] = (1,),
    steps: int = 0,
    repeats: int = 5,
    out: str = "benchmarks/results",
):
    """Time experiments inside the training loop.

    Args:
        experiments: names of files in experiments/ [all].
        preset: the preset to time [the first one, and images].
        seeds: how many runs at once, several to compare.
        steps: updates a timing [about half a second's worth].
        repeats: timings, of which median, least and most are shown.
        out: folder of step_time.jsonl.
    """
    rows = []
    for name, module, p, cfg in measure.presets(experiments, preset):
        for s in seeds:
            rows.append({"experiment": name, "preset": p, "seeds": s} | measure.times(module, cfg, s, steps, repeats))
    head = ("experiment", "preset", "seeds", *measure.HEAD)
    measure.table(head, [(r["experiment"], r["preset"], r["seeds"], *measure.cells(r)) for r in rows])
    measure.record("step_time", rows, out)


if __name__ == "__main__":
    cli.run(lambda: tyro.cli(main), compile_cache=False)
