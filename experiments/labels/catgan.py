"""CatGAN: D sorts the data into K categories, sure of each row and using all alike, and is unsure only of fakes.

Springenberg 2016, arXiv 1511.06390. With H the entropy of p(y|x) = softmax D(x): D descends E H(x) - H(E p(y|x)) over
data, minus E H(G(z)); G descends E H(G(z)) - H(E p(y|G(z))). No label is used: the categories are clusters.

Differences from the paper:
1. The perceptrons of Improved GAN (D with weight normalisation and Gaussian noise; there batch normalisation and
   noise).
2. A cluster's class is the most frequent one of its members among 10,000 training records (how the paper names its
   clusters we could not check).

    python -m experiments catgan --seeds 3       MNIST, 20 clusters: error of the test split
    python -m experiments catgan --dataset ring8
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.nn import logsumexp

from gan_jax import data, metrics
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.nets import improved
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # a toy, or any TFDS image set by name (with labels, its clusters are named by them)
    steps: Count = 8000  # updates of D, each followed by one of G
    batch_size: Count = 100  # rows of data, and of noise, a step
    clusters: Count = 20  # K, the categories that D sorts into
    z_dim: Count = 100  # the latent, uniform in [0, 1)
    width: Count = 125  # units of D's last hidden layers; its first has four times, G's twice as many
    x_noise: float = 0.3  # deviation of the noise on what D sees
    noise: float = 0.5  # deviation of the noise on D's hidden layers
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 3e-4  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "ring": Config("ring8", batch_size=256, clusters=8, z_dim=16, width=64, x_noise=0.05, noise=0.1),
    "tiny": Config("digits", steps=6, batch_size=8, clusters=4, z_dim=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    G = improved.G(data.load(cfg.dataset).shape, 2 * cfg.width)
    D = improved.D(cfg.clusters, cfg.width, cfg.x_noise, cfg.noise)
    return G, D, optax.adam(cfg.g_lr, cfg.b1), optax.adam(cfg.d_lr, cfg.b1)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((2, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g = create(G, g_tx, rng.at(key, 0, "g"), z)
    return State(jnp.int32(0), key, g, create(D, d_tx, rng.at(key, 0, "d"), x, key))


def entropies(logits):
    """Return the mean entropy of p(y|x), the rows of softmax(logits [b, K]), and the entropy of their mean p(y)."""
    of_row = jax.nn.log_softmax(logits)  # logarithms all the way: a category may be as good as never used
    mean = logsumexp(of_row, 0) - jnp.log(logits.shape[0])
    return -(jnp.exp(of_row) * of_row).sum(1).mean(), -(jnp.exp(mean) * mean).sum()


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    x = batch["x"]  # [b, ...]
    z_d, z_g = rng.uniform(rng.at(state.key, state.step, "z"), (2, x.shape[0], cfg.z_dim))  # [b, z] each

    def seen(d_params, x, noise):
        (logits, _), _ = forward(D, d_params, state.d.stats, x, rng.at(state.key, state.step, noise))  # [b, K]
        return entropies(logits)

    def d_loss(d_params):
        fake, _ = forward(G, state.g.params, state.g.stats, z_d)
        real_sure, real_used = seen(d_params, x, "real")
        fake_sure, _ = seen(d_params, fake, "fake")
        return real_sure - real_used - fake_sure, (real_sure, real_used, fake_sure)

    def g_loss(g_params, d):
        fake, stats = forward(G, g_params, state.g.stats, z_g)
        fake_sure, fake_used = seen(d.params, fake, "fake again")
        return fake_sure - fake_used, stats

    (d_value, (real_sure, real_used, fake_sure)), grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, grads, d_tx)
    (g_value, g_stats), grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params, d)
    metrics = {"loss/g": g_value, "loss/d": d_value}
    metrics |= {"entropy/real": real_sure, "entropy/mean of real": real_used, "entropy/fake": fake_sure}
    return State(state.step + 1, state.key, descend(state.g, grads, g_tx, g_stats), d), metrics


def latent(cfg, key, n):
    return rng.uniform(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    _, D, *_ = build(cfg)
    if not test:
        return {}
    train, test = data.decode(jax.tree.map(lambda a: a[:10_000], train)), data.decode(test)

    def logits(x):  # [n, K]
        one = lambda x: forward(D, state.d.params, state.d.stats, x[None], None, train=False)[0][0][0]
        return jax.lax.map(one, x, batch_size=500)

    surest = jax.lax.top_k(jax.nn.softmax(logits(test["x"])).T, min(10, len(test["x"])))[1]  # [K, 10]
    found = {"clusters": test["x"][surest]}  # a row of images for each
    if data.load(cfg.dataset).classes and "y" in test and "y" in train:
        classes = data.load(cfg.dataset).classes
        members = jnp.zeros((cfg.clusters, classes), int).at[logits(train["x"]).argmax(1), train["y"]]
        members = members.add(train["y"] >= 0)  # the others have no label
        found["test/error"] = 1 - metrics.agreement(members.argmax(1)[logits(test["x"]).argmax(1)], test["y"])
        found["clusters used"] = (members.sum(1) > 0).sum()
    return found


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
