"""PacGAN: D judges m samples together, so that a G which keeps making the same few is told by their likeness.

Lin, Khetan, Fanti and Oh 2018, arXiv 1712.04086. The GAN of any paper, but that D's input is a pack of m rows, all real
or all made: D descends -log D(x_1 .. x_m) - log(1 - D(G(z_1) .. G(z_m))), G descends -log D(G(z_1) .. G(z_m)).

A batch of b rows makes b / m packs. The authors' batches have a fixed number of packs, whatever m: so have the presets
`paper_ring` and `paper_grid` with their pack of 2 (with another one, give --batch-size 100 m too). The presets
`stacked_quarter` and `stacked_half` have 128 rows, as those of experiments/unrolled_modes.py (the authors' 128 packs:
--batch-size 256).

Differences from the paper:
1. Both nets are updated at once, as in the authors' 2-D code (in that of the 1000 modes in turn).
2. Points are drawn afresh (there from 100,000).
3. Batch norm sees all rows together (there the first row of every pack, the second, ...).
4. Except in the presets named here, nets and rates are ours.

    python -m experiments.pacgan                       the ring of eight Gaussians
    python -m experiments.pacgan --pack 1              the plain GAN to set against it
    python -m experiments.pacgan --dataset mnist
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import dcgan, maxout, mlp, packs, small
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 10_000  # joint updates of G and D
    batch_size: Count = 256  # rows of data, and of noise, a step
    pack: Count = 2  # m, the rows that D judges together; 1: the plain GAN
    z_dim: Count = 16  # the latent, standard normal
    nets: Literal["auto", "mlp", "maxout", "dcgan", "stacked"] = "auto"  # auto: mlp for points, dcgan for images
    width: Count = 128  # units of a hidden layer (mlp), of G's (maxout); channels at full resolution (dcgan, stacked)
    d_width: Count = 128  # units of D's hidden layers (mlp, maxout); channels of its first (dcgan, stacked)
    g_lr: float = 5e-4  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment
    b2: Decay = 0.999  # Adam's decay of the second moment


_paper = Config(
    "ring8_unit", steps=400_000, batch_size=200, z_dim=2, nets="maxout", width=400, d_width=200, g_lr=1e-4, d_lr=1e-4,
    b1=0.8,
)  # fmt: skip
# 1000 modes against a D of a quarter or half of G's width: the setting of experiments/unrolled_modes.py.
_stacked = Config(
    "stacked_mnist", steps=20_000, batch_size=128, z_dim=256, nets="stacked", width=8, d_width=2, g_lr=1e-4, d_lr=2e-4,
    b2=0.99,
)  # fmt: skip
PRESETS = {
    "default": Config(),
    "paper_ring": _paper,  # 400 epochs of 100,000 points in batches of 100 packs
    "paper_grid": dataclasses.replace(_paper, dataset="grid25"),
    "stacked_quarter": _stacked,
    "stacked_half": dataclasses.replace(_stacked, d_width=4),
    "images": Config("digits", steps=5000, batch_size=64, z_dim=64, width=32, d_width=32, g_lr=2e-4, d_lr=2e-4),
    "tiny": Config("digits16", steps=6, batch_size=8, z_dim=4, width=4, d_width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    shape = data.load(cfg.dataset).shape
    auto = "mlp" if len(shape) == 1 else "dcgan"
    nets = {"mlp": mlp, "maxout": maxout, "dcgan": dcgan, "stacked": small}[auto if cfg.nets == "auto" else cfg.nets]
    G, D = nets.G(shape, cfg.width), packs.Packed(nets.D(cfg.d_width), cfg.pack)
    return G, D, *(optax.adam(lr, cfg.b1, cfg.b2) for lr in (cfg.g_lr, cfg.d_lr))


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((cfg.pack, *data.load(cfg.dataset).shape))
    return State(jnp.int32(0), key, create(G, g_tx, rng.at(key, 0, "g"), z), create(D, d_tx, rng.at(key, 0, "d"), x))


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss = losses.non_saturating
    x = batch["x"]  # [b, ...]
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def d_loss(d_params, fake):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b / pack]
        fake_score, _ = forward(D, d_params, state.d.stats, fake)  # [b / pack]
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    def g_loss(g_params):
        fake, stats = forward(G, g_params, state.g.stats, z)
        fake_score, _ = forward(D, state.d.params, state.d.stats, fake)  # [b / pack]
        return loss.g(None, fake_score).mean(), (fake, stats)

    (g_value, (fake, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (real_score, fake_score, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        state.d.params, fake
    )

    g, d = descend(state.g, g_grads, g_tx, g_stats), descend(state.d, d_grads, d_tx, d_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, g, d), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    packs.check(cfg.batch_size, cfg.pack)
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
