"""The original GAN in turns, as its Algorithm 1 has it: some updates of D, then some of G, each on new noise.

Goodfellow et al. 2014, arXiv 1406.2661. What `vanilla` does at once is here a game with rules to change: how many
updates each player makes in its turn, how far D is trained before G starts, and how fast each one learns (two time
scales: Heusel et al. 2017, arXiv 1706.08500). G descends -log D(G(z)).

Differences from the paper:
1. G may make several updates a turn; in the paper it makes one.
2. ReLU and Adam, as in `vanilla`.
3. Samples may come from a running average of G.

    python -m experiments.alternating                          the ring of eight Gaussians
    python -m experiments.alternating --preset helvetica       G moves too often: all samples fall into one place
    python -m experiments.alternating --preset ttur            D learns faster than G
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, losses, rng
from gan_jax.nets import mlp
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 10_000  # turns: of D, then of G
    batch_size: Count = 256  # rows of data, and of noise, of each update
    d_steps: int = 1  # updates of D in its turn
    g_steps: int = 1  # updates of G in its turn
    head_start: int = 0  # turns in which D alone is trained, before G starts
    z_dim: Count = 16  # the latent, standard normal
    width: Count = 128  # units of a hidden layer
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment
    ema: Decay = 0.998  # decay of the averaged G that is sampled from; 0: G itself


PRESETS = {
    "default": Config(),
    "helvetica": Config(g_steps=20, ema=0.0),
    "ttur": Config(g_lr=3e-4, d_lr=1.2e-3),
    "head_start": Config(head_start=500),
    "images": Config("digits", batch_size=128, z_dim=64, width=256, g_lr=2e-4, d_lr=2e-4),
    "tiny": Config(steps=6, batch_size=8, d_steps=2, z_dim=4, width=8),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # params of the averaged G


def build(cfg):
    G, D = mlp.G(data.load(cfg.dataset).shape, cfg.width), mlp.D(cfg.width)
    return G, D, *(optax.adam(lr, cfg.b1) for lr in (cfg.g_lr, cfg.d_lr))


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g = create(G, g_tx, rng.at(key, 0, "g"), z)
    return State(jnp.int32(0), key, g, create(D, d_tx, rng.at(key, 0, "d"), x), g.params)


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss = losses.non_saturating
    xs = batch["x"].reshape(cfg.batch_size, cfg.d_steps, *batch["x"].shape[1:]).swapaxes(0, 1)  # [d steps, b, ...]

    def fakes(g_params, i):
        z_key = jax.random.fold_in(rng.at(state.key, state.step, "z"), i)
        return forward(G, g_params, {}, rng.normal(z_key, (cfg.batch_size, cfg.z_dim)))[0]  # [b, ...]

    def d_update(d, ix):
        i, x = ix

        def d_loss(d_params):
            real_score, _ = forward(D, d_params, {}, x)  # [b]
            fake_score, _ = forward(D, d_params, {}, fakes(state.g.params, i))  # [b]
            return loss.d(real_score, fake_score).mean(), {"real": real_score, "fake": fake_score}

        (value, scores), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        found = {f"score/{of}": score.mean() for of, score in scores.items()}
        found |= {f"p/{of}": jax.nn.sigmoid(score).mean() for of, score in scores.items()}
        return descend(d, grads, d_tx), {"loss/d": value} | found

    def g_update(g, i):
        def g_loss(g_params):
            return loss.g(None, forward(D, d.params, {}, fakes(g_params, i))[0]).mean()

        value, grads = jax.value_and_grad(g_loss)(g.params)
        return descend(g, grads, g_tx), value

    d, of_d = jax.lax.scan(d_update, state.d, (jnp.arange(cfg.d_steps), xs))
    g, of_g = jax.lax.scan(g_update, state.g, cfg.d_steps + jnp.arange(cfg.g_steps))
    started = state.step >= cfg.head_start
    g = jax.tree.map(lambda new, old: jnp.where(started, new, old), g, state.g)
    metrics = {"loss/g": of_g[-1]} | jax.tree.map(lambda values: values[-1], of_d)  # of the last update of each
    return State(state.step + 1, state.key, g, d, ema(state.g_ema, g.params, cfg.ema)), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g_ema, {}, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size * cfg.d_steps, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
