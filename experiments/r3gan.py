"""R3GAN: each real is scored against a fake of its own, and D is kept flat at both; no other trick is needed.

Huang, Gokaslan, Kuleshov and Tompkin 2024, arXiv 2501.05441. At every step D descends softplus(D(G(z)) - D(x)) +
gamma / 2 (|grad D(x)|^2 + |grad D(G(z))|^2), G descends softplus(D(x) - D(G(z))). A burn-in takes the learning rate,
Adam's beta2, gamma and the memory of the averaged G from their first to their last values, along half a cosine.

Differences from the paper:
1. Both nets are updated at once, from the same noise.
2. No augmentation.
3. Perceptrons for points.
4. For images its residual nets without normalisation, small, wider at coarser levels, with a centred bilinear filter.
5. Samples of images are cut off at -1 and 1.
6. The presets `stacked_*` are for its test of 1000 modes: `stacked_resnet` on those nets (the paper's small ones are
   not said) with gamma 1 to the end, since modes go as gamma falls to the paper's 0.1 (docs/results/modes.md); the
   others on Metz et al.'s, without batch norm in D.

    python -m experiments.r3gan                     the ring of eight Gaussians
    python -m experiments.r3gan --dataset grid25    the grid of 25
    python -m experiments.r3gan --dataset digits    any image set: residual nets
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, losses, penalties, rng
from gan_jax.nets import mlp, r3gan, small
from gan_jax.run import Count, Decay, Depth, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 6000  # joint updates of G and D
    batch_size: Count = 256  # pairs of data and noise a step
    burn_in: int = 3000  # steps in which the four schedules go from first to last
    lr: float = 1e-3  # Adam's rate for both, first
    lr_end: float = 0.25  # what of it is left at last
    b2: Decay = 0.9  # Adam's decay of the second moment, first (that of the first moment is 0)
    b2_end: Decay = 0.99  # Adam's decay of the second moment, last
    gamma: float = 1.0  # weight of the two penalties, first
    gamma_end: float = 0.01  # what of it is left at last
    ema: float = 500.0  # half-life of the averaged G in steps, last; 0 at first
    z_dim: Count = 16  # the latent, standard normal
    nets: Literal["auto", "stacked"] = "auto"  # auto: mlp for points, residual nets for images
    width: Count = 128  # units of a hidden layer (points); channels at full resolution (images)
    d_width: Count = 2  # channels of D's first layer (stacked)
    depth: Depth = 3  # hidden layers (points); residual blocks of a level (images)


_stacked = Config(
    "stacked_mnist", steps=20_000, batch_size=128, burn_in=4000, lr=1e-3, lr_end=1.0, gamma_end=0.1, ema=1000.0,
    z_dim=256, nets="stacked", width=8,
)  # fmt: skip
PRESETS = {
    "default": Config(),
    "grid": Config("grid25", steps=12_000, burn_in=6000),
    "images": Config(
        "digits", steps=4000, batch_size=64, burn_in=2000, lr=2e-4, gamma_end=0.1, z_dim=64, width=16, depth=1
    ),
    # 1000 modes against a D of a quarter, or half, of G's width; the schedules are shares of the run as in the paper,
    # whose rate is that of the residual nets: at 2e-4 so small a D, without batch norm, hardly begins
    "stacked_quarter": _stacked,
    "stacked_half": dataclasses.replace(_stacked, d_width=4),
    "stacked_resnet": dataclasses.replace(_stacked, nets="auto", lr=2e-4, gamma_end=1.0, z_dim=64, width=16, depth=1),
    # a bias before batch norm has no gradient but rounding, which Adam follows: at a small rate not far
    "tiny": Config("digits16", steps=6, batch_size=8, burn_in=4, lr=1e-5, ema=2.0, z_dim=4, nets="stacked", width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # (params, stats) of the averaged G


def cosine(cfg, step, first, last):
    """Return what the burn-in has made of `first` at `step`: half a cosine down, or up, to `last`, where it stays."""
    t = jnp.minimum(jnp.float32(step) / cfg.burn_in, 1)
    return last + (first - last) * 0.5 * (1 + jnp.cos(jnp.pi * t))


def build(cfg, step):
    shape = data.load(cfg.dataset).shape
    # Adam keeps the same state whatever its rates, so they may be functions of the step
    tx = optax.adam(cosine(cfg, step, cfg.lr, cfg.lr * cfg.lr_end), 0.0, cosine(cfg, step, cfg.b2, cfg.b2_end))
    if len(shape) == 1:
        return mlp.G(shape, cfg.width, cfg.depth), mlp.D(cfg.width, cfg.depth, nn.leaky_relu), tx
    if cfg.nets == "stacked":
        return small.G(shape, cfg.width), small.D(cfg.d_width, norm=False), tx
    return r3gan.G(shape, cfg.width, cfg.depth), r3gan.D(cfg.width, cfg.depth), tx


def init(cfg, key):
    G, D, tx = build(cfg, 0)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g = create(G, tx, rng.at(key, 0, "g"), z)
    return State(jnp.int32(0), key, g, create(D, tx, rng.at(key, 0, "d"), x), (g.params, g.stats))


def step(cfg, state, batch):
    G, D, tx = build(cfg, state.step)
    loss = losses.relativistic_paired
    gamma = cosine(cfg, state.step, cfg.gamma, cfg.gamma * cfg.gamma_end)
    memory = 0.5 ** (1 / jnp.maximum(cosine(cfg, state.step, 0.0, cfg.ema), 1e-8))
    x = batch["x"]  # [b, ...]
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def score(d_params, x):
        return forward(D, d_params, state.d.stats, x)[0]  # [b]

    def d_loss(d_params, fake):
        real_score, fake_score = score(d_params, x), score(d_params, fake)
        critic = functools.partial(score, d_params)
        flat = penalties.r1(critic, x, fake, None) + penalties.r2(critic, x, fake, None)  # [b]
        return (loss.d(real_score, fake_score) + gamma / 2 * flat).mean(), (
            (real_score - fake_score).mean(),
            flat.mean(),
        )

    def g_loss(g_params):
        fake, stats = forward(G, g_params, state.g.stats, z)
        return loss.g(score(state.d.params, x), score(state.d.params, fake)).mean(), (fake, stats)

    (g_value, (fake, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (margin, flat)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, fake)

    g, d = descend(state.g, g_grads, tx, g_stats), descend(state.d, d_grads, tx)
    metrics = {"loss/g": g_value, "loss/d": d_value, "margin": margin, "penalty": flat, "gamma": gamma}
    return State(state.step + 1, state.key, g, d, ema(state.g_ema, (g.params, g.stats), memory)), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg, state.step)
    x = forward(G, *state.g_ema, z, train=False)[0]
    return x if x.ndim == 2 else jnp.clip(x, -1, 1)


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
