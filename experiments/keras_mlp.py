"""The perceptron GAN that beginners' guides begin with, in its exact numbers: half batches in turn, then a whole one.

The first example of Keras-GAN (github.com/eriklindernoren/Keras-GAN, gan/gan.py at 01c19e4), a version of the original
GAN (Goodfellow et al. 2014, arXiv 1406.2661). A step: D moves along -log D(x) of half a batch of data, then along
-log(1 - D(G(z))) of half a batch of samples, each by an update of its own; then G along -log D(G(z)) of a whole batch,
against the D that came of it. The half batch of samples is drawn by G's running statistics, as Keras' `predict` does;
G itself moves by those of its batch.

Differences from the paper:
1. The guide's: leaky ReLU and batch norm (there: maxout and dropout in D, rectifiers and sigmoids in G), Adam instead
   of momentum, D's update in two halves, a G that descends -log D(G(z)) from the first step on.

Differences from the guide's code:
1. Data are drawn without replacement, an epoch at a time (there: each half batch anew, with replacement).
2. Running variances are those of the batch (Keras' times n / (n - 1)); Adam's epsilon, 1e-7 here too, stands beside the
   root of the moment that is corrected for its beginning (there: of the one that is not).

    python -m experiments keras_mlp                      MNIST: 30,000 steps of 16 images, as in the guide
    python -m experiments keras_mlp --dataset digits     8x8 digits
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import classifier
from gan_jax.nets import keras_mlp
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # a toy, or any TFDS image set by name
    steps: Count = 30_000  # of two updates of D and one of G
    batch_size: Count = 32  # rows of noise of G's update; D sees half as many data, and half as many samples
    z_dim: Count = 100  # the latent, standard normal
    width: Count = 256  # units of G's first hidden layer and of D's last one
    momentum: Decay = 0.8  # decay of G's running statistics
    lr: float = 2e-4  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "tiny": Config("digits", steps=6, batch_size=16, z_dim=4, width=8),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    G = keras_mlp.G(data.load(cfg.dataset).shape, cfg.width, cfg.momentum)
    return G, keras_mlp.D(cfg.width), optax.adam(cfg.lr, cfg.b1, eps=1e-7)


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), z), create(D, tx, rng.at(key, 0, "d"), x))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss = losses.non_saturating
    x = batch["x"]  # [b / 2, ...]
    noise = lambda name, n: rng.normal(rng.at(state.key, state.step, name), (n, cfg.z_dim))  # [n, z]
    fake, _ = forward(G, state.g.params, state.g.stats, noise("z of D", x.shape[0]), train=False)

    def d_update(d, x, of):
        """Return D after it has moved along its loss of these rows, the loss, and the scores [b / 2]."""

        def d_loss(params):
            score, stats = forward(D, params, d.stats, x)
            return of(score).mean(), (score, stats)

        (value, (score, stats)), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, tx, stats), value, score

    d, real_value, real_score = d_update(state.d, x, lambda score: jax.nn.softplus(-score))
    d, fake_value, fake_score = d_update(d, fake, jax.nn.softplus)

    def g_loss(params):
        fake, stats = forward(G, params, state.g.stats, noise("z", cfg.batch_size))
        return loss.g(None, forward(D, d.params, d.stats, fake)[0]).mean(), stats

    (g_value, g_stats), grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    metrics = {"loss/g": g_value, "loss/d": real_value + fake_value}
    metrics |= {"score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, descend(state.g, grads, tx, g_stats), d), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how many classes a classifier sees in 2,000 samples, and how evenly: exp of the entropy of their shares.

    A class counts as covered from a tenth of its even share on.
    """
    source = data.load(cfg.dataset)
    if not judged(source):
        return {}
    said = classifier.load(source)(sample(cfg, state, key, 2000)).argmax(1)
    count = jnp.zeros(source.classes, jnp.int32).at[said].add(1)
    share = count / jnp.float32(2000)
    even = jnp.exp(-jax.scipy.special.xlogy(share, share).sum())
    return {"classes": (10 * source.classes * count >= 2000).sum(), "even_classes": even}


def judged(source):
    """Return the sets whose classifier `measure` asks."""
    return (source,) if source.test and source.classes and source.kind == "image" else ()


def setup(cfg):
    source = data.load(cfg.dataset)
    return Setup(source, cfg.batch_size // 2, cfg.steps, judged(source))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
