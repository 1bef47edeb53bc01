"""`python -m benchmarks unroll_cost`: what K updates ahead cost, with and without remat, against K = 0.

The cost model is by operation count. XLA counts the floating point operations of a step with K updates ahead
(`benchmarks/operations.py`): those of D's update, of G's, and of each update ahead, its backward pass and, with remat,
its forward pass once more. The model says that time goes as operations do: what K = 0 took times operations(K) over
operations(0). No measured point but K = 0 goes into it. The same by bytes that are read and written is drawn beside it.

By hand for points, with one forward of D as 1: an update ahead costs 3 (a forward and a backward of twice that), its
own backward pass twice that, and with remat those 3 again: 9 without and 12 with it, less the gradients by inputs that
nobody needs.
"""

import dataclasses
from typing import Literal

import numpy as np

from benchmarks import harness, operations
from gan_jax.run.config import Count
from gan_jax.run.program import game


def main(
    experiment: str = "unrolled",
    preset: str = "paper",
    ks: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 40),
    remat: tuple[bool, ...] = (True, False),
    clock: Literal["ms", "cpu_ms"] = "ms",
    steps: int = 0,
    repeats: Count = 5,
    out: str = "benchmarks/speed/results",
):
    """Time the unrolled step for several K, and K = 0, against the cost model.

    Args:
        experiment: unrolled, unrolled_modes or unrolled_lstm.
        preset: one of its presets.
        ks: the K to time.
        remat: whether the lookahead is recomputed in the backward pass.
        clock: wall time, or CPU time of all cores, which other work disturbs less.
        steps: updates a timing [about half a second's worth].
        repeats: timings, of which median, least and most are shown.
        out: folder of unroll_cost.jsonl and unroll_cost.png.
    """
    module = harness.experiment(experiment)
    cfg = harness.preset_of(module, preset)
    parts(module, dataclasses.replace(cfg, unroll=0))
    plain = timed(module, dataclasses.replace(cfg, unroll=0), steps, repeats)
    rows = []
    for r in remat:
        rows.append({"k": 0, "remat": r} | plain)
        for k in sorted({*ks} - {0}):
            found = timed(module, dataclasses.replace(cfg, unroll=k, remat=r), steps, repeats)
            rows.append({"k": k, "remat": r} | found)
    base = float(np.median(plain[clock]))
    for row in rows:  # the model
        row |= {f"by_{of}": base * row[of] / plain[of] for of in ("operations", "bytes")}
    table(rows, base, clock)
    of_all = {"experiment": experiment, "preset": preset, "clock": clock}
    harness.record("unroll_cost", [of_all | row for row in rows], out)
    chart(rows, remat, clock, f"{out}/unroll_cost.png")


def parts(module, cfg):
    """Print the operations of D's update alone, of G's alone and of both; G's forward pass is in all."""
    keeps = {"D's update": lambda s: s.d, "G's update, K = 0": lambda s: s.g, "both": lambda s: s}
    found = {name: operations.cost(operations.one_step(game(module, cfg), keep))[0][0] for name, keep in keeps.items()}
    harness.table(("a step of", "MFLOP"), [(name, f"{done / 1e6:.1f}") for name, done in found.items()])


def table(rows, base, clock):
    """Print a row for each K: what was measured over K = 0, and what the model says, which took `base`."""
    columns = {
        "MFLOP": lambda row: f"{row['operations'] / 1e6:.1f}",
        f"{clock}: median (least-most)": lambda row: harness.middle(row[clock]),
        "over K = 0": lambda row: f"{np.median(row[clock]) / base:.2f}",
        "by operations": lambda row: f"{row['by_operations'] / base:.2f}",
        "by bytes": lambda row: f"{row['by_bytes'] / base:.2f}",
        "compile s": lambda row: f"{row['compile']:.1f}",
        "temporary MB": lambda row: f"{row['temporary'] / 1e6:.1f}",
    }
    harness.table(
        ("K", "remat", *columns), [(row["k"], row["remat"], *(f(row) for f in columns.values())) for row in rows]
    )


def timed(module, cfg, steps, repeats) -> dict:
    """Return what a step computes, plans of memory and takes."""
    run, program, seconds = harness.compiled(module, cfg)
    done, accessed = map(float, operations.cost(operations.one_step(game(module, cfg)))[0])
    temporary = program.memory_analysis().temp_size_in_bytes
    row = {"operations": done, "bytes": accessed, "compile": seconds, "temporary": temporary}
    return row | harness.clock(run, steps, repeats)


def chart(rows, remat, clock, file):
    """Draw time, measured and by the model, and temporary memory against K."""
    from gan_jax.run.plots import figure

    fig, (time, memory) = figure(2)
    for r in remat:
        of = [row for row in rows if row["remat"] == r]
        k = [row["k"] for row in of]
        times = np.array([row[clock] for row in of])
        middle = np.median(times, 1)
        reach = [middle - times.min(1), times.max(1) - middle]
        colour = time.errorbar(k, middle, reach, fmt="o", label=f"remat {r}")[0].get_color()
        time.plot(k, [row["by_operations"] for row in of], "-", color=colour)
        time.plot(k, [row["by_bytes"] for row in of], ":", color=colour, linewidth=1)
        memory.plot(k, [row["temporary"] / 1e6 for row in of], "o-", color=colour, label=f"remat {r}")
    title = "measured (points); K = 0 times the ratio of\noperations (lines), of bytes (dotted)"
    top = 1.2 * max(max(*row[clock], row["by_operations"]) for row in rows)
    time.set(xlabel="K", ylabel={"ms": "ms a step", "cpu_ms": "CPU ms a step"}[clock], ylim=(0, top))
    time.set_title(title, fontsize="small")
    memory.set(xlabel="K", ylabel="MB", title="temporary memory", ylim=(0, None))
    time.legend()
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
