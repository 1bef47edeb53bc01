"""Unrolled GAN: G is trained against the D that will have answered it, K updates ahead.

Metz, Poole, Pfau and Sohl-Dickstein 2017, arXiv 1611.02163. G descends f(g, d_K(g)), where d_K is D after K of its own
Adam updates on f, and the gradient flows through all of them; D itself makes one ordinary update. K = 0 is the GAN.

Differences from the paper:
1. Both nets are updated at once, on the same minibatch, as in the authors' notebook; the paper alternates, and counts
   the updates of both nets as steps.
2. Adam's eps_root is 1e-16 instead of 0, since the square root has no gradient at 0.
3. Samples come from a running average of G; only the presets `paper` and `notebook` have none.
4. The presets `default`, `veegan_ring` and `veegan_grid` have K = 5 and a latent, batches, rates and budgets of ours;
   `veegan_grid` has nets twice as wide, and D of `veegan_ring` halves its input instead of quartering it.
5. The preset `images` has DCGAN's nets, with K, latent, batch and rates of ours.
6. The loss of `images` is the non-saturating one; the paper's f is the minimax loss, that of all presets for points.
   `--loss` takes others.

The paper's MNIST, drawn by a recurrent G, is `unrolled_lstm.py`; its 1000 modes are `unrolled_modes.py`.

    python -m experiments.unrolled                 the ring of eight Gaussians: 8 of 8 modes
    python -m experiments.unrolled --unroll 0      the plain GAN: it circles between one and two
    python -m experiments.unrolled --dataset mnist
"""

import dataclasses
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, losses, rng, unroll
from gan_jax.nets import dcgan, mlp
from gan_jax.run import Count, Decay, Depth, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 12_000  # joint updates of G and D
    batch_size: Count = 256  # rows of data, and of noise, a step
    unroll: int = 5  # K, how many updates D looks ahead; 0: the plain GAN
    loss: losses.Name = "minimax"  # the game f
    z_dim: Count = 16  # the latent, standard normal
    width: Count = 128  # units of a hidden layer (points); channels at full resolution (images)
    g_depth: Depth = 2  # hidden layers of G (points)
    d_depth: Depth = 1  # hidden layers of D (points)
    act: Literal["relu", "tanh"] = "relu"  # hidden units (points)
    gain: float = 0.8  # scale of the orthogonal initialisation (points)
    d_scale: float = 0.25  # D multiplies its input by it (points)
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D, in the lookahead too
    b1: Decay = 0.5  # Adam's decay of the first moment
    b2: Decay = 0.999  # Adam's decay of the second moment
    ema: Decay = 0.998  # decay of the averaged G that is sampled from; 0: G itself
    remat: bool = True  # recompute the lookahead in the backward pass: memory stays flat in K


_paper = Config(steps=25_000, batch_size=512, unroll=10, z_dim=256, g_lr=1e-4, d_lr=1e-4, ema=0.0)
PRESETS = {
    "default": Config(),  # tuned: the fastest convincing run on two cores
    "paper": _paper,  # the ring of the paper, as we read its appendix
    # The authors' public notebook. It spaces its 8 angles over [0, 2 pi] with both ends: 7 distinct modes.
    "notebook": dataclasses.replace(
        _paper, dataset="ring8_notebook", unroll=5, act="tanh", gain=1.4, d_depth=2, d_scale=1.0, g_lr=1e-3
    ),
    # The ring and the grid on which VEEGAN and PacGAN report.
    "veegan_ring": Config("ring8_unit", steps=25_000, d_scale=0.5, ema=0.9995),
    "veegan_grid": Config("grid25", steps=75_000, width=256, d_scale=0.25, ema=0.9995),
    "images": Config(  # any TFDS set: `--dataset NAME`
        "digits", steps=5000, batch_size=64, loss="non_saturating", z_dim=64, width=32, g_lr=2e-4, d_lr=2e-4, ema=0.99
    ),
    "tiny": Config("digits16", steps=6, batch_size=8, unroll=1, loss="non_saturating", z_dim=4, width=4, ema=0.5),
}
# What runs of before have besides, and with what values they are of this file.
RETIRED = {"nets": "auto", "d_width": 2, "std": False, "pack": 1}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # (params, stats) of the averaged G


def build(cfg):
    shape = data.load(cfg.dataset).shape
    if len(shape) == 1:
        act, kernel_init = getattr(nn, cfg.act), nn.initializers.orthogonal(cfg.gain)
        G = mlp.G(shape, cfg.width, cfg.g_depth, act, kernel_init)
        D = mlp.D(cfg.width, cfg.d_depth, act, kernel_init, cfg.d_scale)
    else:
        G, D = dcgan.G(shape, cfg.width), dcgan.D(cfg.width)
    g_tx, d_tx = (optax.adam(lr, cfg.b1, cfg.b2, eps_root=1e-16) for lr in (cfg.g_lr, cfg.d_lr))
    return G, D, g_tx, d_tx


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g = create(G, g_tx, rng.at(key, 0, "g"), z)
    return State(jnp.int32(0), key, g, create(D, d_tx, rng.at(key, 0, "d"), x), (g.params, g.stats))


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss = losses.PAIRS[cfg.loss]
    x = batch["x"]  # [b, ...]
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def scores(d_params, fake):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b]
        fake_score, _ = forward(D, d_params, state.d.stats, fake)  # [b]
        return real_score, fake_score, stats

    def d_loss(d_params, fake):
        real_score, fake_score, stats = scores(d_params, fake)
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    def g_loss(g_params):
        fake, stats = forward(G, g_params, state.g.stats, z)  # once: the K updates of D see the same minibatch
        ahead = unroll(lambda d_params, _: d_loss(d_params, fake)[0], state.d, d_tx, cfg.unroll, remat=cfg.remat)
        real_score, fake_score, _ = scores(ahead.params, fake)
        return loss.g(real_score, fake_score).mean(), (fake, stats)

    (g_value, (fake, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (real_score, fake_score, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        state.d.params, fake
    )

    g, d = descend(state.g, g_grads, g_tx, g_stats), descend(state.d, d_grads, d_tx, d_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, g, d, ema(state.g_ema, (g.params, g.stats), cfg.ema)), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, *state.g_ema, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
