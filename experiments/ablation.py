"""What makes the unrolled GAN work? Its game, with one choice of how G sees D's answer, and all else equal.

Metz, Poole, Pfau and Sohl-Dickstein 2017, arXiv 1611.02163. G descends f(g, d'), where `way` says which D d' is: WAYS.

Differences from the paper:
1. Those of `unrolled.py`, whose step the way "unrolled" is.
2. Of past Ds G faces the average of their parameters, or one of them; as we remember the paper's appendix, there it is
   an ensemble.

    python -m experiments.ablation --way first_order       the ring of eight Gaussians
    python -m benchmarks ablation                          all ways, compared
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, losses, rng, unroll
from gan_jax.nets import dcgan, mlp, small
from gan_jax.run import Count, Decay, Setup, program


class Way(NamedTuple):
    answer: Callable = lambda cfg, loss, d, tx: d  # the D that G faces; loss: (params, i), which D descends K times
    recall: Callable = lambda cfg, step, past, now: now  # the parameters of D from which it looks ahead
    d_first: bool = False  # D makes its own update before G looks; otherwise both move at once
    fresh: bool = False  # the K updates are on new minibatches, not on that of G
    keeps: bool = False  # D keeps them


ahead = lambda cfg, loss, d, tx: unroll(loss, d, tx, cfg.unroll)
stopped = lambda cfg, loss, d, tx: unroll(loss, d, tx, cfg.unroll, first_order=True)
anew = lambda tx, d: d._replace(opt=tx.init(d.params))
kept = lambda old, new, keep: jax.tree.map(lambda o, n: jnp.where(keep, o, n), old, new)
WAYS = {
    "unrolled": Way(ahead),  # D after K of its updates, the gradient through all of them: the paper
    "first_order": Way(stopped),  # the same D, the gradient stopped at it
    "extra_steps": Way(stopped, fresh=True, keeps=True),  # K real updates, beside the one that D makes in every way
    "sgd": Way(lambda cfg, loss, d, _: ahead(cfg, loss, anew(tx := optax.sgd(cfg.sgd_lr), d), tx)),  # plain descent
    "fresh_adam": Way(lambda cfg, loss, d, tx: ahead(cfg, loss, anew(tx, d), tx)),  # Adam's moments begin at zero
    "resampled": Way(ahead, fresh=True),  # each update on a new minibatch
    "alternating": Way(ahead, d_first=True),  # G looks ahead from where D has just gone
    "averaged": Way(recall=lambda cfg, _, past, now: ema(past, now, cfg.age / (cfg.age + 1))),  # D's running average
    "delayed": Way(recall=lambda cfg, step, past, now: kept(past, now, step % (cfg.age + 1) > 0)),  # a D of the past
    "plain": Way(),  # D as it is: K = 0
}


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    way: Literal[tuple(WAYS)] = "unrolled"  # how G sees D's answer
    steps: Count = 12_000  # updates of G
    batch_size: Count = 256  # rows of data, and of noise, of each minibatch
    unroll: int = 5  # K, how many updates D looks ahead
    sgd_lr: float = 0.1  # rate of the updates ahead (sgd)
    age: int = 5  # of the past D in steps: on average (averaged), at most (delayed: it is renewed every age + 1 steps)
    loss: losses.Name = "minimax"  # the game f
    z_dim: Count = 16  # the latent, standard normal
    nets: Literal["auto", "stacked"] = "auto"  # auto: perceptrons for points, DCGAN's for images
    width: Count = 128  # units of a hidden layer (points); channels at full resolution (images)
    d_width: Count = 2  # channels of D's first layer (stacked)
    d_scale: float = 0.25  # D multiplies its input by it (points)
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D, in the lookahead too
    b1: Decay = 0.5  # Adam's decay of the first moment
    b2: Decay = 0.999  # Adam's decay of the second moment
    ema: Decay = 0.998  # decay of the averaged G that is sampled from; 0: G itself


PRESETS = {  # of `unrolled.py`
    "default": Config(),
    "grid": Config("grid25", steps=25_000),
    "images": Config(
        "digits", steps=5000, batch_size=64, loss="non_saturating", z_dim=64, width=32, g_lr=2e-4, d_lr=2e-4, ema=0.99
    ),
    "stacked_quarter": Config(
        "stacked_mnist", steps=20_000, batch_size=128, unroll=10, loss="non_saturating", z_dim=256, nets="stacked",
        width=8, g_lr=1e-4, d_lr=2e-4, b2=0.99, ema=0.0,
    ),
    "tiny": Config("digits16", steps=6, batch_size=8, unroll=1, loss="non_saturating", z_dim=4, width=4, ema=0.5),
}  # fmt: skip


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    past: Any  # what is remembered of D's parameters
    g_ema: tuple  # (params, stats) of the averaged G


def build(cfg):
    shape = data.load(cfg.dataset).shape
    if len(shape) == 1:
        G, D = mlp.G(shape, cfg.width, 2), mlp.D(cfg.width, 1, scale=cfg.d_scale)
    elif cfg.nets == "stacked":
        G, D = small.G(shape, cfg.width), small.D(cfg.d_width)
    else:
        G, D = dcgan.G(shape, cfg.width), dcgan.D(cfg.width)
    return G, D, *(optax.adam(lr, cfg.b1, cfg.b2, eps_root=1e-16) for lr in (cfg.g_lr, cfg.d_lr))


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z), create(D, d_tx, rng.at(key, 0, "d"), x)
    return State(jnp.int32(0), key, g, d, d.params, (g.params, g.stats))


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss, way = losses.PAIRS[cfg.loss], WAYS[cfg.way]
    with_grad = functools.partial(jax.value_and_grad, has_aux=True)
    xs = batch["x"].reshape(cfg.batch_size, -1, *batch["x"].shape[1:]).swapaxes(0, 1)  # [minibatches, b, ...]
    zs = rng.normal(rng.at(state.key, state.step, "z"), (*xs.shape[:2], cfg.z_dim))  # [minibatches, b, z]

    def d_loss(d_params, x, fake):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b]
        fake_score, _ = forward(D, d_params, state.d.stats, fake)  # [b]
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    def d_update(d):
        fake, _ = forward(G, state.g.params, state.g.stats, zs[0])
        (value, (real_score, fake_score, stats)), grads = with_grad(d_loss)(d.params, xs[0], fake)
        metrics = {"loss/d": value, "score/real": real_score.mean(), "score/fake": fake_score.mean()}
        return descend(d, grads, d_tx, stats), metrics

    def g_loss(g_params, d):
        fakes = lambda i: forward(G, g_params, state.g.stats, zs[i])
        fake, stats = fakes(0)
        minibatch = lambda i: (xs[i + 1], fakes(i + 1)[0]) if way.fresh else (xs[0], fake)
        faced = way.answer(cfg, lambda d_params, i: d_loss(d_params, *minibatch(i))[0], d, d_tx)
        _, (real_score, fake_score, _) = d_loss(faced.params, xs[0], fake)
        return loss.g(real_score, fake_score).mean(), (faced, stats)

    d, metrics = d_update(state.d) if way.d_first else (state.d, {})
    past = way.recall(cfg, state.step, state.past, d.params)
    (g_value, (faced, g_stats)), g_grads = with_grad(g_loss)(state.g.params, d._replace(params=past))
    if not way.d_first:
        d, metrics = d_update(faced if way.keeps else d)
    g = descend(state.g, g_grads, g_tx, g_stats)
    state = State(state.step + 1, state.key, g, d, past, ema(state.g_ema, (g.params, g.stats), cfg.ema))
    return state, {"loss/g": g_value} | metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, *state.g_ema, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size * (1 + cfg.unroll * WAYS[cfg.way].fresh), cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
