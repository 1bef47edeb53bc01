"""DCGAN: convolutional nets that train, and what they then know: a latent to walk and calculate in, features in D.

Radford, Metz and Chintala 2016, arXiv 1511.06434. Strided convolutions in D, transposed ones in G, batch norm in both
(not on the data, not on G's output), ReLU in G and leaky ReLU in D, no dense layer in between, weights from N(0, 0.02),
Adam with 2e-4 and a first moment of 0.5. D moves first, then G against the new D, from the same noise.

`measure` draws walks between latents; a - b + c of latents, each the mean of three; and the filters of D's first layer.
`python -m benchmarks dcgan_features` reads D's features with a linear classifier.

Differences from the paper:
1. Kernels 4x4 instead of 5x5, as many levels as the images need, narrower nets.
2. Perceptrons for points.
3. The three exemplars of a mean are not chosen by eye: a sample and the two of 256 that are nearest to it.

    python -m experiments dcgan                     8x8 digits
    python -m experiments dcgan --dataset mnist     any TFDS image set; those with a test split are measured
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import dcgan, mlp
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "digits"  # any TFDS image set by name, or a toy
    steps: Count = 5000  # updates of D, and of G
    batch_size: Count = 128  # rows of data, and of noise, a step
    z_dim: Count = 100  # the latent, uniform in [-1, 1)
    width: Count = 32  # channels at full resolution; units of a hidden layer (points)
    lr: float = 2e-4  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "paper": Config("cifar10", steps=100_000, width=128),  # the size of the paper's nets, on a set of TFDS
    "ring": Config("ring8", steps=10_000, batch_size=512, z_dim=16, width=128, lr=1e-3),
    "tiny": Config("digits16", steps=6, batch_size=8, z_dim=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    shape = data.load(cfg.dataset).shape
    nets = dcgan if len(shape) == 3 else mlp
    return nets.G(shape, cfg.width), nets.D(cfg.width), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), z), create(D, tx, rng.at(key, 0, "d"), x))


def latent(cfg, key, n):
    return rng.uniform(key, (n, cfg.z_dim), minval=-1)  # [n, z]


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss = losses.non_saturating
    x = batch["x"]  # [b, ...]
    z = latent(cfg, rng.at(state.key, state.step, "z"), x.shape[0])  # [b, z]
    generate = lambda g_params: forward(G, g_params, state.g.stats, z)
    fake, to_g, g_stats = jax.vjp(generate, state.g.params, has_aux=True)  # G runs once, for both players

    def d_loss(d_params):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b], over the reals alone; D keeps their stats
        fake_score, _ = forward(D, d_params, state.d.stats, fake)  # [b], over the fakes alone
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    (d_value, (real_score, fake_score, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, d_grads, tx, d_stats)

    def g_loss(fake):
        fake_score, _ = forward(D, d.params, d.stats, fake)  # of the new D
        return loss.g(None, fake_score).mean()

    g_value, fake_grad = jax.value_and_grad(g_loss)(fake)
    g = descend(state.g, *to_g(fake_grad), tx, g_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, g, d), metrics


def generate(cfg, state, z):
    """Return G(z) [..., h, w, c] for z [..., z], by the running statistics."""
    G, *_ = build(cfg)
    x, _ = forward(G, state.g.params, state.g.stats, z.reshape(-1, cfg.z_dim), train=False)
    return x.reshape(*z.shape[:-1], *x.shape[1:])


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def discriminate(cfg, state, x):
    """Return D's score [b] of x [b, ...], by the running statistics."""
    _, D, _ = build(cfg)
    return forward(D, state.d.params, state.d.stats, x, train=False)[0]


def measure(cfg, state, key, train, test):
    draw = functools.partial(generate, cfg, state)
    z = latent(cfg, key, 256)
    t = jnp.linspace(0, 1, 10, dtype=jnp.float32).reshape(1, -1, 1)
    walks = (1 - t) * z[:8, None] + t * z[8:16, None]  # [rows, columns, z]

    flat = draw(z).reshape(256, -1)
    apart = ((flat[:24, None] - flat[None]) ** 2).sum(-1)  # [24, 256]
    near = jnp.argsort(apart, -1)[:, :3].reshape(8, 3, 3)  # row, which of a, b, c, exemplar
    a, b, c = jnp.moveaxis(z[near].mean(2), 1, 0)  # the mean of one latent and its two nearest: [rows, z] each
    shown = jnp.concatenate([z[near].reshape(8, 9, -1), jnp.stack([a, b, c, a - b + c], 1)], 1)

    filters = jnp.moveaxis(state.d.params["Conv_0"]["kernel"], -1, 0)  # [width, 4, 4, c]
    filters /= jnp.abs(filters).max((1, 2, 3), keepdims=True)
    filters = filters.reshape(-1, math.gcd(cfg.width, 16), *filters.shape[1:])
    sums = Picture(draw(shown), columns=(*"aaabbbccc", "mean a", "mean b", "mean c", "a - b + c"))
    return {"walks": draw(walks), "arithmetic": sums, "filters": filters}


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
