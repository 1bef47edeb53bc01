"""`python -m benchmarks.step_time`: what a step of each experiment costs, on its presets for the ring and for digits."""

import dataclasses
from pathlib import Path

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
    names = experiments or sorted(f.stem for f in Path("experiments").glob("*.py") if f.stem != "__init__")
    rows = []
    for name in names:
        module = measure.experiment(name)
        chosen = [preset] if preset else [p for p in dict.fromkeys([next(iter(module.PRESETS)), "images"]) if p in module.PRESETS]
        for p in chosen:
            cfg = module.PRESETS[p]
            cfg = dataclasses.replace(cfg, dataset="digits") if p == "images" else cfg
            for s in seeds:
                rows.append({"experiment": name, "preset": p, "seeds": s} | measure.times(module, cfg, s, steps, repeats))
    measure.table(
        ("experiment", "preset", "seeds", "compile s", "ms/step: median (least-most)", "CPU ms/step", "temporary MB", "peak MB"),
        [
            (r["experiment"], r["preset"], r["seeds"], f"{r['compile']:.1f}", measure.middle(r["ms"]), measure.middle(r["cpu_ms"]),
             f"{r['temporary'] / 1e6:.1f}", f"{r['peak'] / 1e6:.0f}" if r["peak"] else "-")
            for r in rows
        ],
    )  # fmt: skip
    measure.record("step_time", rows, out)


if __name__ == "__main__":
    cli.run(lambda: tyro.cli(main), cache=False)
