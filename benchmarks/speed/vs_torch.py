"""`python -m benchmarks vs_torch`: what a step costs here and in PyTorch, side by side in one process.

The same nets, batch and optimiser on both sides. Ours is the experiment's own step in the loop that `fit` runs, with
its batches; PyTorch's is benchmarks/torch_steps.py: channels_last, the fused Adam, no work done twice. Before anything
is timed, one update in float64 from the same weights, Adam's moments, data and noise must agree: what comes of
weights, moments, average and statistics to 1e-4 of their norms. Each case and number of threads has a process of its
own, bound to as many cores, in which the timings of both sides alternate. Of eight seeds the time is per seed; PyTorch
trains them one after another (`unrolled`), or all at once (`unrolled_vmap`).
"""

import concurrent.futures
import dataclasses
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks import harness
from experiments import r3gan, unrolled, wgan_gp
from experiments.images import dcgan, progressive, stylegan2
from experiments.pairs import cyclegan, pix2pix
from experiments.restoration import srgan
from experiments.shapes import gan3d
from gan_jax import data
from gan_jax.data.composed import of_arrays
from gan_jax.errors import UserError, first_line
from gan_jax.game import rng
from gan_jax.nets import pix2pix as pix2pix_nets
from gan_jax.run import sharding
from gan_jax.run.config import Count


def noise_images(name) -> data.Source:
    """Return 1,024 images of noise, or 256 pairs: what is in them does not matter to the clock."""
    size = int(name.removeprefix("noise").removeprefix("pairs"))
    fields, n = (("x", "source"), 256) if name.startswith("pairs") else (("x",), 1024)
    draw = np.random.default_rng(0)
    images = {field: draw.integers(0, 256, (n, size, size, 3), np.uint8) for field in fields}
    return data.Source(
        name,
        {field: data.Field((size, size, 3), "image") for field in fields},
        n=n,
        pick=lambda key, i, b: data.order(rng.at(key, 0, "data"), i, b, n),
        read=lambda rows: {field: x[rows] for field, x in images.items()},
        whole=lambda: images,
        nbytes=sum(x.nbytes for x in images.values()),
    )


def noise_solids(name) -> data.Source:
    """Return 256 solids, a tenth of whose voxels are filled."""
    side = int(name.removeprefix("solids"))
    x = np.random.default_rng(0).random((256, side, side, side, 1)) < 0.1
    return of_arrays(name, {"x": data.Field((side, side, side, 1), "voxels")}, {"x": 255 * x.astype(np.uint8)})


NOISE = dict.fromkeys(("noise8", "noise16", "noise32", "noise64", "noise96", "pairs16", "pairs128"), noise_images)
NOISE |= dict.fromkeys(("solids16", "solids32"), noise_solids)


# The noise of our steps, for PyTorch's to have the same: (cfg, key of the run, step, b) -> arrays.


def normal(cfg, key, step, b):
    return [rng.normal(rng.at(key, step, "z"), (b, cfg.z_dim))]


def uniform(cfg, key, step, b):
    return [dcgan.latent(cfg, rng.at(key, step, "z"), b)]


def unit(cfg, key, step, b):
    return [gan3d.latent(cfg, rng.at(key, step, "z"), b)]


def of_critic(cfg, key, step, _):
    z, t = (lambda i, name=name: jax.random.fold_in(rng.at(key, step, name), i) for name in ("z", "penalty"))
    n = cfg.d_steps if hasattr(cfg, "d_steps") else cfg.critic_steps
    zs = [rng.normal(z(i), (cfg.batch_size, cfg.z_dim)) for i in range(n + 1)]
    ts = [jax.random.uniform(t(i), (cfg.batch_size, 1, 1, 1)) for i in range(n)]  # of x's type
    return [jnp.stack(zs), jnp.stack(ts)]


def none(*_):
    return []


def dropouts(cfg, key, step, b):
    sides = pix2pix_nets.sizes(data.load(cfg.dataset).shape)
    at = rng.at(key, step, "dropout")
    levels = [(i, sides[i][0], cfg.width * 2 ** min(i - 1, 3)) for i in range(len(sides) - 2, 0, -1)][:3]
    return [rng.uniform(jax.random.fold_in(at, i), (b, n, n, c)) for i, n, c in levels]


def styles(cfg, key, step, b):
    (G, *_), found = stylegan2.build(cfg), []
    pixels = sum((4 * 2 ** ((i + 1) // 2)) ** 2 for i in range(G.layers - 1))  # of all layers
    for name, n in ("g", b), ("path", max(b // 2, 1)), ("d", b):
        z, noise = jax.random.split(rng.at(key, step, name))
        mixed, other, noise = jax.random.split(noise, 3)
        mixed, first = rng.uniform(mixed, (2,))
        first = jnp.where(mixed < cfg.mixing, 1 + jnp.floor(first * (G.layers - 1)), G.layers)
        found += rng.normal(z, (n, cfg.z_dim)), rng.normal(other, (n, cfg.z_dim)), first, rng.normal(noise, (n, pixels))
    return [*found, rng.normal(rng.at(key, step, "path y"), (max(b // 2, 1), *G.shape))]


TOLERANCE = 1e-4  # of the norm of each array; our Adam has an eps_root, which PyTorch's has not


class Case(NamedTuple):
    module: object
    cfg: object
    noise: Callable
    steps: tuple[str, ...]  # of torch_steps, all timed
    targets: dict  # {threads: the part of PyTorch's time to stay below}; threads None: with any number of them
    seeds: int = 1


_replace, _ring, _both = dataclasses.replace, unrolled.PRESETS["paper"], ("unrolled", "unrolled_func")
_dcgan = dcgan.Config("noise32", batch_size=64, width=64)
_images = lambda module, width: _replace(module.PRESETS["images"], dataset="noise32", width=width)
_kept = _replace(_images(unrolled, 32), remat=False)  # PyTorch's keeps what the way back needs, too
_pix2pix = _replace(pix2pix.PRESETS["128"], dataset="pairs128", jitter=0.0)
_cyclegan = _replace(cyclegan.PRESETS["paper"], dataset="noise64", source="noise64", width=32, depth=6, falls=0.0)
_srgan = srgan.Config("noise96", way="area", crop=96, residual=False)  # 24x24 to 96x96, by the published net
_stylegan2 = _replace(stylegan2.PRESETS["default"], dataset="noise64", d_every=1, g_every=1, ada=False)
_gan3d = gan3d.Config("solids32", filled=0, spread=False, held_above=1.0)  # the paper's nets; D learns in each step
_pggan = _replace(progressive.PRESETS["default"], dataset="noise32", first=16, stable=1, fade=1)  # soon all there
CASES = {
    "ring-k0": Case(unrolled, _replace(_ring, unroll=0), normal, _both, {}),
    "ring-k5": Case(unrolled, _replace(_ring, unroll=5), normal, _both, {}),
    "ring-k10": Case(unrolled, _ring, normal, _both, {1: 0.6, 2: 0.8}),
    "ring-k10-seeds8": Case(unrolled, _ring, normal, ("unrolled", "unrolled_vmap"), {2: 0.45}, seeds=8),
    "dcgan32": Case(dcgan, _dcgan, uniform, ("dcgan",), {None: 0.85}),
    "dcgan64": Case(dcgan, _replace(_dcgan, dataset="noise64"), uniform, ("dcgan",), {}),
    "wgan_gp": Case(wgan_gp, _images(wgan_gp, 32), of_critic, ("wgan_gp",), {None: 0.85}),
    "conv-k5": Case(unrolled, _kept, normal, ("unrolled",), {None: 0.9}),
    "r3gan": Case(r3gan, _images(r3gan, 16), normal, ("r3gan",), {}),
    "pix2pix128": Case(pix2pix, _pix2pix, dropouts, ("pix2pix",), {1: 1.0, 2: 1.15}),
    "cyclegan64": Case(cyclegan, _cyclegan, none, ("cyclegan",), {1: 1.0, 2: 1.15}),
    "srgan96": Case(srgan, _srgan, none, ("srgan",), {1: 1.0}),
    "stylegan2": Case(stylegan2, _stylegan2, styles, ("stylegan2",), {1: 1.0, 2: 1.15}),  # both regularisers each step
    "progressive": Case(progressive, _pggan, of_critic, ("progressive",), {1: 1.0, 2: 1.15}),
    "gan3d": Case(gan3d, _gan3d, unit, ("gan3d",), {1: 1.0}),
    "sample": Case(dcgan, _replace(_dcgan, width=32), uniform, ("sample",), {}),  # a step is 10,000 images
}


def cast(tree, dtype):
    """Return the tree with its floats as numpy arrays of `dtype`."""
    return jax.tree.map(lambda a: np.asarray(a, dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def training(case, cfg, kinds, check=True) -> dict[str, Callable]:
    """Return {"ours": f, (a step of torch_steps, kind): f, ...}: f(n) makes n updates of every seed, and waits.

    Raises UserError where one update of PyTorch's is not ours; check=False: that is known.
    """
    from benchmarks import torch_steps

    state, keys, feed, advance, _, game = harness.prepared(case.module, cfg, case.seeds)
    source, b = game.setup.source, game.setup.batch_size
    together = (
        updated(case, cfg, game, state, keys, feed)
        if check
        else (sharding.to_host(state._replace(key=state.step)),) * 3
    )
    each = [jax.tree.map(lambda a, i=i: a[i], together) for i in range(case.seeds)] if case.seeds > 1 else [together]
    draw = torch_steps.drawer(source, data.resident(source))

    def ours(n):
        nonlocal state
        state, metrics = advance(state, keys, feed, np.int32(n))
        jax.block_until_ready((state, metrics))

    def theirs(step, kind):
        f, teams = torch_steps.KINDS[kind](getattr(torch_steps, step)), []
        at_once = step == "unrolled_vmap"
        for was, now, inputs in [together] if at_once else each:
            players = torch_steps.players(cfg, was)
            if check:
                getattr(torch_steps, step)(cfg, *players, *map(torch_steps.tensor, cast(inputs, np.float64)))
                hold(step, *torch_steps.difference(cfg, now, players))
            teams.append(torch_steps.players(cfg, cast(was, np.float32)))

        def run(n):
            for _ in range(n):
                for players in teams:
                    f(cfg, *players, *draw((case.seeds, b) if at_once else (b,)))
            torch_steps.wait()

        run(1)  # here it is that torch.compile fails, where it does
        return run

    return {"ours": ours} | working(theirs, case.steps, kinds)


def updated(case, cfg, game, state, keys, feed):
    """Return (state before, state after, (*batch, *noise)) of our update, the sixth, so that Adam has seen something.

    In float64, what is drawn too: a lookahead through Adam can leave two digits of float32, in either library.
    """
    from benchmarks import torch_steps

    double = lambda key, shape=(): jax.random.normal(key, shape, jnp.float32).astype(jnp.float64)

    source, b = game.setup.source, game.setup.batch_size

    def one(state, key):
        state = state._replace(key=key)
        batch = data.batch(source, feed, key, state.step, b)
        batch = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, batch)
        seen = *torch_steps.seen(batch), *case.noise(cfg, key, state.step, b)
        return game.step(state, batch)[0]._replace(key=0), seen

    with jax.enable_x64(True), mock.patch.object(rng, "normal", double):
        quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None  # to compile
        update = jax.jit(one if case.seeds == 1 else jax.vmap(one), compiler_options=quick)
        after = cast(state._replace(key=state.step), float)
        for _ in range(5):
            before, (after, seen) = after, sharding.to_host(update(after, keys))
    return before, after, seen


def hold(step, where, apart):
    if not apart <= TOLERANCE:
        raise UserError(
            f"torch_steps.{step} is not our step: the {where} are {apart:.1e} of their norm apart. Nothing was timed.\n"
            "Bring benchmarks/torch_steps.py up to date with the experiment."
        )


def working(theirs, steps, kinds):
    """Return {(step, kind): theirs(step, kind)}, less what torch.compile can't do, such as a second gradient."""
    found = {}
    for step, kind in itertools.product(steps, kinds):
        try:
            found[step, kind] = theirs(step, kind)
        except RuntimeError as error:
            if kind != "compiled":
                raise
            print(f"{step} can't be compiled: {first_line(error)}", file=sys.stderr)
    return found


def sampling(case, cfg, kinds, check=True) -> dict[str, Callable]:
    """Return the same for samples by the running statistics: n times 10,000, in batches of 500."""
    from benchmarks import torch_steps

    state, keys, feed, advance, _, game = harness.prepared(case.module, cfg)
    state, _ = advance(state, keys, feed, 10)
    sample = jax.jit(lambda state, key: game.sample(state, key, 500))
    key = jax.random.key(0)

    def ours(n):
        for i in range(20 * n):
            jax.block_until_ready(sample(state, jax.random.fold_in(key, i)))

    with jax.enable_x64(True):
        double = cast(state, np.float64)
        z = case.module.latent(cfg, key, 500)
        x, z = map(torch_steps.tensor, cast((sample(double, key), z), np.float64))

    def theirs(step, kind):
        f = torch_steps.KINDS[kind](getattr(torch_steps, step))
        g, _ = torch_steps.players(cfg, double)
        if check:
            hold(step, "images", ((torch_steps.sample(cfg, g, 500, z) - x).norm() / x.norm()).item())
        g, _ = torch_steps.players(cfg, cast(state, np.float32))

        def run(n):
            for _ in range(20 * n):
                f(cfg, g, 500)
            torch_steps.wait()

        run(1)
        return run

    return {"ours": ours} | working(theirs, case.steps, kinds)


def pin(threads: int):
    """Bind this process, before JAX and PyTorch start their threads, to so many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def measured(name, cfg, kinds, steps, repeats, check=True) -> list[dict]:
    """Return a row for each step of PyTorch's: milliseconds a step (per seed) of both sides, wall and CPU.

    check: whether the two are held equal first.
    """
    import torch

    data.DATASETS.update(NOISE)
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    case = CASES[name]
    sides = (sampling if name == "sample" else training)(case, cfg, kinds, check)

    def timed(f, n):
        time.sleep(0.05)  # the other side's threads spin for a while after their work
        wall, cpu = time.perf_counter(), time.process_time()
        f(n)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return 1e3 * wall / n / case.seeds, 1e3 * cpu / n / case.seeds

    for f in sides.values():
        f(1)
    n = {side: steps or int(np.clip(500 / timed(f, 2)[0] / case.seeds, 1, 1000)) for side, f in sides.items()}
    found = [{side: timed(f, n[side]) for side, f in sides.items()} for _ in range(repeats)]
    rows = []
    for side in list(sides)[1:]:
        row = {"case": name, "torch_step": side[0], "kind": side[1], "threads": threads, "torch": torch.__version__}
        for i, clock in enumerate(("ms", "cpu_ms")):
            row[clock], row[f"torch_{clock}"] = ([once[k][i] for once in found] for k in ("ours", side))
            row["ratio" if clock == "ms" else "cpu_ratio"] = [once["ours"][i] / once[side][i] for once in found]
        rows.append(row | {"target": case.targets.get(threads, case.targets.get(None))})
    return rows


def main(
    cases: tyro.conf.Positional[tuple[Literal[*CASES], ...]] = tuple(c for c in CASES if c != "dcgan64"),
    threads: tuple[Count, ...] = (1, 2),
    kinds: tuple[Literal["eager", "compiled", "amp"], ...] = ("eager",),
    width: int = 0,
    batch_size: int = 0,
    steps: int = 0,
    repeats: Count = 7,
    out: str = "benchmarks/speed/results",
):
    """Time ours and PyTorch's, in turn.

    Args:
        cases: what to time.
        threads: how many cores both have.
        kinds: PyTorch's step as it is, by torch.compile too, in bfloat16 too (on a GPU).
        width: of all nets [each case's own].
        batch_size: rows of data and noise [each case's own].
        steps: updates a timing [about half a second's worth].
        repeats: timings, of which median, least and most are shown.
        out: folder of vs_torch.jsonl and vs_torch.png, which shows the last timing of each case, of earlier runs too.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UserError('PyTorch is not installed: pip install "gan_jax[bench]"') from None
    if max(threads) > len(os.sched_getaffinity(0)):
        raise UserError(f"--threads {max(threads)}: there are {len(os.sched_getaffinity(0))} cores here.")
    changes = {name: value for name, value in {"width": width, "batch_size": batch_size}.items() if value}
    context, told = multiprocessing.get_context("spawn"), []
    for name in cases:
        cfg, rows = dataclasses.replace(CASES[name].cfg, **changes), []
        for count in threads:
            with concurrent.futures.ProcessPoolExecutor(1, context, pin, (count,)) as process:
                check = count == threads[0]  # how many threads there are does not matter to it
                rows += process.submit(measured, name, cfg, kinds, steps, repeats, check).result()
            print(f"{name}, {count} threads: done", file=sys.stderr, flush=True)
        harness.record("vs_torch", [row | changes for row in rows], out)  # each case at once: the next may take long
        told += [cells(row) for row in rows]
    harness.table(HEAD, told)
    chart(newest(harness.recorded("vs_torch", out), changes), f"{out}/vs_torch.png")


HEAD = ("case", "threads", "PyTorch's step", "ms", "CPU ms", "PyTorch ms", "CPU ms", "ratio: median (least-most)")
HEAD += ("CPU ratio", "target")


def cells(row) -> tuple:
    spread = lambda values: f"{np.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
    ms = (f"{np.median(row[clock]):.4g}" for clock in ("ms", "cpu_ms", "torch_ms", "torch_cpu_ms"))
    met = "met" if row["target"] and np.median(row["ratio"]) <= row["target"] else "missed"
    target = f"{row['target']}: {met}" if row["target"] else ""
    step = row["torch_step"] + f", {row['kind']}" * (row["kind"] != "eager")
    return row["case"], row["threads"], step, *ms, spread(row["ratio"]), spread(row["cpu_ratio"]), target


def newest(lines, changes) -> list[dict]:
    """Return the last row of each step and number of threads with these changes, in the order of the cases."""
    found = {}
    for row in (row for rows in lines for row in rows):
        if row["case"] in CASES and all(row.get(name) == changes.get(name) for name in ("width", "batch_size")):
            found[row["case"], row["threads"], row["torch_step"], row["kind"]] = row
    return sorted(found.values(), key=lambda row: (list(CASES).index(row["case"]), row["threads"]))


def chart(rows, file):
    """Draw our time over that of PyTorch's fastest step: a bar for each case and number of threads, a line a target."""
    from gan_jax.run.plots import figure

    fastest = {}
    for row in sorted(rows, key=lambda row: -np.median(row["torch_ms"])):
        fastest[row["case"], row["threads"]] = row
    bars = [fastest[at] for at in dict.fromkeys((row["case"], row["threads"]) for row in rows)]
    fig, (axis,) = figure(width=6, height=1 + 0.25 * len(bars))
    threads = sorted({row["threads"] for row in bars})
    for y, row in enumerate(bars):
        middle = np.median(row["ratio"])
        around = [[middle - min(row["ratio"])], [max(row["ratio"]) - middle]]
        color = f"C{threads.index(row['threads'])}"
        axis.barh(y, middle, xerr=around, color=color, ecolor="0.3", label=f"threads: {row['threads']}")
        if row["target"]:
            axis.vlines(row["target"], y - 0.4, y + 0.4, color="black")
    axis.axvline(1, color="0.5", linewidth=1)
    axis.set(
        yticks=range(len(bars)),
        yticklabels=[row["case"] for row in bars],
        xlabel="our time / PyTorch's (black: the target)",
    )
    axis.invert_yaxis()
    handles = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    axis.legend(handles.values(), handles.keys(), loc="upper left", bbox_to_anchor=(1, 1))
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
