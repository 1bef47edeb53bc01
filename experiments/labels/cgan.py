"""Conditional GAN: G is asked for a label and D is told which one, so that G learns p(x | y).

Mirza and Osindero 2014, arXiv 1411.1784. D(x, y) says a score and log P(y | x); D descends -log D(x, y) -
log(1 - D(G(z, y), y)) - log P(y | x) - log P(y | G(z, y)), and G descends -log D(G(z, y), y) - log P(y | G(z, y)).
`d_net` is the kind of D: "concat" has y among its inputs, the paper's; "projection" multiplies y's vector with the
features (Miyato and Koyama 2018, arXiv 1802.05637); these two classify nothing, so that their log P is 0. "acgan" looks
at x alone and classifies it (AC-GAN, Odena, Olah and Shlens 2017, arXiv 1610.09585).

Differences from the paper:
1. Convolutions on images (there: perceptrons with maxout and dropout, in which z, x and y have a hidden layer each).
2. Adam instead of momentum.
3. Both nets are updated at once, from the same noise.
4. "projection" has no spectral norm, no hinge loss and no residual nets, "acgan" no dropout.

    python -m experiments cgan                                       8x8 digits
    python -m experiments cgan --dataset mnist --d-net projection    how often a classifier sees the digit asked for
    python -m experiments cgan --dataset ring8                       every Gaussian has its label
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import classifier
from gan_jax.nets import conditional, dcgan, mlp
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "digits"  # a toy, or any TFDS image set with labels by name
    steps: Count = 5000  # joint updates of G and D
    batch_size: Count = 64  # rows of data, and of noise, a step
    d_net: Literal["concat", "projection", "acgan"] = "concat"  # how D deals with the label
    loss: losses.Name = "non_saturating"  # the game
    z_dim: Count = 64  # the latent, standard normal
    width: Count = 16  # channels at full resolution (images), units of a hidden layer (points)
    lr: float = 2e-4  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "ring": Config("ring8", batch_size=256, z_dim=16, width=128, lr=1e-3),
    "tiny": Config("digits16", steps=6, batch_size=8, z_dim=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    source = data.load(cfg.dataset)
    net = mlp.G if len(source.shape) == 1 else dcgan.G
    G = conditional.G(net(source.shape, cfg.width), source.classes)
    return G, conditional.D[cfg.d_net](source.classes, cfg.width), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x, y = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape)), jnp.zeros(1, int)
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), z, y), create(D, tx, rng.at(key, 0, "d"), x, y))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss = losses.PAIRS[cfg.loss]
    x, y = batch["x"], batch["y"]  # [b, ...], [b]; G is asked for the same labels
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def scores(d_params, fake):
        (real_score, real_log_p), stats = forward(D, d_params, state.d.stats, x, y)  # [b], [b]
        (fake_score, fake_log_p), _ = forward(D, d_params, state.d.stats, fake, y)  # [b], [b]
        return real_score, fake_score, real_log_p, fake_log_p, stats

    def d_loss(d_params, fake):
        real_score, fake_score, real_log_p, fake_log_p, stats = scores(d_params, fake)
        value = loss.d(real_score, fake_score) - real_log_p - fake_log_p
        return value.mean(), (real_score, fake_score, real_log_p, fake_log_p, stats)

    def g_loss(g_params):
        fake, stats = forward(G, g_params, state.g.stats, z, y)
        real_score, fake_score, _, fake_log_p, _ = scores(state.d.params, fake)
        return (loss.g(real_score, fake_score) - fake_log_p).mean(), (fake, stats)

    (g_value, (fake, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (*said, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, fake)

    g, d = descend(state.g, g_grads, tx, g_stats), descend(state.d, d_grads, tx, d_stats)
    names = "score/real", "score/fake", "log_p/real", "log_p/fake"
    metrics = {"loss/g": g_value, "loss/d": d_value} | {k: v.mean() for k, v in zip(names, said, strict=True)}
    return State(state.step + 1, state.key, g, d), metrics


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z["z"], z["y"], train=False)[0]


def draw(cfg, state, key, y):
    return generate(cfg, state, {"z": rng.normal(key, (y.size, cfg.z_dim)), "y": y})


def labels(cfg, key, n):
    """Return the labels [n] of the samples that are drawn with this key."""
    return jax.random.randint(jax.random.split(key)[0], (n,), 0, data.load(cfg.dataset).classes)


def latent(cfg, key, n):
    return {"z": rng.normal(jax.random.split(key)[1], (n, cfg.z_dim)), "y": labels(cfg, key, n)}


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how often the classifier sees the label that was asked for, and a picture with a row for each label."""
    source = data.load(cfg.dataset)
    classes, columns = source.classes, 10
    each = max(columns, 2000 // classes)
    y = jnp.repeat(jnp.arange(classes), each)
    x = draw(cfg, state, key, y)
    rows = x.reshape(classes, each, *x.shape[1:])[:, :columns]
    found = {"each_label": Picture(rows, rows=source.row["y"].names or tuple(map(str, range(classes))))}
    if test:
        found["agreement"] = jnp.mean(classifier.load(source)(x).argmax(1) == y)
    return found


def setup(cfg):
    source = data.load(cfg.dataset)
    if not source.classes:
        raise UserError(f"{cfg.dataset} has no labels; choose a set that has.")
    return Setup(data.labelled(source), cfg.batch_size, cfg.steps, (source,) if source.test else ())


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
