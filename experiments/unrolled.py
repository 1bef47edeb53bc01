"""Unrolled GAN: G is trained against the D that will have answered it, K updates ahead.

Metz, Poole, Pfau and Sohl-Dickstein 2017, arXiv 1611.02163. G descends f(g, d_K(g)), where d_K is D after K of its own
Adam updates on f, and the gradient flows through all of them; D itself makes one ordinary update. K = 0 is the GAN.

Differences from the paper: both nets are updated at once from the same minibatch, as in the authors' notebook (the
paper alternates); Adam's eps_root is 1e-16 instead of 0, since the square root has no gradient at 0; samples come from
a running average of G (not in the presets `paper` and `notebook`); the D of preset `lstm` does not normalise.

    python -m experiments.unrolled                 the ring of eight Gaussians: 8 of 8 modes
    python -m experiments.unrolled --unroll 0      the plain GAN: it circles between one and two
"""

import dataclasses
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, losses, rng, unroll
from gan_jax.nets import dcgan, lstm, mlp, stacked
from gan_jax.run import Count, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 12_000  # joint updates of G and D
    batch_size: Count = 256  # rows of data, and of noise, a step
    unroll: int = 5  # K, how many updates D looks ahead; 0: the plain GAN
    loss: losses.Name = "minimax"  # the game f
    z_dim: Count = 16  # the latent, standard normal
    nets: Literal["auto", "mlp", "dcgan", "lstm", "stacked"] = "auto"  # auto: mlp for points, dcgan for images
    width: Count = 128  # units of a hidden layer (mlp, lstm); channels at full resolution (dcgan, stacked)
    d_width: Count = 2  # channels of D's first layer (stacked)
    std: bool = False  # D sees how much the batch differs (stacked, dcgan)
    pack: Count = 1  # rows that D judges together, as PacGAN does
    g_depth: int = 2  # hidden layers of G (mlp)
    d_depth: int = 1  # hidden layers of D (mlp)
    act: Literal["relu", "tanh"] = "relu"  # hidden units (mlp)
    gain: float = 0.8  # scale of the orthogonal initialisation (mlp)
    d_scale: float = 0.25  # D multiplies its input by it (mlp)
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D, in the lookahead too
    b1: float = 0.5  # Adam's decay of the first moment
    b2: float = 0.999  # Adam's decay of the second moment
    ema: float = 0.998  # decay of the averaged G that is sampled from; 0: G itself
    remat: bool = True  # recompute the lookahead in the backward pass: memory stays flat in K


_paper = Config(steps=25_000, batch_size=512, unroll=10, z_dim=256, g_lr=1e-4, d_lr=1e-4, ema=0.0)
_images = Config(
    "digits", steps=5000, batch_size=64, loss="non_saturating", z_dim=64, width=32, g_lr=2e-4, d_lr=2e-4, ema=0.99
)  # fmt: skip
# 1000 modes against a D of a quarter or half of G's width, as PacGAN re-created the paper's runs of 500,000 steps.
_stacked = Config(
    "stacked_mnist", steps=20_000, batch_size=128, unroll=10, loss="non_saturating", z_dim=256, nets="stacked", width=8,
    g_lr=1e-4, d_lr=2e-4, b2=0.99, ema=0.0,
)  # fmt: skip
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
    "stacked_quarter": _stacked,
    "stacked_half": dataclasses.replace(_stacked, d_width=4),
    "images": _images,  # any TFDS set: `--dataset NAME`
    # The paper's MNIST experiment, as we read it: an LSTM writes the image column by column. (There K is 20.)
    "lstm": dataclasses.replace(
        _images, dataset="mnist", nets="lstm", unroll=5, batch_size=128, z_dim=256, width=256, g_lr=1e-4, d_lr=1e-4
    ),
    "tiny": dataclasses.replace(
        _images, dataset="digits16", steps=6, batch_size=8, unroll=1, z_dim=4, width=4, ema=0.5
    ),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # (params, stats) of the averaged G


def build(cfg):
    shape = data.load(cfg.dataset).shape
    act, kernel_init = getattr(nn, cfg.act), nn.initializers.orthogonal(cfg.gain)
    nets = {"auto": "mlp" if len(shape) == 1 else "dcgan"}.get(cfg.nets, cfg.nets)
    if nets == "mlp":
        G = mlp.G(shape, cfg.width, cfg.g_depth, act, kernel_init)
        D = mlp.D(cfg.width, cfg.d_depth, act, kernel_init, cfg.d_scale)
    elif nets == "dcgan":
        G, D = dcgan.G(shape, cfg.width), dcgan.D(cfg.width, std=cfg.std)
    elif nets == "stacked":
        G, D = stacked.G(shape, cfg.width), stacked.D(cfg.d_width, std=cfg.std)
    else:
        G, D = lstm.G(shape, cfg.width), lstm.D()
    D = stacked.Packed(D, cfg.pack) if cfg.pack > 1 else D
    g_tx, d_tx = (optax.adam(lr, cfg.b1, cfg.b2, eps_root=1e-16) for lr in (cfg.g_lr, cfg.d_lr))
    return G, D, g_tx, d_tx


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((cfg.pack, *data.load(cfg.dataset).shape))
    g = create(G, g_tx, rng.at(key, 0, "g"), z)
    return State(jnp.int32(0), key, g, create(D, d_tx, rng.at(key, 0, "d"), x), (g.params, g.stats))


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss = losses.PAIRS[cfg.loss]
    x = batch["x"]  # [b, ...]
    z = jax.random.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def scores(d_params, fake):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b / pack]
        fake_score, _ = forward(D, d_params, state.d.stats, fake)  # [b / pack]
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


def sample(cfg, state, key, n):
    G, *_ = build(cfg)
    return forward(G, *state.g_ema, jax.random.normal(key, (n, cfg.z_dim)), train=False)[0]


def setup(cfg):
    stacked.check_packs(cfg.batch_size, cfg.pack)
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
