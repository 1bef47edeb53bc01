"""SimGAN: a refiner R makes simulated pictures look real, and changes them as little as it can, so that labels stay.

Shrivastava, Pfister, Tuzel, Susskind, Wang and Webb 2017, arXiv 1612.07828. D scores patches. R descends the sum over
patches of -log D(real | R(x)), plus lambda times the sum over pixels of |R(x) - x|; D the sum over patches of its
cross-entropy, with half of its fakes out of a buffer of old ones. R first learns alone, by |R(x) - x|, then D alone;
after that a step is a round of the paper's Algorithm 1: K_g updates of R, then K_d of D, each on pictures of its own.

x are pictures of the set `source`, which is resized where it has to be, and real ones those of `dataset`. `measure`
asks whether a classifier of the simulated pictures still sees their labels once they are refined.

Differences from the paper, whose authors' code was never released:
1. Adam instead of SGD, and in the preset `paper` K_g = 2, lambda and the buffer's size, as in the re-implementation of
   carpedm20, which guessed the last two (K_g is 50 in the paper, quoted from memory).
2. Where R or D learns alone, a step is a round, too, in which the other one stays: K_g updates of R, or K_d of D.
3. In these rounds the buffer fills already, in order; where it has nothing yet, D sees the new fakes twice.
4. Except in the preset `paper` nets and batches are smaller. Its data are the digits, not eyes: the set is not here.

    python -m experiments simgan                          digits of fonts, refined to look like MNIST's
    python -m benchmarks simgan                           what a classifier learns from them, tested on MNIST
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data, metrics
from gan_jax.game import Player, create, descend, forward, losses, pool, rng
from gan_jax.metrics import classifier
from gan_jax.nets import simgan
from gan_jax.run import Count, Decay, Depth, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # the real pictures: any TFDS image set by name
    source: str = "font_digits"  # the simulated ones, of which `sample` refines those held out
    steps: Count = 3000  # rounds, those of R alone and of D alone among them
    batch_size: Count = 16  # pictures of one update
    r_alone: int = 200  # rounds at first in which R alone learns
    d_alone: int = 50  # rounds after these in which D alone learns
    r_steps: Count = 2  # K_g, updates of R a round
    d_steps: Count = 1  # K_d, updates of D a round
    regularise: float = 0.1  # lambda, the weight of the sum of |R(x) - x|
    history: Count = 1600  # old fakes in the buffer
    width: Count = 16  # channels of R at all depths, and of D's second convolution
    blocks: Depth = 2  # residual blocks of R
    lr: float = 1e-3  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


_paper = Config(steps=11_200, batch_size=512, width=64, blocks=4, b1=0.9)
PRESETS = {
    "default": Config(),
    "paper": dataclasses.replace(_paper, r_alone=1000, d_alone=200, regularise=0.5, history=25_600),
    "tiny": Config("digits", "digits16", steps=6, batch_size=8, r_alone=1, d_alone=1, history=16, width=4, blocks=1),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    r: Player
    d: Player
    old: jax.Array  # the buffer of old fakes [history, h, w, c]
    kept: jax.Array  # how many it holds


def build(cfg):
    return simgan.R(cfg.width, cfg.blocks), simgan.D(cfg.width), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    R, D, tx = build(cfg)
    shape = data.load(cfg.dataset).shape
    players = (create(net, tx, rng.at(key, 0, name), jnp.zeros((1, *shape))) for name, net in {"r": R, "d": D}.items())
    return State(jnp.int32(0), key, *players, jnp.zeros((cfg.history, *shape), jnp.float32), jnp.int32(0))


def step(cfg, state, batch):
    R, D, tx = build(cfg)
    loss, b, half = losses.non_saturating, cfg.batch_size, cfg.batch_size // 2
    cut = lambda a: a.reshape(b, -1, *a.shape[1:]).swapaxes(0, 1)  # [updates of both, b, h, w, c]
    x, y = cut(data.resized(batch["source"]["x"], data.load(cfg.dataset).shape)), cut(batch["x"]["x"])
    r_alone, d_alone = state.step < cfg.r_alone, state.step - cfg.r_alone < cfg.d_alone

    def r_update(r, x):
        def r_loss(params):
            refined, stats = forward(R, params, r.stats, x)
            score, _ = forward(D, state.d.params, state.d.stats, refined)  # [b, patches]
            real, change = loss.g(None, score), jnp.abs(refined - x).sum((1, 2, 3))
            value = jnp.where(r_alone, 0.0, real.sum(1)) + cfg.regularise * change
            return value.mean(), (stats, real.mean(), change.mean())

        grads, (stats, *found) = jax.grad(r_loss, has_aux=True)(r.params)
        return descend(r, grads, tx, stats), found

    def d_update(carry, ixy):
        (d, old, kept), (i, x, y) = carry, ixy
        refined, _ = forward(R, r.params, r.stats, x[half:])
        key = jax.random.fold_in(rng.at(state.key, state.step, "history"), i)
        past, old, kept = pool.remembered(key, old, kept, refined[:half])

        def d_loss(params):
            real_score, stats = forward(D, params, d.stats, y)  # [b, patches]
            fake_score, _ = forward(D, params, d.stats, jnp.concatenate([refined, past]))  # [b, patches]
            value = loss.d(real_score, fake_score)
            return value.sum(1).mean(), (stats, value.mean(), real_score, fake_score)

        grads, (stats, value, *scores) = jax.grad(d_loss, has_aux=True)(d.params)
        return (descend(d, grads, tx, stats), old, kept), (value, *(jax.nn.sigmoid(s).mean() for s in scores))

    moved = lambda moves, new, old: jax.tree.map(lambda new, old: jnp.where(moves, new, old), new, old)
    r, (fooling, change) = jax.lax.scan(r_update, state.r, x[: cfg.r_steps])
    r = moved(r_alone | ~d_alone, r, state.r)
    of_d = jnp.arange(cfg.d_steps), x[cfg.r_steps :], y[cfg.r_steps :]
    (d, old, kept), (d_value, p_real, p_fake) = jax.lax.scan(d_update, (state.d, state.old, state.kept), of_d)
    d = moved(~r_alone, d, state.d)
    metrics = {"loss/g": fooling[-1], "loss/d": d_value[-1], "change": change[-1]}  # losses: of a patch
    metrics |= {"p/real": p_real[-1], "p/fake": p_fake[-1]}
    return State(state.step + 1, state.key, r, d, old, kept), metrics


def refined(cfg, state, x):
    """Return pictures x [n, ...] refined, [n, h, w, c] at the size of the real ones."""
    R, *_ = build(cfg)
    one = lambda x: forward(R, state.r.params, state.r.stats, x[None], train=False)[0][0]
    return jax.lax.map(one, data.resized(x, data.load(cfg.dataset).shape), batch_size=500)


def sample(cfg, state, key, n):
    return refined(cfg, state, data.examples(data.load(cfg.source), key, n)["x"])


def judged(cfg):
    """Return the simulated set, where it has a classifier."""
    source = data.load(cfg.source)
    return (source,) if source.test and source.classes else ()


def measure(cfg, state, key, train, test):
    """Return test pictures before and after, and the share of them whose label a classifier of simulated ones reads."""
    if not test:
        return {}
    x, real = (data.decode(test[name])["x"] for name in ("source", "x"))
    new = refined(cfg, state, x)
    few = min(12, len(x), len(real))
    rows = [data.resized(x[:few], real.shape[1:]), new[:few], real[:few]]
    found = {"refined": Picture(jnp.stack(rows), rows=("simulated", "refined", "real"))}
    if judged(cfg) and "y" in test["source"]:
        judge = classifier.load(*judged(cfg))
        for name, images in {"refined": data.resized(new, x.shape[1:]), "as_it_is": x}.items():
            found[f"label_kept/{name}"] = metrics.agreement(judge(images).argmax(1), test["source"]["y"])
    return found


def setup(cfg):
    if cfg.history < cfg.batch_size // 2:
        raise UserError(f"--history is {cfg.history}: the buffer takes {cfg.batch_size // 2} fakes at once.")
    real, source = data.load(cfg.dataset), data.load(cfg.source)
    if source.kind != "image":
        raise UserError(f"{source.name} has no pictures, which could be refined: choose another --source.")
    rows = cfg.batch_size * (cfg.r_steps + cfg.d_steps)
    return Setup(data.join(x=real, source=source), rows, cfg.steps, judged(cfg), kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
