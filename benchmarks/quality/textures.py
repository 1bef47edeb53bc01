"""`python -m benchmarks textures`: how fast G draws a texture, beside optimising a picture by the same D and features.

The optimisation is that of MDAN (Li and Wand 2016, arXiv 1604.04382, and their code), from noise on: 5 x 25 times D is
moved, on crops and on the picture, then the picture, by Adam; D begins as trained and keeps its rate. It is the slow
way that G replaces. The paper says "at least 500 times faster" than others' optimisations, on a GPU, with VGG19.
What both make is compared by the Gram matrix of what D sees, with that of crops.
"""

import dataclasses
import functools
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

import gan_jax
from benchmarks import harness
from experiments.pairs import textures
from gan_jax import data
from gan_jax.game import descend, rng
from gan_jax.metrics import frozen
from gan_jax.run.config import Count

RATE = 0.02  # Adam's for the picture, as in the authors' code
HEAD = "side", "G, ms", "optimised, ms", "ratio", "CPU time, ratio", "Gram, G", "Gram, optimised", "Gram, other crops"


def main(
    iterations: Count = 125,
    repeats: Count = 20,
    flags: str = "",
    record: str = "textures",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/defaults",
):
    """Train a texture, time its G and the optimisation at two sizes. A finished run is not trained again.

    Args:
        iterations: updates of the picture that is optimised.
        repeats: pictures of G that are timed, one at a time.
        flags: more flags of the run, as one word: --flags="--preset=vgg16".
        record: name of the record.
        out: folder of RECORD.jsonl and RECORD.png.
        runs: folder of the run [runs/textures].
    """
    folder = Path(runs, "textures")
    results = harness.trained(textures, harness.words(flags), folder)
    run = gan_jax.load(folder)
    textures.setup(run.cfg)
    found, panels = zip(*(at_size(run, times * run.cfg.side, iterations, repeats) for times in (1, 2)), strict=True)
    harness.table(HEAD, [tuple(f"{value:.4g}" for value in row.values()) for row in found])
    print("published: at least 500 times faster than others' optimisations, with VGG19 on a GPU")
    row = {"experiment": "textures", "iterations": iterations, "flags": flags, "sizes": found} | results
    row["looks"] = harness.history(folder, ["gram/made", "diversity"])
    row |= {"config": dataclasses.asdict(run.cfg), "trained": harness.trained_by(folder)}
    harness.record(record, [row], out)
    whole = data.draw(data.alone(data.load(run.cfg.dataset), run.cfg.picture), jax.random.key(0), 1)["x"]
    draw(Path(out, f"{record}.png"), [encode(whole), np.concatenate(panels[0][0]), *panels[1][0], panels[1][1]])


def at_size(run, side, iterations, repeats):
    """Return ({what: number}, (two pictures of G, the optimised one), uint8) at this side."""
    cfg, state, key = run.cfg, run.state, jax.random.key(0)
    one = jax.jit(functools.partial(textures.drawn, cfg, n=1, side=side))
    slow = jax.jit(functools.partial(optimised, cfg, side=side, iterations=iterations)).lower(state, key).compile()
    one(state, key).block_until_ready()
    fast = [timed(one, state, jax.random.key(i)) for i in range(repeats)]
    x, *slow_ms = timed(slow, state, key)
    ms = np.median([times for _, *times in fast], 0)  # wall, CPU
    drawn = jax.jit(lambda key: data.draw(textures.texture(cfg), key, 64)["x"])
    crops, others = drawn(rng.at(key, 0, "crops")), drawn(rng.at(key, 1, "crops"))
    apart = jax.jit(functools.partial(frozen.apart, frozen.load(cfg.features)))
    gram = functools.partial(apart, y=crops)
    found = {"side": side, "g_ms": ms[0], "optimised_ms": slow_ms[0], "ratio": slow_ms[0] / ms[0]}
    found |= {"cpu_ratio": slow_ms[1] / ms[1], "gram/made": np.mean([gram(made) for made, *_ in fast])}
    found |= {"gram/optimised": gram(x), "gram/real": gram(others)}
    return {name: float(value) for name, value in found.items()}, ([encode(f[0]) for f in fast[:2]], encode(x))


def encode(x):
    """Return the first picture as uint8."""
    return data.encode(x)[0]


def timed(f, *args):
    """Return (what f returns, milliseconds on the clock, of all cores together)."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = jax.block_until_ready(f(*args))
    return found, 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


def optimised(cfg, state, key, side, iterations):
    """Return a picture [1, side, side, c] that was moved so many times, after D each time, beginning at noise."""
    see = functools.partial(frozen.seen, frozen.load(cfg.features))
    tx, d_tx = optax.adam(RATE, cfg.b1), optax.adam(cfg.lr, cfg.b1)
    crops = textures.texture(dataclasses.replace(cfg, side=side))

    def update(carry, i):
        x, opt, d = carry
        real = data.draw(crops, jax.random.fold_in(key, i), 1)["x"]
        seen, back = jax.vjp(see, x)
        grads, (stats, *_) = jax.grad(textures.d_loss, has_aux=True)(d.params, cfg, d, see(real), seen)
        d = descend(d, grads, d_tx, stats)
        of_x, of_seen = jax.grad(lambda x, seen: sum(textures.g_losses(cfg, d, x, seen)), (0, 1))(x, seen)
        moves, opt = tx.update(of_x + back(of_seen)[0], opt)
        return (x + moves, opt, d), None

    x = 0.1 * rng.normal(rng.at(key, 0, "x"), (1, side, side, crops.shape[-1]))
    (x, *_), _ = jax.lax.scan(update, (x, tx.init(x), state.d), jnp.arange(iterations))
    return jnp.clip(x, -1, 1)


def draw(file, panels):
    """Write pictures uint8 [h, w, c] side by side, two pixels for each."""
    panels = [np.broadcast_to(a, (*a.shape[:2], 3)).repeat(2, 0).repeat(2, 1) for a in panels]
    sheet = np.full((max(a.shape[0] for a in panels), sum(a.shape[1] + 12 for a in panels) - 12, 3), 255, np.uint8)
    at = 0
    for a in panels:
        sheet[: a.shape[0], at : at + a.shape[1]] = a
        at += a.shape[1] + 12
    Image.fromarray(sheet).save(file, optimize=True)


if __name__ == "__main__":
    harness.command(main)
