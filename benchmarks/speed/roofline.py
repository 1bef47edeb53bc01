"""`python -m benchmarks roofline`: what bounds each experiment's step, and how near it comes to that.

Operations and bytes are those that `benchmarks/operations.py` counts. The ceiling of operations is the matrix product
of the best size, that of bytes the copy of an array of the best size, both measured in the same run: much of what a
step reads and writes never leaves the caches. All of it wants a quiet machine, or `--clock cpu_ms` on one core
(`taskset -c 0`): a share of more than 100 % says that the ceilings were measured while something else ran.

By hand for `vanilla`, preset ring, with b = 512 rows and so many weights: G 18,688 (2,048 in its first layer), D 16,768
(256). A product with w weights is 2 b w operations, and as many again for each of its gradients, by the weights and by
the input; a first layer needs none by its input. G's loss takes 3 G - 2,048 and 2 D, D's loss 2 (3 D - 256), less the D
of the fakes, which both have: 2 b x 170,880 = 175.0 million. XLA counts 178.9, with what is not a matrix product.
"""

from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

import experiments as known
from benchmarks import harness, operations
from gan_jax.run.config import Count
from gan_jax.run.program import game


def main(
    experiments: tuple[str, ...] = (),
    preset: str = "",
    matmul: tuple[Count, ...] = (512, 1024, 2048, 4096),
    copy: tuple[float, ...] = (1, 4, 16, 64, 256),
    clock: Literal["ms", "cpu_ms"] = "ms",
    steps: int = 0,
    repeats: Count = 5,
    out: str = "benchmarks/speed/results",
):
    """Measure the machine's ceilings, then experiments against them.

    Args:
        experiments: names of files in experiments/ [all].
        preset: the preset to measure [each one's default].
        matmul: rows of the square float32 matrices that are multiplied.
        copy: megabytes of the arrays that are read and written.
        clock: wall time, or CPU time of all cores, which other work disturbs less.
        steps: updates a timing [about half a second's worth].
        repeats: timings, of which the median counts; of the ceilings the best.
        out: folder of roofline.md, .jsonl and .png.
    """
    products = {n: 2e-6 * n**3 / min(harness.clock(product(n), None, repeats)[clock]) for n in matmul}  # GFLOP/s
    copies = {mb: 2 * mb / min(harness.clock(copying(mb), None, repeats)[clock]) for mb in copy}  # GB/s
    harness.table(("matrices", "GFLOP/s"), [(n, f"{rate:.1f}") for n, rate in products.items()])
    harness.table(("MB copied", "GB/s"), [(mb, f"{rate:.1f}") for mb, rate in copies.items()])
    best, rows = (max(products.values()), max(copies.values())), []
    for name in experiments or known.modules():
        module = harness.experiment(name)
        p = preset or next(iter(module.PRESETS))
        rows.append({"experiment": name, "preset": p} | measured(module, module.PRESETS[p], best, steps, repeats))
        print(f"{name}, {p}: {share(rows[-1], clock):.0%} of the roofline", flush=True)
    lines = table(rows, best, clock)
    harness.record("roofline", [{"matmul": products, "copy": copies, "clock": clock}, *rows], out)
    Path(out, "roofline.md").write_text(lines + "\n")
    chart(rows, best, clock, Path(out) / "roofline.png")


def measured(module, cfg, best, steps, repeats) -> dict:
    """Return what a step computes, the milliseconds that it takes at least, and those that it takes."""
    run, _, seconds = harness.compiled(module, cfg)
    done, accessed = map(float, operations.cost(operations.one_step(game(module, cfg)))[0])
    bound = 1e-6 * max(done / best[0], accessed / best[1])
    row = {"operations": done, "bytes": accessed, "bound_ms": bound, "compile": seconds}
    return row | harness.clock(run, steps, repeats)


def share(row, clock) -> float:
    """Return how much of its time a step would take on the roofline."""
    return row["bound_ms"] / np.median(row[clock])


def rate(row, clock) -> float:
    """Return billions of operations a second."""
    return row["operations"] / np.median(row[clock]) / 1e6


def table(rows, best, clock) -> str:
    """Print a row for each experiment, the nearest to the peak of operations first, and return the table."""
    columns = {
        "MFLOP": lambda r: f"{r['operations'] / 1e6:.1f}",
        "MB": lambda r: f"{r['bytes'] / 1e6:.1f}",
        "FLOP a byte": lambda r: f"{r['operations'] / r['bytes']:.2f}",
        "GFLOP/s": lambda r: f"{rate(r, clock):.1f}",
        "of the peak": lambda r: f"{rate(r, clock) / best[0]:.0%}",
        "of the roofline": lambda r: f"{share(r, clock):.0%}",
        {"ms": "ms a step", "cpu_ms": "CPU ms a step"}[clock]: lambda r: harness.middle(r[clock]),
    }
    cells = [
        (r["experiment"], r["preset"], *(cell(r) for cell in columns.values()))
        for r in sorted(rows, key=lambda r: -rate(r, clock))
    ]
    return harness.table(("experiment", "preset", *columns), cells)


def product(n):
    """Return run(times), which multiplies two square matrices of n rows."""
    a, multiply = jnp.ones((n, n)), jax.jit(jnp.matmul)

    def run(times):
        for _ in range(times):
            c = multiply(a, a)
        c.block_until_ready()

    return run


def copying(mb):
    """Return run(times), which reads and writes an array in place."""
    x, add = jnp.zeros(int(mb * 1e6) // 4), jax.jit(lambda x: x + 1, donate_argnums=0)

    def run(times):
        nonlocal x
        for _ in range(times):
            x = add(x)
        x.block_until_ready()

    return run


def chart(rows, best, clock, file):
    """Draw each experiment's operations a second against its operations a byte, under the machine's roof."""
    from gan_jax.run.plots import figure

    fig, (axis,) = figure(1, 9, 6)
    x = np.array([r["operations"] / r["bytes"] for r in rows])
    roof = np.geomspace(min(*x, best[0] / best[1]) / 2, max(*x, best[0] / best[1]) * 2, 100)
    axis.plot(roof, np.minimum(best[0], best[1] * roof), color="0.4", label="roofline")
    for colour, p in enumerate(dict.fromkeys(r["preset"] for r in rows)):
        mine = [i for i, r in enumerate(rows) if r["preset"] == p]
        axis.plot(x[mine], [rate(rows[i], clock) for i in mine], "o", color=f"C{colour}", label=p)
        for i in mine:
            axis.annotate(
                f" {rows[i]['experiment']}", (x[i], rate(rows[i], clock)), fontsize="x-small", color=f"C{colour}"
            )
    axis.set(xscale="log", yscale="log", xlabel="FLOP a byte", ylabel="GFLOP/s")
    axis.set_title(f"{best[0]:.0f} GFLOP/s in a matrix product, {best[1]:.0f} GB/s in a copy", fontsize="medium")
    axis.legend()
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
