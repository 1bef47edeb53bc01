"""EBGAN: D is an autoencoder; its error is an energy, low on data, and on samples raised up to a margin.

Zhao, Mathieu and LeCun 2017, arXiv 1609.03126. D descends E(x) + max(0, m - E(G(z))), where E(x) is the Euclidean
norm of D(x) - x; G descends E(G(z)) plus 0.1 times the pull-away term: the mean squared cosine between the codes of
two samples of the batch, so that they don't all become one (EBGAN-PT; with `pull_away` 0 it is EBGAN).

Differences from the paper:
1. Both nets are updated at once, from the same noise.
2. The nets and rates are our own, of DCGAN's kind on images, with a dense layer at the code.
3. The margin is given for one number of x, and grows with the root of how many there are, as E does (28x28 pixels:
   10.5; the paper's MNIST grid has 10).

    python -m experiments.ebgan                      8x8 digits
    python -m experiments.ebgan --dataset mnist
    python -m experiments.ebgan --dataset ring8      the ring of eight Gaussians
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.nets import autoencoder, dcgan, mlp
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "digits"  # a toy, or any TFDS image set by name
    steps: Count = 8000  # joint updates of G and D
    batch_size: Count = 64  # rows of data, and of noise, a step
    margin: float = 0.375  # m, the energy up to which D raises that of samples, over the root of the numbers in x
    pull_away: float = 0.1  # weight of the pull-away term in G's loss
    z_dim: Count = 64  # the latent, standard normal
    code: int = 32  # numbers in the code of D
    width: Count = 32  # units of a hidden layer (toys); channels at full resolution (images)
    g_lr: float = 2e-4  # Adam's rate for G
    d_lr: float = 2e-4  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "ring": Config("ring8", 10_000, 256, margin=2.12, z_dim=16, code=16, width=128, g_lr=2e-4, d_lr=1e-3),
    "grid": Config("grid25", 20_000, 256, margin=2.12, z_dim=16, code=16, width=128, g_lr=2e-4, d_lr=1e-3),
    "tiny": Config("digits16", 6, 8, z_dim=4, code=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def energy(x, reconstruction):
    """Return the Euclidean norm of the error of each row: [b]."""
    squared = jnp.square(reconstruction - x).reshape(x.shape[0], -1).sum(1)
    return jnp.sqrt(jnp.maximum(squared, 1e-12))  # at 0 the root has no gradient


def pull_away(code):
    """Return the mean squared cosine between two different rows of code [b, c]."""
    unit = code * jax.lax.rsqrt(jnp.maximum(jnp.square(code).sum(1, keepdims=True), 1e-12))
    squared = jnp.square(unit @ unit.T)  # [b, b]
    b = code.shape[0]
    return (squared.sum() - jnp.trace(squared)) / (b * (b - 1))


def build(cfg):
    shape = data.load(cfg.dataset).shape
    g_tx, d_tx = (optax.adam(lr, cfg.b1) for lr in (cfg.g_lr, cfg.d_lr))
    if len(shape) == 1:
        return mlp.G(shape, cfg.width), autoencoder.MLP(cfg.code, cfg.width), g_tx, d_tx
    return dcgan.G(shape, cfg.width), autoencoder.Conv(cfg.code, cfg.width), g_tx, d_tx


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    return State(jnp.int32(0), key, create(G, g_tx, rng.at(key, 0, "g"), z), create(D, d_tx, rng.at(key, 0, "d"), x))


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    x = batch["x"]  # [b, ...]
    margin = cfg.margin * math.sqrt(x[0].size)
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def d_loss(d_params, fake):
        (real_again, _), stats = forward(D, d_params, state.d.stats, x)
        (fake_again, _), _ = forward(D, d_params, state.d.stats, fake)
        real, contrast = energy(x, real_again), energy(fake, fake_again)  # [b]
        return (real + jax.nn.relu(margin - contrast)).mean(), (real, contrast, stats)

    def g_loss(g_params):
        fake, stats = forward(G, g_params, state.g.stats, z)
        (again, code), _ = forward(D, state.d.params, state.d.stats, fake)
        cosine = pull_away(code)
        return energy(fake, again).mean() + cfg.pull_away * cosine, (fake, cosine, stats)

    (g_value, (fake, cosine, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (real, contrast, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, fake)

    g, d = descend(state.g, g_grads, g_tx, g_stats), descend(state.d, d_grads, d_tx, d_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "energy/real": real.mean(), "energy/fake": contrast.mean()}
    return State(state.step + 1, state.key, g, d), metrics | {"pull_away": cosine}


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
