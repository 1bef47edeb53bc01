"""Boundary-seeking GAN for grey and colours: G is to make samples on the border of D, where it can't tell.

Hjelm, Jacob, Che, Trischler, Cho and Bengio 2018, arXiv 1702.08431. With F the score of D, its logit, the border is
F = 0, or F = log Z where D is not the best yet: Z = E exp(F) over samples would be 1 for the best. G descends
(F(G(z)) - log Z)^2, D descends -log D(x) - log(1 - D(G(z))); log Z is a running average. Samples that D takes for all
too real are pulled back, too. experiments/sequences/bgan.py has the same for bits.

Differences from the paper and the authors' code (rdevon/BGAN at c560ba0):
1. The default is MNIST, narrow nets and a larger rate; there CelebA, LSUN and ImageNet at 64x64 and more.
2. log Z stays at 0 by default, as in the paper's formula; `paper` averages it, as the code does.
3. Nets of DCGAN with kernels of 4x4 and two pixels less of padding where they have 5x5.
4. Both nets are updated at once, from the same noise. There D first, then G, each from noise of its own.

    python -m experiments bgan_continuous                  MNIST
    python -m experiments bgan_continuous --gamma 0.995    log Z is averaged
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import logsumexp

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, losses, rng
from gan_jax.metrics import classifier
from gan_jax.nets import dcgan
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # a set of pictures
    steps: Count = 1500  # joint updates of G and D
    batch_size: Count = 64  # rows of data, and of noise, a step
    z_dim: Count = 128  # the latent, even in [0, 1)
    width: Count = 16  # channels of the layers next to a picture
    gamma: Decay = 1.0  # decay of the average log Z, 0 at first; 1: it stays there
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config("celeb_a,size=64", 158_281, width=128, gamma=0.995, g_lr=1e-4, d_lr=1e-4),  # 50 epochs
    "tiny": Config("digits16", steps=6, batch_size=8, z_dim=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    log_z: jax.Array  # the average of log mean exp(F) over samples


def build(cfg):
    adam, shape = lambda lr: optax.adam(lr, cfg.b1), data.load(cfg.dataset).shape
    return dcgan.G(shape, cfg.width, units=True), dcgan.D(cfg.width), adam(cfg.g_lr), adam(cfg.d_lr)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z), create(D, d_tx, rng.at(key, 0, "d"), x)
    return State(jnp.int32(0), key, g, d, jnp.float32(0))


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    x = batch["x"]  # [b, h, w, c]
    z = rng.uniform(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def g_loss(params):
        fake, stats = forward(G, params, state.g.stats, z)
        score, _ = forward(D, state.d.params, state.d.stats, fake)  # [b]
        return ((score - state.log_z) ** 2).mean(), (fake, stats, score)

    def d_loss(params, fake):
        real, stats = forward(D, params, state.d.stats, x)  # D keeps the statistics of data
        made, _ = forward(D, params, state.d.stats, fake)
        return losses.non_saturating.d(real, made).mean(), (stats, real)

    (g_value, (fake, g_stats, made)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (d_stats, real)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, fake)
    g, d = descend(state.g, g_grads, g_tx, g_stats), descend(state.d, d_grads, d_tx, d_stats)
    log_z = ema(state.log_z, logsumexp(made) - jnp.log(x.shape[0]), cfg.gamma).astype(state.log_z.dtype)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real.mean(), "score/fake": made.mean()}
    return State(state.step + 1, state.key, g, d, log_z), metrics | {"log Z": log_z}


def latent(cfg, key, n):
    return rng.uniform(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return what the classifier says of samples and of held-out pictures: how many classes, and how surely."""
    source = data.load(cfg.dataset)
    if "y" not in test:
        return {}
    real = source.test.make(test, key, 0, len(test["y"]))["x"][:1000]
    judge, found = classifier.load(source), {}
    for name, x in {"g": sample(cfg, state, key, 1000), "data": real}.items():
        log_p = jax.nn.log_softmax(judge(x))  # [n, classes]
        p = jnp.exp(log_p)
        found[f"sure/{name}"] = p.max(1).mean()
        found[f"classes/{name}"] = jnp.exp((p * (log_p - jnp.log(p.mean(0))[None])).sum(1).mean())
    return found


def setup(cfg):
    source = data.load(cfg.dataset)
    return Setup(source, cfg.batch_size, cfg.steps, (source,) if source.classes and source.test else (), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
