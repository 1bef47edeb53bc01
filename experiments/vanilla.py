"""The original GAN, as small as it gets: the file to copy when you begin a new one.

Goodfellow et al. 2014, arXiv 1406.2661. D descends -log D(x) - log(1 - D(G(z))), G descends -log D(G(z)).

Differences from the paper:
1. ReLU in both nets (there: maxout and dropout in D, rectifiers and sigmoids in G).
2. Adam instead of momentum.
3. Both nets are updated at once, from the same noise.

    python -m experiments.vanilla                      8x8 digits, in a minute
    python -m experiments.vanilla --dataset mnist
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import mlp
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "digits"  # a toy, or any TFDS image set by name
    steps: Count = 10_000  # joint updates of G and D
    batch_size: Count = 128  # rows of data, and of noise, a step
    z_dim: Count = 64  # the latent, standard normal
    width: Count = 256  # units of a hidden layer
    lr: float = 2e-4  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "ring": Config("ring8", batch_size=512, z_dim=16, width=128, lr=1e-3),
    "tiny": Config(steps=6, batch_size=8, z_dim=4, width=8),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    return mlp.G(data.load(cfg.dataset).shape, cfg.width), mlp.D(cfg.width), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), z), create(D, tx, rng.at(key, 0, "d"), x))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    x = batch["x"]  # [b, ...]
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def d_loss(d_params, fake):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b]; D keeps the statistics of data
        fake_score, _ = forward(D, d_params, state.d.stats, fake)  # [b]
        return losses.non_saturating.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    def g_loss(g_params):
        fake, stats = forward(G, g_params, state.g.stats, z)
        fake_score, _ = forward(D, state.d.params, state.d.stats, fake)
        return losses.non_saturating.g(None, fake_score).mean(), (fake, stats)

    (g_value, (fake, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (real_score, fake_score, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        state.d.params, fake
    )

    g, d = descend(state.g, g_grads, tx, g_stats), descend(state.d, d_grads, tx, d_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, g, d), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
