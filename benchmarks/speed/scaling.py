"""`python -m benchmarks scaling`: one batch over 1, 2, 4, 8 devices: the same state, its time, and what they exchange.

Each number of devices is tried in a process of its own. Where there are no such devices the CPU stands for them (XLA's
fake ones): the state and the bytes are then those of real devices, but all share the same cores, so the time shows what
dividing the batch costs and not what it gains.

The bytes are the results of all collectives of a step in the compiled program, those in a loop times its trips. By
hand for `vanilla`: 4 bytes for each of G's parameters, 8 for each of D's (its gradients on data and on samples are
summed over the devices each by itself), and 4 for each of the four metrics.
"""

import collections
import concurrent.futures
import math
import multiprocessing
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness
from gan_jax.errors import UserError
from gan_jax.run import sharding
from gan_jax.run.config import Count


def main(
    experiments: tuple[str, ...] = ("vanilla", "unrolled"),
    preset: str = "",
    devices: tuple[Count, ...] = (1, 2, 4, 8),
    check: int = 5,
    steps: int = 0,
    repeats: Count = 5,
    out: str = "benchmarks/speed/results",
):
    """Divide the batch of experiments over devices.

    Args:
        experiments: names of files in experiments/ [all].
        preset: the preset to try [the first one, and images].
        devices: how many, the first the one that the others are held against.
        check: steps in float64 after which the states must be the same, within 1e-9.
        steps: updates a timing [about half a second's worth].
        repeats: timings, of which median, least and most are shown.
        out: folder of scaling.jsonl and scaling.png.
    """
    rows, expected = [], None
    for name, _, p, _ in harness.presets(experiments, preset):
        for n in devices:
            row, state = in_process(n, divided, name, p, n, check, steps, repeats)
            expected = state if n == devices[0] else expected
            row |= {"experiment": name, "preset": p, "devices": n, "apart": apart(state, expected)}
            if not row["apart"] <= 1e-9:
                raise UserError(
                    f"{name}, {p}: {n} devices are {row['apart']:.1e} from {devices[0]} after {check} steps."
                )
            rows.append(row)
    head = ("experiment", "preset", "devices", "ms/step: median (least-most)", "CPU ms/step", "kB exchanged", "apart")
    cells = lambda r: (*map(harness.middle, (r["ms"], r["cpu_ms"])), f"{kilobytes(r):.1f}", f"{r['apart']:.0e}")
    harness.table(head, [(r["experiment"], r["preset"], f"{r['devices']} x {r['kind']}", *cells(r)) for r in rows])
    harness.record("scaling", rows, out)
    chart(rows, Path(out) / "scaling.png")


def in_process(devices, f, *args):
    """Return f(*args) from a process of its own, in which the CPU is so many devices."""
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={devices}"
    try:
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
            return pool.submit(f, *args).result()
    finally:
        os.environ["XLA_FLAGS"] = flags


def divided(name, preset, n, check, steps, repeats):
    """Return (what a step costs on the first n devices, all numbers of the state after `check` steps)."""
    if jax.device_count() < n:
        raise UserError(f"there are only {jax.device_count()} devices here; choose the numbers with --devices.")
    ((*_, module, _, cfg),) = harness.presets((name,), preset)
    run, program, seconds = harness.compiled(module, cfg, devices=jax.devices()[:n])
    with jax.enable_x64(True):  # where a lookahead leaves but few digits of float32
        state, keys, feed, advance, *_ = harness.prepared(module, cfg, devices=jax.devices()[:n])
        double = lambda a: a.astype(float) if jnp.issubdtype(a.dtype, jnp.floating) else a
        state, _ = advance(jax.tree.map(double, state), keys, feed, np.int32(check))
        state = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(sharding.to_host(state))], dtype=float)
    row = {"compile": seconds, "kind": jax.devices()[0].device_kind, "bytes": exchanged(program.as_text(), n)}
    return row | harness.clock(run, steps, repeats), state


def apart(a, b) -> float:
    """Return how far apart two states are: the largest of |a - b| / (1 + |b|)."""
    return float((np.abs(a - b) / (1 + np.abs(b))).max())


COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


def exchanged(text: str, devices: int) -> dict[str, int]:
    """Return {collective: bytes} of a compiled program's text: the size of what each gives, or takes if that is more.

    A loop counts as often as its trip count says, and once where that is not known, as of the loop over the steps.
    """
    bodies = {m[1]: m[2] for m in re.finditer(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{\n((?:  .*\n)*)\}", text, re.M)}

    def of(name):
        found = collections.Counter()
        for line in bodies[name].splitlines():
            shapes, op = re.match(r".*? = (.*?) ([\w-]+)\(", line).groups()
            trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
            for called in re.findall(r"(?:body|calls|to_apply|\w+_computation)=%?([\w.-]+)", line):
                for kind, n in of(called).items():
                    found[kind] += n * (int(trips[1]) if trips else 1)
            kind = op.removesuffix("-done")  # of a pair of start and done, the latter has the result
            if kind in COLLECTIVES:
                found[kind] += size(shapes) * (devices if kind == "reduce-scatter" else 1)
        return found

    return dict(of(re.search(r"^ENTRY %?([\w.-]+) ", text, re.M)[1]))


def size(shapes: str) -> int:
    """Return the bytes of arrays as HLO writes them: "(f32[2,128]{1,0}, pred[])" has 1025."""
    total = 0
    for kind, lengths in re.findall(r"\b([a-z]+\d*)\w*\[([\d,]*)\]", shapes):
        bits = 8 if kind == "pred" else int(kind.lstrip("abcdefghijklmnopqrstuvwxyz") or 0)
        total += bits * math.prod(int(n) for n in lengths.split(",") if n) // 8
    return total


def kilobytes(row) -> float:
    """Return what all collectives of a step exchange."""
    return sum(row["bytes"].values()) / 1e3


def chart(rows, file):
    """Draw time and bytes against the number of devices, a line for each experiment and preset."""
    from gan_jax.run.plots import figure

    fig, (time, data) = figure(2)
    for of in dict.fromkeys((r["experiment"], r["preset"]) for r in rows):
        mine = [r for r in rows if (r["experiment"], r["preset"]) == of]
        n = [r["devices"] for r in mine]
        (line,) = time.plot(n, [np.median(r["ms"]) for r in mine], "o-", label=", ".join(of))
        data.plot(n, [kilobytes(r) for r in mine], "o-", color=line.get_color())
    for axis in (time, data):
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted({r["devices"] for r in rows}), sorted({r["devices"] for r in rows}))
    time.set(xlabel="devices", ylabel="ms a step", title=f"time, {rows[0]['kind']}", ylim=(0, None))
    data.set(xlabel="devices", ylabel="kB a step", title="exchanged", ylim=(0, None))
    time.legend()
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
