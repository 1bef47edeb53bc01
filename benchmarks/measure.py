"""What the benchmarks share: one experiment's loop compiled and timed, the machine's description, a JSON line a run."""

import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path

import jax
import numpy as np

from gan_jax import data, loop, mesh, rundir


def machine() -> dict:
    """Return hardware and versions."""
    cpu = next(
        (l.split(":")[1].strip() for l in _lines("/proc/cpuinfo") if l.startswith("model name")), platform.machine()
    )
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "cpu": cpu,
        "threads": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{p: importlib.metadata.version(p) for p in ("jax", "flax", "optax")},
        "date": datetime.date.today().isoformat(),
    }


def _lines(file):
    return Path(file).read_text().splitlines() if Path(file).exists() else []


def prepared(module, cfg, seeds=1, devices=None):
    """Return (state, keys, feed, advance, mesh, parts): an experiment's run as `fit` has it before the first step."""
    given = rundir.parts(module, cfg, seeds)
    devices = mesh.make(given["batch_size"], seeds, devices)
    placed = jax.sharding.NamedSharding(devices, mesh.seed_spec(devices, seeds))
    keys = jax.jit(lambda: rundir.initial(lambda key: key, 0, seeds), out_shardings=placed)()
    state = jax.jit(lambda: rundir.initial(given["init"], 0, seeds), out_shardings=placed)()
    feed = mesh.put(devices, data.resident(given["source"]))
    advance = loop.advancer(given["step"], given["source"], given["batch_size"], devices, seeds, 1, False)
    return state, keys, feed, advance, devices, given


def times(module, cfg, seeds=1, steps=None, repeats=5, devices=None) -> dict:
    """Return what `steps` updates of an experiment cost inside the loop that `fit` runs, evaluation left out.

    "compile": seconds to trace and compile; "ms" and "cpu_ms": wall and CPU milliseconds a step (of all seeds), each
    over `repeats` timings; "temporary": bytes that XLA plans beside the arguments; "peak": the device's own count of
    bytes at its peak, where it keeps one. steps=None: as many as fill about half a second.
    """
    state, keys, feed, advance, devices, _ = prepared(module, cfg, seeds, devices)
    begin = time.perf_counter()
    compiled = advance.lower(state, keys, feed, 1).compile()
    compile_seconds = time.perf_counter() - begin

    def timed(n):
        nonlocal state
        wall, cpu = time.perf_counter(), time.process_time()
        state, metrics = compiled(state, keys, feed, np.int32(n))
        jax.block_until_ready((state, metrics))
        return 1e3 * (time.perf_counter() - wall) / n, 1e3 * (time.process_time() - cpu) / n

    timed(1)
    steps = steps or int(np.clip(500 / timed(2)[0], 1, 1000))
    wall, cpu = zip(*(timed(steps) for _ in range(repeats)), strict=True)
    memory = devices.devices.flat[0].memory_stats() or {}
    return {
        "compile": compile_seconds,
        "ms": wall,
        "cpu_ms": cpu,
        "steps": steps,
        "temporary": compiled.memory_analysis().temp_size_in_bytes,
        "peak": memory.get("peak_bytes_in_use"),
    }


HEAD = ("ms/step: median (least-most)", "CPU ms/step", "compile s", "temporary MB", "peak MB")


def cells(row: dict) -> tuple[str, ...]:
    """Return what `times` measured as cells of a table under HEAD."""
    middle = lambda values: f"{np.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
    peak = f"{row['peak'] / 1e6:.0f}" if row["peak"] else "-"
    return middle(row["ms"]), middle(row["cpu_ms"]), f"{row['compile']:.1f}", f"{row['temporary'] / 1e6:.1f}", peak


def experiment(name: str):
    """Return the module of an experiment."""
    return importlib.import_module(f"experiments.{name}")


def table(head, rows) -> str:
    """Print a Markdown table, and return it."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, *rows)]
    lines.insert(1, "|" + " --- |" * len(head))
    print("\n".join(lines), flush=True)
    return "\n".join(lines)


def record(benchmark: str, rows: list[dict], out: str):
    """Append one JSON line: what was measured, on what."""
    file = Path(out) / f"{benchmark}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as f:
        f.write(json.dumps({"benchmark": benchmark} | machine() | {"rows": rows}) + "\n")
    print(f"appended to {file}")
