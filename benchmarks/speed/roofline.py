"""`python -m benchmarks roofline`: what bounds each experiment's step, and how near it comes to that.

Operations and bytes are those of XLA's cost analysis of the compiled step. XLA counts the body of a loop once, so every
`scan` (a lookahead, a critic's updates) is compiled once more by itself and added as often as it runs; loops that end
by a condition, and those inside random numbers, stay counted once. On a GPU the operations are those of the program
before compilation, since XLA counts its calls of matrix libraries as nothing (jax-ml/jax#22249). Bytes are what every
operation reads and writes, a fused one as a whole. Much of that never leaves the caches, so the ceiling of bytes is the
copy of an array of the best size, as that of operations is the matrix product of the best size. All of it wants a quiet
machine: a share of more than 100 % says that the ceilings were measured while something else ran.

By hand for `vanilla`, preset ring, with b = 512 rows and so many weights: G 18,688 (2,048 in its first layer), D 16,768
(256). A product with w weights is 2 b w operations, and as many again for each of its gradients, by the weights and by
the input; a first layer needs none by its input. G's loss takes 3 G - 2,048 and 2 D, D's loss 2 (3 D - 256), less the D
of the fakes, which both have: 2 b x 170,880 = 175.0 million. XLA counts 178.9, with what is not a matrix product.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from benchmarks import measure
from gan_jax import data
from gan_jax.run.config import Count
from gan_jax.run.program import game


def main(
    experiments: tuple[str, ...] = (),
    preset: str = "",
    matmul: tuple[Count, ...] = (512, 1024, 2048, 4096),
    copy: tuple[float, ...] = (1, 4, 16, 64, 256),
    steps: int = 0,
    repeats: Count = 5,
    out: str = "benchmarks/speed/results",
):
    """Measure the machine's ceilings, then experiments against them.

    Args:
        experiments: names of files in experiments/ [all].
        preset: the preset to measure [the first one, and images].
        matmul: rows of the square float32 matrices that are multiplied.
        copy: megabytes of the arrays that are read and written.
        steps: updates a timing [about half a second's worth].
        repeats: timings, of which the median counts; of the ceilings the best.
        out: folder of roofline.jsonl and roofline.png.
    """
    products = {n: 2e-6 * n**3 / min(measure.clock(product(n), None, repeats)["ms"]) for n in matmul}  # GFLOP/s
    copies = {mb: 2 * mb / min(measure.clock(copying(mb), None, repeats)["ms"]) for mb in copy}  # GB/s
    measure.table(("matrices", "GFLOP/s"), [(n, f"{rate:.1f}") for n, rate in products.items()])
    measure.table(("MB copied", "GB/s"), [(mb, f"{rate:.1f}") for mb, rate in copies.items()])
    best, rows = (max(products.values()), max(copies.values())), []
    for name, module, p, cfg in measure.presets(experiments, preset):
        operations, accessed = map(float, cost(one_step(game(module, cfg)))[0])
        bound = 1e-6 * max(operations / best[0], accessed / best[1])  # ms
        row = {"experiment": name, "preset": p, "operations": operations, "bytes": accessed, "bound_ms": bound}
        rows.append(row | measure.times(module, cfg, 1, steps, repeats))
        print(f"{name}, {p}: {bound / np.median(rows[-1]['ms']):.0%} of the roofline", flush=True)
    columns = {
        "MFLOP": lambda r: f"{r['operations'] / 1e6:.1f}",
        "MB": lambda r: f"{r['bytes'] / 1e6:.1f}",
        "FLOP/byte": lambda r: f"{r['operations'] / r['bytes']:.2f}",
        "GFLOP/s": lambda r: f"{rate(r):.1f}",
        "ms/step: median (least-most)": lambda r: measure.middle(r["ms"]),
        "of the roofline": lambda r: f"{r['bound_ms'] / np.median(r['ms']):.0%}",
    }
    measure.table(
        ("experiment", "preset", *columns),
        [(r["experiment"], r["preset"], *(cell(r) for cell in columns.values())) for r in rows],
    )
    measure.record("roofline", [{"matmul": products, "copy": copies}, *rows], out)
    chart(rows, best, Path(out) / "roofline.png")


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


def one_step(played):
    """Return the step of a Game as a jaxpr."""
    source, b, key = played.setup.source, played.setup.batch_size, jax.random.key(0)
    draw = lambda feed, key: data.batch(source, feed, key, 0, b)
    batch = jax.eval_shape(draw, data.resident(source), key)
    return jax.make_jaxpr(played.step)(jax.eval_shape(played.init, key), batch)


def cost(jaxpr):
    """Return [operations, bytes] of a closed jaxpr, every scan in it as often as it runs, and then as XLA counts it."""
    lowered = jax.jit(core.jaxpr_as_fun(jaxpr)).lower(*(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in jaxpr.in_avals))
    found = lowered.compile().cost_analysis()
    operations = lowered.cost_analysis() if jax.default_backend() == "gpu" else found
    whole = once = np.array([operations["flops"], found["bytes accessed"]])
    for scan in scans(jaxpr.jaxpr):
        if scan.params["length"]:  # else XLA took it out
            body, counted = cost(scan.params["jaxpr"])
            whole = whole + scan.params["length"] * body - counted
    return whole, once


def scans(jaxpr):
    """Yield the scans of a jaxpr and of what it calls, but not those inside them."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan":
            yield eqn
            continue
        for called in jax.tree.leaves(eqn.params, is_leaf=lambda v: isinstance(v, core.Jaxpr | core.ClosedJaxpr)):
            if isinstance(called, core.Jaxpr | core.ClosedJaxpr):
                yield from scans(getattr(called, "jaxpr", called))


def rate(row) -> float:
    """Return billions of operations a second."""
    return row["operations"] / np.median(row["ms"]) / 1e6


def chart(rows, best, file):
    """Draw each experiment's operations a second against its operations a byte, under the machine's roof."""
    from gan_jax.run.plots import figure

    fig, (axis,) = figure(1, 9, 6)
    x = np.array([r["operations"] / r["bytes"] for r in rows])
    roof = np.geomspace(min(*x, best[0] / best[1]) / 2, max(*x, best[0] / best[1]) * 2, 100)
    axis.plot(roof, np.minimum(best[0], best[1] * roof), color="0.4", label="roofline")
    for colour, p in enumerate(dict.fromkeys(r["preset"] for r in rows)):
        mine = [i for i, r in enumerate(rows) if r["preset"] == p]
        axis.plot(x[mine], [rate(rows[i]) for i in mine], "o", color=f"C{colour}", label=p)
        for i in mine:
            axis.annotate(f" {rows[i]['experiment']}", (x[i], rate(rows[i])), fontsize="x-small", color=f"C{colour}")
    axis.set(xscale="log", yscale="log", xlabel="FLOP a byte", ylabel="GFLOP/s")
    axis.set_title(f"{best[0]:.0f} GFLOP/s in a matrix product, {best[1]:.0f} GB/s in a copy", fontsize="medium")
    axis.legend()
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    measure.command(main, compile_cache=False)
