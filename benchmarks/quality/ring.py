"""`python -m benchmarks ring`: what a preset of the unrolled GAN covers with K = 0 and with K, over time and seeds.

Draws the figure that the paper is known for: a row for each K, a column for each moment.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from benchmarks import harness
from experiments import unrolled
from gan_jax import data
from gan_jax.run import evaluate, log, sharding
from gan_jax.run.config import Count


def main(
    preset: str = "paper",
    ks: tuple[int, ...] = (0, 10),
    seeds: Count = 4,
    moments: tuple[int, ...] = (0, 2500, 5000, 10_000, 15_000, 25_000),
    out: str = "benchmarks/quality/results",
):
    """Train and score; the last of the moments is the last step.

    Args:
        preset: a preset of experiments/unrolled.py whose data is a mixture.
        ks: the K to train with; 0 is the plain GAN.
        seeds: runs of each K, with seeds 0, 1, ...
        moments: the steps at which 2,500 samples are drawn.
        out: folder of ring.jsonl and ring-PRESET.png.
    """
    rows, samples, source = [], {}, data.load(harness.preset_of(unrolled, preset).dataset)
    for k in ks:
        cfg = dataclasses.replace(unrolled.PRESETS[preset], unroll=k)
        for moment, (scores, x) in zip(moments, seen(cfg, seeds, moments), strict=True):
            samples[k, moment] = x
            rows.append({"preset": preset, "k": k, "step": moment, "seeds": seeds} | scores)
            said = ", ".join(f"{name} {log.spread(value)}" for name, value in scores.items())
            print(f"K {k}, step {moment}: {said}", flush=True)
    names = harness.COVERAGE
    harness.table(
        ("K", "step", *(n.replace("_", " ") for n in names)),
        [(r["k"], r["step"], *(log.spread(r[n]) for n in names)) for r in rows if r["step"] in moments[-3:]],
    )
    draw(Path(out) / f"ring-{preset}.png", samples, ks, moments, source)
    harness.record("ring", rows, out)


def seen(cfg, seeds, moments):
    """Train, and yield (scores, samples of the first seed) at each of the moments."""
    state, keys, feed, advance, _, game = harness.prepared(unrolled, cfg, seeds)
    real, source = data.reference(game.setup.source), game.setup.source
    parts = game.sample, None, source, seeds
    score = jax.jit(lambda state, keys: evaluate.evaluate(*parts, state, keys, real, {}, {}))
    at = 0
    for moment in moments:
        while at < moment:
            n = min(500, moment - at)
            state, _ = advance(state, keys, feed, np.int32(n))
            jax.block_until_ready(state)
            at += n
        scores, _, x = sharding.to_host(score(state, keys))
        yield {n: v.tolist() for n, v in scores.items() if n != "shares"}, x[0] if seeds > 1 else x


def draw(file, samples, ks, moments, source):
    """Draw the samples of seed 0, a row for each K and a column for each moment, and the data last."""
    import matplotlib.pyplot as plt

    file.parent.mkdir(parents=True, exist_ok=True)
    size = 1.5 * len(moments) + 1.5, 1.6 * len(ks) + 0.2
    fig, grid = plt.subplots(len(ks), len(moments) + 1, figsize=size, squeeze=False, layout="constrained")
    reach = 1.35 * np.abs(source.modes.means).max()
    real = np.asarray(data.draw(source, jax.random.key(0), 2500)["x"])
    for line, k in zip(grid, ks, strict=True):
        for axis, moment in zip(line, [*moments, None], strict=True):
            x = real if moment is None else samples[k, moment]
            axis.scatter(*x.T, s=1.5, alpha=0.4, linewidths=0, color="#b3401b" if moment is None else "#1764ab")
            axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
        line[0].set_ylabel("plain GAN (K = 0)" if k == 0 else f"unrolled, K = {k}", fontsize=9)
    for axis, moment in zip(grid[0], [*moments, None], strict=True):
        axis.set_title("data" if moment is None else f"step {moment:,}", fontsize=9)
    fig.savefig(file, dpi=130)


if __name__ == "__main__":
    harness.command(main)
