"""Denoising feature matching: G is drawn to where D's features of data are, as a denoiser r of these features says.

Warde-Farley and Bengio, ICLR 2017, openreview S1X7nhsxl (not on arXiv). f is D's last hidden layer. r learns on data to
undo noise: it descends |f(x) - r(f(x) + N(0, 1))|^2, and its answers lie where features are denser. G descends

    denoising |f(G(z)) - r(f(G(z)))|^2 - adversarial log D(G(z)),

where r's answer is a fixed target. r sees no samples when it learns, and D learns nothing from r. With the weight
`matching` G descends |mean f(x) - mean f(G(z))|^2 too, the feature matching of Salimans et al. 2016, arXiv 1606.03498.

Differences from the paper:
1. Squares are means over the features, as in the re-implementation hvy/chainer-gan-denoising-feature-matching, of which
   the weights of `paper` are as well (the paper does not say its own); other presets have weights of ours.
2. All three nets are updated at once.
3. The last layer of D is leaky, so features can be below 0.
4. r of `paper`, whose size for CIFAR-10 is not said, is that for ImageNet; the nets are our DCGAN's at half width.
5. Other presets have a smaller r, rates and lengths of ours.

    python -m experiments.feature_denoising                                 the ring of eight Gaussians
    python -m experiments.feature_denoising --denoising 0 --adversarial 1   the plain GAN to set against it
    python -m experiments.feature_denoising --denoising 0 --adversarial 0 --matching 1
    python -m experiments.feature_denoising --preset cifar10_subset
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import dcgan, denoiser, mlp, vaegan
from gan_jax.run import Count, Decay, Depth, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 3000  # updates of all nets
    batch_size: Count = 128  # rows of data, and of noise, a step
    denoising: float = 1.0  # weight of the distance between features and what r makes of them
    adversarial: float = 1.0  # weight of -log D(G(z))
    matching: float = 0.0  # weight of the distance between the means of features
    noise: float = 1.0  # deviation of the noise that r undoes
    z_dim: Count = 16  # the latent, standard normal
    width: Count = 64  # units of a hidden layer (points); channels at full resolution (images)
    r_width: Count = 64  # units of r's hidden layers
    r_depth: Depth = 2  # how many there are
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D
    r_lr: float = 1e-3  # Adam's rate for r
    b1: Decay = 0.5  # Adam's decay of the first moment


_images = Config("stacked_digits", steps=400, batch_size=64, z_dim=64, width=16, r_width=128, r_depth=3)
PRESETS = {
    "default": Config(),
    "images": _images,
    "cifar10_subset": dataclasses.replace(_images, dataset="cifar10_subset", steps=3000, g_lr=2e-4, d_lr=2e-4),
    # 100 epochs of 50,000
    "paper": Config(
        "cifar10", 39_000, 128, adversarial=0.03, z_dim=100, width=32, r_width=2048, r_depth=10, g_lr=1e-4, d_lr=1e-4,
        r_lr=1e-4,
    ),
    "tiny": Config("digits16", steps=6, batch_size=8, z_dim=4, width=2, r_width=4, r_depth=1),
}  # fmt: skip


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    r: Player  # the denoiser


def build(cfg):
    shape = data.load(cfg.dataset).shape
    G = (mlp if len(shape) == 1 else dcgan).G(shape, cfg.width)
    txs = (optax.adam(lr, cfg.b1) for lr in (cfg.g_lr, cfg.d_lr, cfg.r_lr))
    return G, vaegan.D(cfg.width), denoiser.R(cfg.r_width, cfg.r_depth), *txs


def init(cfg, key):
    G, D, R, g_tx, d_tx, r_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z), create(D, d_tx, rng.at(key, 0, "d"), x)
    (_, f), _ = jax.eval_shape(lambda x: forward(D, d.params, d.stats, x), x)
    return State(jnp.int32(0), key, g, d, create(R, r_tx, rng.at(key, 0, "r"), jnp.zeros(f.shape)))


def step(cfg, state, batch):
    G, D, R, g_tx, d_tx, r_tx = build(cfg)
    loss, x = losses.non_saturating, batch["x"]  # [b, ...]
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def d_loss(params, fake):
        (real_score, f), stats = forward(D, params, state.d.stats, x)  # [b], [b, f]
        (fake_score, _), _ = forward(D, params, state.d.stats, fake)  # [b]
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, f, stats)

    def g_loss(params):
        fake, stats = forward(G, params, state.g.stats, z)
        (score, f), _ = forward(D, state.d.params, state.d.stats, fake)  # [b], [b, f]
        (_, real_f), _ = forward(D, state.d.params, state.d.stats, x)
        target, _ = forward(R, state.r.params, state.r.stats, f)  # by the statistics of samples, which r does not keep
        denoising = ((f - jax.lax.stop_gradient(target)) ** 2).mean()
        matching = ((f.mean(0) - real_f.mean(0)) ** 2).mean()
        value = cfg.denoising * denoising + cfg.adversarial * loss.g(None, score).mean() + cfg.matching * matching
        return value, (fake, stats, denoising, matching)

    def r_loss(params, f):  # of data, held fixed
        noised = f + cfg.noise * rng.normal(rng.at(state.key, state.step, "noise"), f.shape)
        again, stats = forward(R, params, state.r.stats, noised)
        return ((f - again) ** 2).mean(), stats

    (g_value, (fake, g_stats, denoising, matching)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (real_score, fake_score, f, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        state.d.params, fake
    )
    (r_value, r_stats), r_grads = jax.value_and_grad(r_loss, has_aux=True)(state.r.params, f)

    g, d = descend(state.g, g_grads, g_tx, g_stats), descend(state.d, d_grads, d_tx, d_stats)
    r = descend(state.r, r_grads, r_tx, r_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "loss/r": r_value, "denoising": denoising, "matching": matching}
    metrics |= {"score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, g, d, r), metrics


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
