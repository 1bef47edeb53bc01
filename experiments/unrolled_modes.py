"""Unrolled GAN on 1000 modes: three digits as red, green and blue, against a D that is much smaller than G.

Metz, Poole, Pfau and Sohl-Dickstein 2017, arXiv 1611.02163, section 3.3.1. The step is that of `unrolled.py`: G
descends f(g, d_K(g)), where d_K is D after K of its own Adam updates on f. D has a quarter of G's width (preset
`quarter`), or half of it (`half`). Every evaluation counts the modes that a classifier sees in 25,600 samples.

Differences from the paper:
1. Both nets are updated at once, on the same minibatch, as in the authors' notebook; the paper alternates.
2. Adam's eps_root is 1e-16 instead of 0, since the square root has no gradient at 0.
3. Nets, loss and rates are those of PacGAN's re-creation (arXiv 1712.04086): the loss is the non-saturating one, and
   Adam's second decay 0.99.
4. The budget is 20,000 updates, and in the preset `default` 3,000 at ten times the rates; PacGAN's re-creation has
   500,000.
5. Samples are drawn with batch norm's running statistics; PacGAN's re-creation has those of the batch.
6. The classifier is ours.
7. Packs of rows that D judges together (`--pack`, PacGAN), a D that sees how much the batch differs (`--std`, Karras et
   al. 2018, arXiv 1710.10196) and a running average of G (`--ema`) are no part of the paper; off, but in `default` the
   average is on.

    python -m experiments.unrolled_modes                            D a quarter as wide as G: about 780 modes
    python -m experiments.unrolled_modes --preset half --pack 2
    python -m experiments.unrolled_modes --dataset stacked_digits   the same of 8x8 digits
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, losses, rng, unroll
from gan_jax.nets import packs, small
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "stacked_mnist"  # stacked or coloured digits, or any TFDS image set by name
    steps: Count = 20_000  # joint updates of G and D
    batch_size: Count = 128  # rows of data, and of noise, a step
    unroll: int = 10  # K, how many updates D looks ahead; 0: the plain GAN
    loss: losses.Name = "non_saturating"  # the game f
    z_dim: Count = 256  # the latent, standard normal
    width: Count = 8  # channels of G at full resolution
    d_width: Count = 2  # channels of D's first layer
    std: bool = False  # D sees how much the batch differs
    pack: Count = 1  # rows that D judges together
    g_lr: float = 1e-4  # Adam's rate for G
    d_lr: float = 2e-4  # Adam's rate for D, in the lookahead too
    b1: Decay = 0.5  # Adam's decay of the first moment
    b2: Decay = 0.99  # Adam's decay of the second moment
    ema: Decay = 0.0  # decay of the averaged G that is sampled from; 0: G itself
    remat: bool = True  # recompute the lookahead in the backward pass: memory stays flat in K


PRESETS = {
    "default": Config(steps=3000, g_lr=1e-3, d_lr=2e-3, ema=0.99),  # ten times the rates, for nine minutes
    "quarter": Config(),
    "half": Config(d_width=4),
    # a bias before batch norm has no gradient but rounding, which Adam follows: at small rates not far
    "tiny": Config(
        "stacked_digits", steps=6, batch_size=8, unroll=2, z_dim=4, width=2, pack=2, g_lr=1e-5, d_lr=1e-5, ema=0.5
    ),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # (params, stats) of the averaged G


def build(cfg):
    G, D = small.G(data.load(cfg.dataset).shape, cfg.width), small.D(cfg.d_width, std=cfg.std)
    D = packs.Packed(D, cfg.pack) if cfg.pack > 1 else D
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
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

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


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, *state.g_ema, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    packs.check(cfg.batch_size, cfg.pack)
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
