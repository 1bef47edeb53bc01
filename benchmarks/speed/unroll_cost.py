"""`python -m benchmarks unroll_cost`: what K updates ahead cost, with and without remat, against K = 0.

By operation count, with one forward of D as 1: D's update costs 3 (a forward and a backward of twice that), and each
update ahead 3 more, its backward twice that, and with remat those 3 again: 9 without and 12 with it. K = 0 costs the
two updates of D and G; the rest is the same for every K. So the time should be a straight line in K.
"""

import dataclasses

import numpy as np

from benchmarks import measure
from gan_jax.run.config import Count


def main(
    experiment: str = "unrolled",
    preset: str = "paper",
    ks: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 40),
    remat: tuple[bool, ...] = (True, False),
    steps: int = 0,
    repeats: Count = 5,
    out: str = "benchmarks/speed/results",
):
    """Time the unrolled step for several K.

    Args:
        experiment: unrolled, unrolled_modes or unrolled_lstm.
        preset: one of its presets.
        ks: the K to time; 0 is the plain GAN.
        remat: whether the lookahead is recomputed in the backward pass.
        steps: updates a timing [about half a second's worth].
        repeats: timings, of which median, least and most are shown.
        out: folder of unroll_cost.jsonl and unroll_cost.png.
    """
    module, rows = measure.experiment(experiment), []
    for r in remat:
        for k in ks:
            cfg = dataclasses.replace(measure.preset_of(module, preset), unroll=k, remat=r)
            rows.append({"k": k, "remat": r} | measure.times(module, cfg, steps=steps, repeats=repeats))
    base = {row["remat"]: np.median(row["ms"]) for row in rows if row["k"] == min(ks)}
    ratio = lambda row: f"{np.median(row['ms']) / base[row['remat']]:.2f}"
    head = ("K", "remat", f"over K = {min(ks)}", *measure.HEAD)
    measure.table(head, [(row["k"], row["remat"], ratio(row), *measure.cells(row)) for row in rows])
    measure.record("unroll_cost", [{"experiment": experiment, "preset": preset} | row for row in rows], out)
    chart(rows, remat, f"{out}/unroll_cost.png")


def chart(rows, remat, file):
    """Draw time and temporary memory against K, with a straight line through the first and last time."""
    from gan_jax.run.plots import figure

    fig, (time, memory) = figure(2)
    for r in remat:
        of = [row for row in rows if row["remat"] == r]
        k, ms = [row["k"] for row in of], [np.median(row["ms"]) for row in of]
        line = time.plot(k, ms, "o-", label=f"remat {r}")[0]
        time.plot([k[0], k[-1]], [ms[0], ms[-1]], ":", color=line.get_color())
        memory.plot(k, [row["temporary"] / 1e6 for row in of], "o-", label=f"remat {r}")
    time.set(xlabel="K", ylabel="ms a step", title="time (dotted: linear in K)", ylim=(0, None))
    memory.set(xlabel="K", ylabel="MB", title="temporary memory", ylim=(0, None))
    time.legend()
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    measure.command(main, compile_cache=False)
