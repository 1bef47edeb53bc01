"""Unrolled GAN with a recurrent G: an LSTM writes a digit column by column, and D is a convolutional net.

Metz, Poole, Pfau and Sohl-Dickstein 2017, arXiv 1611.02163, section 3.2. The step is that of `unrolled.py`: G descends
f(g, d_K(g)), where d_K is D after K of its own Adam updates on f. With K = 0 G collapses and goes from digit to digit.
`gan_jax/nets/lstm.py` says what the nets are, as we read the appendix, and where it is silent.

Differences from the paper:
1. Both nets are updated at once, on the same minibatch, as in the authors' notebook; the paper alternates.
2. Adam's eps_root is 1e-16 instead of 0, since the square root has no gradient at 0.
3. Samples come from a running average of G.
4. K is 5; the paper has 20 (`--unroll 20`).
5. The loss is the non-saturating one.
6. D does not normalise; with batch norm G drew stripes, blank images or noise.
7. The preset `default` draws 8x8 digits, at five times the rates.
8. The budget is 5,000 updates of each net, and 2,000 in the preset `default`; the paper's is, as we remember it,
   75,000.

    python -m experiments.unrolled_lstm                      8x8 digits
    python -m experiments.unrolled_lstm --preset mnist       MNIST, as in the paper
    python -m experiments.unrolled_lstm --unroll 0           the plain GAN
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, losses, rng, unroll
from gan_jax.nets import lstm
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # any TFDS image set by name
    steps: Count = 5000  # joint updates of G and D
    batch_size: Count = 128  # rows of data, and of noise, a step
    unroll: int = 5  # K, how many updates D looks ahead; 0: the plain GAN
    loss: losses.Name = "non_saturating"  # the game f
    z_dim: Count = 256  # the latent, standard normal
    width: Count = 256  # units of the LSTM
    g_lr: float = 1e-4  # Adam's rate for G
    d_lr: float = 1e-4  # Adam's rate for D, in the lookahead too
    b1: Decay = 0.5  # Adam's decay of the first moment
    b2: Decay = 0.999  # Adam's decay of the second moment
    ema: Decay = 0.99  # decay of the averaged G that is sampled from; 0: G itself
    remat: bool = True  # recompute the lookahead in the backward pass: memory stays flat in K


PRESETS = {
    "default": Config("digits", steps=2000, g_lr=5e-4, d_lr=5e-4),  # 8x8 digits, for a few minutes
    "mnist": Config(),
    "tiny": Config("digits", steps=6, batch_size=8, unroll=2, z_dim=4, width=8, g_lr=1e-3, d_lr=2e-3, ema=0.9),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # (params, stats) of the averaged G


def build(cfg):
    G, D = lstm.G(data.load(cfg.dataset).shape, cfg.width), lstm.D()
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
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
