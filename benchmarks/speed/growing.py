"""`python -m benchmarks growing`: a step whose levels are branches of one program, beside a program a level."""

import time
from unittest import mock

import jax
import numpy as np

from benchmarks import harness
from gan_jax import data
from gan_jax.run.config import Count

HEAD = ("level", "CPU ms/step: in one program", "alone", "compile s: in one program", "alone", "temporary MB", "alone")


def main(
    name: str = "progressive",
    preset: str = "",
    steps: Count = 10,
    repeats: Count = 3,
    out: str = "benchmarks/speed/results",
):
    """Time a growing GAN's step at each level, once it is there, both ways; seconds of compiling are CPU seconds, too.

    Args:
        name: the experiment; it chooses the level by `stage` and `jax.lax.switch`.
        preset: its preset [the first one].
        steps: updates a timing.
        repeats: timings, of which median, least and most are shown.
        out: folder of growing.jsonl.
    """
    module = harness.experiment(name)
    cfg = harness.preset_of(module, preset or next(iter(module.PRESETS)))
    state, key, feed, *_, played = harness.prepared(module, cfg)
    source, b, *_ = played.setup
    batch = jax.jit(lambda feed: data.batch(source, feed, key, 0, b))(feed)
    together, all_levels = compiled(played.step, state, batch)
    rows = [{"level": "all"} | all_levels]
    level, alpha = map(np.asarray, module.stage(cfg, np.arange(cfg.steps)))
    for i in range(level[-1] + 1):
        (there, *_) = np.flatnonzero((level == i) & (alpha == 1))
        at = state._replace(step=np.int32(there))
        alone, of_level = compiled(only(played.step, i), state, batch)
        times = {way: harness.clock(runs(step, at, batch), steps, repeats) for way, step in
                 (("together", together), ("alone", alone))}  # fmt: skip
        rows.append({"level": i} | of_level | times)
    harness.table(HEAD, [cells(row) for row in rows])
    harness.record("growing", [{"experiment": name, "preset": preset} | row for row in rows], out)


def only(step, level):
    """Return the step as a program of one level: its branch, where the switch would be."""

    def of_level(state, batch):
        with mock.patch.object(jax.lax, "switch", lambda _, branches, *args: branches[level](*args)):
            return step(state, batch)

    return of_level


def compiled(step, state, batch):
    """Return (the compiled step, {"compile": CPU seconds to trace and compile it, "temporary": bytes})."""
    before = time.process_time()
    program = jax.jit(step).lower(state, batch).compile()
    seconds = time.process_time() - before
    return program, {"compile": seconds, "temporary": program.memory_analysis().temp_size_in_bytes}


def runs(program, state, batch):
    """Return run(n), which makes the same step n times, and waits."""
    return lambda n: jax.block_until_ready([program(state, batch)[0].step for _ in range(n)])


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    own, memory = f"{row['compile']:.1f}", f"{row['temporary'] / 1e6:.1f}"
    if row["level"] == "all":
        return "all", "", "", own, "", memory, ""
    return row["level"], *(harness.middle(row[way]["cpu_ms"]) for way in ("together", "alone")), "", own, "", memory


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
