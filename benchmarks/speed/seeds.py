"""`python -m benchmarks seeds`: several seeds by `vmap`, by `lax.map`, one run after another, and as `fit` has them.

`fit` shares the seeds out over the devices (a CPU has one for each core then), and on each `sharding.over_seeds`
chooses between vmap and lax.map; the other ways have one device. That all make the same numbers is checked first.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from benchmarks import harness
from gan_jax.errors import UserError
from gan_jax.run import sharding, states
from gan_jax.run.config import Count


def main(
    experiment: str = "unrolled",
    preset: str = "default",
    dataset: str = "",
    seeds: tuple[Count, ...] = (1, 2, 4, 8, 16, 32),
    check: int = 5,
    steps: int = 0,
    repeats: Count = 5,
    out: str = "benchmarks/speed/results",
):
    """Time an experiment with several seeds.

    Args:
        experiment: the name of a file in experiments/.
        preset: one of its presets.
        dataset: another data set than the preset's.
        seeds: how many at once, several to compare.
        check: steps after which the states must be the same, within 1e-5.
        steps: updates a timing [about half a second's worth].
        repeats: timings, of which median, least and most are shown.
        out: folder of seeds.jsonl and seeds-EXPERIMENT-PRESET.png.
    """
    sharding.choose(seeds=max(seeds))
    module = harness.experiment(experiment)
    cfg = harness.preset_of(module, preset)
    cfg = dataclasses.replace(cfg, dataset=dataset) if dataset else cfg
    begin, of_all = in_turn(module, cfg), {"experiment": experiment, "preset": preset, "dataset": cfg.dataset}
    rows, expected = [], None
    for s in seeds:
        for way, given in ways(s).items():
            run, seconds = begin(s) if given is None else harness.compiled(module, cfg, s, *given)[::2]
            found = numbers(run(check), s)
            expected = found if given is None else expected
            apart = float(np.abs(found - expected).max())
            if not apart <= 1e-5:
                raise UserError(f"{s} seeds by {way} are {apart:.1e} from {s} runs in turn after {check} steps.")
            row = of_all | {"seeds": s, "way": way, "apart": apart, "compile": seconds}
            rows.append(row | harness.clock(run, steps, repeats))
    each = lambda row, of: f"{np.median(row[of]) / row['seeds']:.2f}"
    head = ("seeds", "way", "ms/step of all: median (least-most)", "ms a seed", "CPU ms a seed", "compile s", "apart")
    cells = lambda r: (each(r, "ms"), each(r, "cpu_ms"), f"{r['compile']:.1f}", f"{r['apart']:.0e}")
    harness.table(head, [(r["seeds"], r["way"], harness.middle(r["ms"]), *cells(r)) for r in rows])
    harness.record("seeds", rows, out)
    chart(rows, Path(out) / f"seeds-{experiment}-{preset}.png")


def ways(seeds) -> dict:
    """Return {way: (devices, whether at once)} of so many seeds; None: one after another, the first way."""
    found, devices = {"in turn": None}, jax.devices()
    if seeds > 1:
        found |= {"vmap": (devices[:1], True), "lax.map": (devices[:1], False)}
    shares = max(n for n in range(1, len(devices) + 1) if seeds % n == 0)
    return found | ({f"fit, {shares} devices": (devices[:shares], None)} if shares > 1 else {})


def in_turn(module, cfg):
    """Return begin(seeds) -> (run, seconds to compile); run(n) makes n steps of one seed after another."""
    state, key, feed, advance, devices, game = harness.prepared(module, cfg, devices=jax.devices()[:1])
    program, seconds = harness.built(advance, state, key, feed)
    fresh = lambda seed: (states.initial(game.init, seed, 1), jax.random.key(seed))
    fresh = jax.jit(fresh, out_shardings=sharding.replicated(devices))

    def begin(seeds):
        runs = [fresh(seed) for seed in range(seeds)]

        def run(n):
            for i, (state, key) in enumerate(runs):
                runs[i] = jax.block_until_ready(program(state, key, feed, np.int32(n)))[0], key
            return [state for state, _ in runs]

        return run, seconds

    return begin


def numbers(states, seeds):
    """Return all numbers [seeds, n] of one state that holds all seeds, or of a list of a state for each."""
    states = states if isinstance(states, list) else [states]
    each = seeds // len(states)
    rows = [[np.reshape(leaf, (each, -1)) for leaf in jax.tree.leaves(sharding.to_host(state))] for state in states]
    return np.concatenate([np.concatenate(row, 1, dtype=float) for row in rows])


def chart(rows, file):
    """Draw wall and CPU milliseconds a step and seed against the number of seeds, a line for each way."""
    from gan_jax.run.plots import figure

    fig, axes = figure(2)
    for axis, of, title in zip(axes, ("ms", "cpu_ms"), ("wall", "CPU"), strict=True):
        for way in dict.fromkeys(r["way"].partition(",")[0] for r in rows):
            line = [(r["seeds"], np.median(r[of]) / r["seeds"]) for r in rows if r["way"].startswith(way)]
            axis.plot(*zip(*line, strict=True), "o-", label=way)
        axis.set_xscale("log", base=2)
        axis.set(xlabel="seeds", ylabel="ms a step and seed", title=title, ylim=(0, None))
        axis.set_xticks(sorted({r["seeds"] for r in rows}), sorted({r["seeds"] for r in rows}))
    axes[0].legend()
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
