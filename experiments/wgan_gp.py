"""WGAN-GP: D is a critic whose gradient is held near norm 1, and makes several updates for each one of G.

Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville 2017, arXiv 1704.00028. The critic descends E D(G(z)) - E D(x) +
lambda E (|grad D| - 1)^2 at random points of the segments between pairs of x and G(z); G descends -E D(G(z)).

A step's batch holds the data of all its critic updates.

Differences from the paper, none of them in the algorithm:
1. On images the nets are DCGAN's at the size of the data set; the paper has several, residual ones among them.
2. The presets `stacked_*` play it on Metz et al.'s nets for 1000 modes, at the rates of PGGAN (Karras et al. 2018,
   arXiv 1710.10196), which samples from an averaged G.

    python -m experiments.wgan_gp                      the ring of eight Gaussians
    python -m experiments.wgan_gp --dataset mnist      DCGAN nets without batch norm in the critic
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, penalties, rng
from gan_jax.nets import dcgan, mlp, small
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 10_000  # updates of G
    batch_size: Count = 256  # rows of data, and of noise, of each update
    critic_steps: Count = 5  # updates of the critic for each one of G
    penalty: float = 0.1  # lambda, the weight of the penalty
    z_dim: Count = 2  # the latent, standard normal
    nets: Literal["auto", "stacked"] = "auto"  # auto: mlp for points, dcgan for images
    width: Count = 256  # units of a hidden layer (toys); channels at full resolution (images)
    d_width: Count = 2  # channels of D's first layer (stacked)
    lr: float = 1e-4  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment
    b2: Decay = 0.9  # Adam's decay of the second moment


_stacked = Config(
    "stacked_mnist", steps=20_000, batch_size=128, penalty=10.0, z_dim=256, nets="stacked", width=8,
    lr=1e-3, b1=0.0, b2=0.99,
)  # fmt: skip
PRESETS = {
    "default": Config(),
    "images": Config("digits", steps=5000, batch_size=64, penalty=10.0, z_dim=64, width=16, b1=0.0),
    "stacked_quarter": _stacked,  # 1000 modes against a D of a quarter, or half, of G's width
    "stacked_half": dataclasses.replace(_stacked, d_width=4),
    "tiny": Config("digits16", steps=6, batch_size=8, critic_steps=2, penalty=10.0, z_dim=4, width=4, b1=0.0),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    shape = data.load(cfg.dataset).shape
    tx = optax.adam(cfg.lr, cfg.b1, cfg.b2)
    if len(shape) == 1:
        return mlp.G(shape, cfg.width, 3), mlp.D(cfg.width, 3), tx
    if cfg.nets == "stacked":
        return small.G(shape, cfg.width), small.D(cfg.d_width, norm=False), tx
    return dcgan.G(shape, cfg.width), dcgan.D(cfg.width, norm=False), tx


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), z), create(D, tx, rng.at(key, 0, "d"), x))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss = losses.wasserstein
    xs = (
        batch["x"].reshape(cfg.batch_size, cfg.critic_steps, *batch["x"].shape[1:]).swapaxes(0, 1)
    )  # [critic steps, b, ...]

    def noise(i):
        key = jax.random.fold_in(rng.at(state.key, state.step, "z"), i)
        return rng.normal(key, (cfg.batch_size, cfg.z_dim))  # [b, z]

    def score(d_params, x):
        return forward(D, d_params, state.d.stats, x)[0]  # [b]

    def critic_update(d, ix):
        i, x = ix
        fake, _ = forward(G, state.g.params, state.g.stats, noise(i))
        key = jax.random.fold_in(rng.at(state.key, state.step, "penalty"), i)

        def d_loss(d_params):
            distance = -loss.d(score(d_params, x), score(d_params, fake)).mean()  # the estimate of Wasserstein-1
            penalty = penalties.wgan_gp(functools.partial(score, d_params), x, fake, key).mean()
            return -distance + cfg.penalty * penalty, (distance, penalty)

        grads, (distance, penalty) = jax.grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, tx), (distance, penalty)

    def g_loss(g_params, d):
        fake, stats = forward(G, g_params, state.g.stats, noise(cfg.critic_steps))
        return loss.g(None, score(d.params, fake)).mean(), stats

    d, (distance, penalty) = jax.lax.scan(critic_update, state.d, (jnp.arange(cfg.critic_steps), xs))
    (g_value, g_stats), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params, d)
    metrics = {"wasserstein": distance[-1], "loss/g": g_value, "penalty": penalty[-1]}
    return State(state.step + 1, state.key, descend(state.g, g_grads, tx, g_stats), d), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size * cfg.critic_steps, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
