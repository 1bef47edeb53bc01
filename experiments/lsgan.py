"""LSGAN: D fits two numbers by least squares, so that samples far on the right side of its border still feel a pull.

Mao, Li, Xie, Lau, Wang and Smolley 2017, arXiv 1611.04076. D descends (D(x) - b)^2 / 2 + (D(G(z)) - a)^2 / 2 and G
descends (D(G(z)) - c)^2 / 2. Here a = 0 and b = 1, and c is a flag: 1 as in the paper's experiments, or 1/2, which is
the paper's other choice (a, b, c = -1, 1, 0, where the game is a Pearson chi^2 divergence) with D halved and shifted.

Differences from the paper:
1. Both nets are updated at once, from the same noise.
2. On images the nets are DCGAN's at the size of the data set (the paper's are wider and deeper).
3. The toy's nets are wider or narrower than the paper's, which does not give their size.
4. In the toy's preset samples come from a running average of G.

    python -m experiments.lsgan                      the ring of eight Gaussians, the paper's toy
    python -m experiments.lsgan --c 0.5              the other choice of codes
    python -m experiments.lsgan --dataset mnist      DCGAN nets
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, losses, rng
from gan_jax.nets import dcgan, mlp
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 10_000  # joint updates of G and D
    batch_size: Count = 256  # rows of data, and of noise, a step
    c: float = 1.0  # what G wants D to say of its samples; D itself wants 1 for data and 0 for samples
    z_dim: Count = 16  # the latent, standard normal
    width: Count = 128  # units of a hidden layer (toys); channels at full resolution (images)
    lr: float = 1e-3  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment
    ema: Decay = 0.998  # decay of the averaged G that is sampled from; 0: G itself


PRESETS = {
    "default": Config(),
    "images": Config("digits", steps=5000, batch_size=64, z_dim=64, width=32, lr=2e-4, ema=0.0),
    "tiny": Config("digits16", steps=6, batch_size=8, z_dim=4, width=4, lr=2e-4, ema=0.5),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # (params, stats) of the averaged G


def build(cfg):
    shape = data.load(cfg.dataset).shape
    tx = optax.adam(cfg.lr, cfg.b1)
    if len(shape) == 1:
        return mlp.G(shape, cfg.width), mlp.D(cfg.width), tx
    return dcgan.G(shape, cfg.width), dcgan.D(cfg.width), tx


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g = create(G, tx, rng.at(key, 0, "g"), z)
    return State(jnp.int32(0), key, g, create(D, tx, rng.at(key, 0, "d"), x), (g.params, g.stats))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    x = batch["x"]  # [b, ...]
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def d_loss(d_params, fake):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b]
        fake_score, _ = forward(D, d_params, state.d.stats, fake)  # [b]
        return losses.least_squares.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    def g_loss(g_params):
        fake, stats = forward(G, g_params, state.g.stats, z)
        fake_score, _ = forward(D, state.d.params, state.d.stats, fake)  # [b]
        return 0.5 * ((fake_score - cfg.c) ** 2).mean(), (fake, stats)

    (g_value, (fake, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (real_score, fake_score, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        state.d.params, fake
    )

    g, d = descend(state.g, g_grads, tx, g_stats), descend(state.d, d_grads, tx, d_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, g, d, ema(state.g_ema, (g.params, g.stats), cfg.ema)), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, *state.g_ema, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
