"""Boundary-seeking GAN: G draws bits, and D's odds weigh its draws of each latent, the likelier real the more.

Hjelm, Jacob, Che, Trischler, Cho and Bengio 2018, arXiv 1702.08431. No gradient passes through bits. With F the score
of D, its logit, w = exp(F) is how much more of x the data have than G. For each latent z, M pictures x_m are drawn of
G's Bernoulli probabilities g(.|z); their weights are w_m / sum_m w_m, and G descends -sum_m w_m log g(x_m | z), the
weights held fixed. D descends -log D(x) - log(1 - D(x_m)) over all M. The effective sample size, 1 over the sum of the
squared weights, says how many of the M count. experiments/bgan_continuous.py has the same for pictures of grey.

`--over batch` is MaliGAN (Che et al. 2017, arXiv 1702.07983) on bits: weights are over the sum of all draws of a batch,
less a baseline that grows from 0 to 1, in units of their mean. experiments/sequences/maligan.py has it on strings.

Differences from the paper and the authors' code (rdevon/BGAN at c560ba0):
1. A pixel is white where it is brighter than half, and bits are 1 and -1; there a binarised MNIST of 1 and 0.
2. Both nets are updated at once, from the same draws. There D first, then G, each from draws of its own.
3. Batch norm's running decay and epsilon are 0.9 and 1e-5 (there 0.9 and 1e-4), its scales begin near 1.
4. Only bits: its quantised colours and characters, and its REINFORCE variant, are not here.
5. The default has smaller nets, another rate and fewer updates. MaliGAN has the same nets, which are not its paper's.

    python -m experiments bgan                             binarised MNIST
    python -m experiments bgan --over batch                MaliGAN's weights
    python -m experiments bgan --samples 1                 without weights: G learns nothing
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import classifier
from gan_jax.nets import bgan
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # images, of which bits are made
    steps: Count = 1200  # joint updates of G and D
    batch_size: Count = 32  # rows of data, and latents, a step
    samples: Count = 20  # pictures that are drawn of each latent
    over: Literal["latent", "batch"] = "latent"  # whose draws share out the weights; batch: with a baseline, MaliGAN's
    z_dim: Count = 64  # the latent, even in [0, 1)
    width: Count = 12  # channels of the layers next to a picture
    hidden: Count = 128  # units of the nets' hidden layers
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 3e-4  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config(steps=93_750, batch_size=64, width=64, hidden=1024, g_lr=1e-4, d_lr=1e-4),  # 100 epochs
    "tiny": Config("digits", steps=6, batch_size=8, samples=3, z_dim=4, width=4, hidden=8),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def bits(cfg):
    return data.binarised(data.load(cfg.dataset))


def build(cfg):
    adam = lambda lr: optax.adam(lr, cfg.b1)
    G, D = bgan.G(bits(cfg).shape, cfg.width, cfg.hidden), bgan.D(cfg.width, cfg.hidden)
    return G, D, adam(cfg.g_lr), adam(cfg.d_lr)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *bits(cfg).shape))
    return State(jnp.int32(0), key, create(G, g_tx, rng.at(key, 0, "g"), z), create(D, d_tx, rng.at(key, 0, "d"), x))


def drawn(logits, u):
    """Return bits, 1 with the probabilities of logits [..., h, w, c] and else -1, by even noise u in [0, 1)."""
    return 2 * (u < jax.nn.sigmoid(logits)).astype(logits.dtype) - 1


def weighed(cfg, scores, t):
    """Return weights [m, b] of draws, by D's scores [m, b]: their odds over the sum of a latent's, or MaliGAN's."""
    if cfg.over == "latent":
        return jax.nn.softmax(scores, 0)
    baseline = jnp.minimum(t / cfg.steps, 1).astype(scores.dtype)
    return scores.shape[1] * jax.nn.softmax(scores, (0, 1)) - baseline / len(scores)


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    x, m = batch["x"], cfg.samples  # [b, h, w, c]
    z = rng.uniform(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]
    u = rng.uniform(rng.at(state.key, state.step, "u"), (m, *x.shape))  # [m, b, h, w, c]

    def d_loss(params, fake):
        real, made = (forward(D, params, {}, rows)[0] for rows in (x, fake.reshape(-1, *x.shape[1:])))
        return jax.nn.softplus(-real).mean() + jax.nn.softplus(made).mean(), (real, made.reshape(m, -1))

    def g_loss(params):
        logits, stats = forward(G, params, state.g.stats, z)  # [b, h, w, c]
        fake = drawn(jax.lax.stop_gradient(logits)[None], u)  # [m, b, h, w, c]
        (value, scores), grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, fake)
        log_g = jax.nn.log_sigmoid(fake * logits[None]).sum((2, 3, 4))  # [m, b]
        return -(weighed(cfg, scores[1], state.step) * log_g).sum(0).mean(), (stats, value, scores, grads)

    (g_value, (stats, d_value, scores, d_grads)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    g, d = descend(state.g, g_grads, g_tx, stats), descend(state.d, d_grads, d_tx)
    effective = 1 / (jax.nn.softmax(scores[1], 0) ** 2).sum(0)  # [b], of the draws of each latent
    metrics = {"loss/g": g_value, "loss/d": d_value, "effective": effective.mean()}
    metrics |= {f"score/{name}": score.mean() for name, score in zip(("real", "fake"), scores, strict=True)}
    return State(state.step + 1, state.key, g, d), metrics


def latent(cfg, key, n):
    u = rng.uniform(rng.at(key, 0, "u"), (n, *bits(cfg).shape))  # [n, h, w, c]
    return {"z": rng.uniform(rng.at(key, 0, "z"), (n, cfg.z_dim)), "u": u}  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return drawn(forward(G, state.g.params, state.g.stats, z["z"], train=False)[0], z["u"])


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return what the classifier of the grey pictures says of samples and of held-out bits: which, and how surely."""
    if "y" not in test:
        return {}
    real = bits(cfg).test.make(test, key, 0, len(test["y"]))["x"][:1000]
    judge, found, made = classifier.load(data.load(cfg.dataset)), {}, sample(cfg, state, key, 1000)
    for name, x in {"g": made, "data": real}.items():
        log_p = jax.nn.log_softmax(judge(x))  # [n, classes]
        mean = jnp.exp(log_p).mean(0)
        found[f"sure/{name}"] = jnp.exp(log_p).max(1).mean()
        found[f"classes/{name}"] = jnp.exp((jnp.exp(log_p) * (log_p - jnp.log(mean)[None])).sum(1).mean())
        found[f"white/{name}"] = (x > 0).mean()
    shown = jnp.stack([real[:12], *made[:24].reshape(2, 12, *made.shape[1:])[:, : len(real)]])
    return found | {"bits": Picture(shown, rows=("data", "samples", "samples"))}


def setup(cfg):
    judged = (data.load(cfg.dataset),) if data.load(cfg.dataset).classes and bits(cfg).test else ()
    return Setup(bits(cfg), cfg.batch_size, cfg.steps, judged, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
