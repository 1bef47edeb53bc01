"""`python -m benchmarks compile_time`: seconds to compile a step at the published size, of abstract shapes."""

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import tyro

from benchmarks import harness
from experiments.images import progressive, stylegan2
from gan_jax import data
from gan_jax.run.config import Count
from gan_jax.run.program import game


class Case(NamedTuple):
    module: object
    preset: str
    widths: Callable  # side of the images -> the fields that say how wide the nets are


CASES = {  # the published nets from 4x4 pixels up to that size: the finest level has the channels that it has there
    "stylegan2": Case(stylegan2, "paper", lambda side: {"width": 32 * 1024 // side}),
    "progressive": Case(progressive, "paper", lambda side: dict.fromkeys(("width", "d_width"), 16 * 1024 // side)),
}
TARGET = 60  # seconds
HEAD = "step", "image", "batch", "parameters of G and D", "s", "CPU s", "of these tracing", "temporary MB", "target"


def main(
    cases: tyro.conf.Positional[tuple[Literal[*CASES], ...]] = tuple(CASES),
    size: Count = 256,
    preset: str = "",
    out: str = "benchmarks/speed/results",
):
    """Trace and compile steps as a first run does, without state and data: only their shapes are known.

    Args:
        cases: which steps.
        size: the side of the images.
        preset: another preset, with the widths that it has.
        out: folder of compile_time.jsonl.
    """
    flags = {"size": size, "xla_flags": os.environ.get("XLA_FLAGS", "")}
    rows = [{"experiment": name, "preset": preset or CASES[name].preset} | flags for name in cases]
    for row in rows:
        case = CASES[row["experiment"]]
        cfg, widths = harness.preset_of(case.module, row["preset"]), {} if preset else case.widths(size)
        row |= compiled(case.module, dataclasses.replace(cfg, dataset=images(size), **widths))
        harness.table(HEAD, [cells(row)])
    harness.record("compile_time", rows, out)


def images(side) -> str:
    """Return the name of a set of colour images of which nothing but the shape is known."""
    name = f"shapes{side}"
    data.DATASETS[name] = lambda _: data.Source(name, {"x": data.Field((side, side, 3), "image")}, n=1)
    return name


def compiled(module, cfg) -> dict:
    """Return what it takes to compile a step: "seconds" and "cpu", of the clock and of the CPU; "tracing" of the CPU's.

    "temporary": bytes that XLA plans beside the arguments; "parameters": those of all players.
    """
    played = game(module, cfg)
    state = jax.eval_shape(played.init, jax.random.key(0))
    b, shape = played.setup.batch_size, played.setup.source.shape
    batch = {"x": jax.ShapeDtypeStruct((b, *shape), jnp.float32)}
    wall, cpu = time.perf_counter(), time.process_time()
    lowered = jax.jit(played.step, donate_argnums=0).lower(state, batch)
    tracing = time.process_time() - cpu
    program = lowered.compile()
    found = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "tracing": tracing, "batch": b}
    sizes = [sum(a.size for a in jax.tree.leaves(player.params)) for player in (state.g, state.d)]
    return found | {"temporary": program.memory_analysis().temp_size_in_bytes, "parameters": sizes}


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    parameters = " and ".join(f"{n / 1e6:.1f} M" for n in row["parameters"])
    times = (f"{row[name]:.0f}" for name in ("seconds", "cpu", "tracing"))
    met = f"{TARGET} s: {'met' if row['seconds'] <= TARGET else 'missed'}"
    image = f"{row['size']}x{row['size']}"
    return row["experiment"], image, row["batch"], parameters, *times, f"{row['temporary'] / 1e6:.0f}", met


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
