"""VEEGAN: a reconstructor F guesses the noise behind a sample, and D judges pairs of noise and datum.

Srivastava, Valkov, Russell, Gutmann and Sutton 2017, arXiv 1705.07761. With z' drawn around F(x), D descends
-log D(x, z') - log(1 - D(G(z), z)); its score estimates the log ratio of the two kinds of pairs. G descends minus the
score of its own pairs plus |z - F(G(z))|^2, F that distance alone. So a G of few modes, which takes much noise to one
place, leaves F nothing to tell it by, and what F makes of data from elsewhere looks unlike noise to D.

Differences from the paper:
1. The score has the other sign here, high for the data's pairs.
2. The weight of the distance is a flag (there 1; with a large z, on images, that much of it makes G write z into their
   backgrounds).
3. The deviation of z' from F(x) is a flag, too (there 1, as we read it: p(z|x) is normal; on the ring that finds half
   of the modes).
4. All three nets are updated at once, by Adam.
5. The nets and the rates are ours. On points F's is three times that of the others, so that F keeps up with G, and all
   three go down to 0 in the second half of the run.

    python -m experiments.veegan                       the ring of eight Gaussians
    python -m experiments.veegan --weight 0            without the reconstruction of the noise
    python -m experiments.veegan --dataset mnist       with reconstructions G(F(x)) of the test split
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, falling, forward, losses, rng
from gan_jax.nets import dcgan, inverse, mlp, small, vaegan
from gan_jax.run import Count, Decay, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 10_000  # joint updates of G, F and D
    batch_size: Count = 512  # rows of data, and of noise, a step
    weight: float = 1.0  # of the distance between z and F(G(z)), in G's loss and in F's
    noise: float = 0.3  # deviation of z' from F(x)
    z_dim: Count = 2  # the latent, standard normal
    nets: Literal["auto", "mlp", "dcgan", "stacked"] = "auto"  # auto: mlp for points, dcgan for images
    width: Count = 128  # units of a hidden layer (mlp); channels of G at full resolution (dcgan, stacked)
    f_width: Count = 128  # the same of F: units, or channels of its first layer
    d_width: Count = 32  # the same of D
    pair_width: Count = 32  # units of D's last hidden layer, which sees z beside the features of x
    g_lr: float = 1e-3  # Adam's rate for G
    f_lr: float = 3e-3  # Adam's rate for F
    d_lr: float = 1e-3  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment
    b2: Decay = 0.999  # Adam's decay of the second moment
    falls: Share = 0.5  # the part of the steps, at their end, in which the rates go down to 0


# 1000 modes against a D of a quarter or half of G's width: the setting of experiments/unrolled.py. F is D's size.
_stacked = Config(
    "stacked_mnist", steps=20_000, batch_size=128, weight=0.01, noise=1.0, z_dim=256, nets="stacked", width=8,
    f_width=2, d_width=2, pair_width=8, g_lr=1e-4, f_lr=1e-4, d_lr=2e-4, b2=0.99, falls=0.0,
)  # fmt: skip
PRESETS = {
    "default": Config(),
    "stacked_quarter": _stacked,
    "stacked_half": dataclasses.replace(_stacked, f_width=4, d_width=4, pair_width=16),
    "images": Config(
        "digits", steps=5000, batch_size=64, weight=0.02, noise=1.0, z_dim=64, width=32, f_width=32, d_width=32,
        pair_width=128, g_lr=2e-4, f_lr=2e-4, d_lr=1e-4, falls=0.0,
    ),
    "tiny": Config(
        "digits16", steps=6, batch_size=8, weight=0.02, noise=1.0, z_dim=4, width=4, f_width=4, d_width=4, pair_width=4,
        g_lr=2e-4, f_lr=2e-4, d_lr=2e-4,
    ),
}  # fmt: skip


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    f: Player
    d: Player


def build(cfg):
    shape = data.load(cfg.dataset).shape
    auto = "mlp" if len(shape) == 1 else "dcgan"
    nets = {"mlp": mlp, "dcgan": dcgan, "stacked": small}[auto if cfg.nets == "auto" else cfg.nets]
    trunk = small.Trunk if nets is small else vaegan.Trunk
    G, F = nets.G(shape, cfg.width), inverse.E(trunk(cfg.f_width), cfg.z_dim)
    D = inverse.D(trunk(cfg.d_width), cfg.pair_width)
    falls = lambda lr: falling(lr, cfg.falls, cfg.steps)
    return G, F, D, *(optax.adam(falls(lr), cfg.b1, cfg.b2) for lr in (cfg.g_lr, cfg.f_lr, cfg.d_lr))


def init(cfg, key):
    G, F, D, g_tx, f_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, f = create(G, g_tx, rng.at(key, 0, "g"), z), create(F, f_tx, rng.at(key, 0, "f"), x)
    return State(jnp.int32(0), key, g, f, create(D, d_tx, rng.at(key, 0, "d"), x, z))


def step(cfg, state, batch):
    G, F, D, g_tx, f_tx, d_tx = build(cfg)
    x = batch["x"]  # [b, ...]
    z, noise = rng.normal(rng.at(state.key, state.step, "z"), (2, x.shape[0], cfg.z_dim))  # [b, z] each
    mean, f_stats = forward(F, state.f.params, state.f.stats, x)
    code = mean + cfg.noise * noise  # [b, z]

    def d_loss(d_params, fake):
        real_score, stats = forward(D, d_params, state.d.stats, x, code)  # [b]
        fake_score, _ = forward(D, d_params, state.d.stats, fake, z)  # [b]
        return losses.non_saturating.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    def gf_loss(params):  # F is in the distance alone: its gradient of the sum is that of its own loss
        fake, stats = forward(G, params[0], state.g.stats, z)
        guess, _ = forward(F, params[1], state.f.stats, fake)  # [b, z]
        fake_score, _ = forward(D, state.d.params, state.d.stats, fake, z)
        distance = ((guess - z) ** 2).sum(1).mean()
        return -fake_score.mean() + cfg.weight * distance, (distance, fake, stats)

    (g_grads, f_grads), (distance, fake, g_stats) = jax.grad(gf_loss, has_aux=True)((state.g.params, state.f.params))
    (d_value, (real_score, fake_score, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        state.d.params, fake
    )

    g, f = descend(state.g, g_grads, g_tx, g_stats), descend(state.f, f_grads, f_tx, f_stats)
    metrics = {"loss/d": d_value, "distance/z": distance}
    metrics |= {"score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, g, f, descend(state.d, d_grads, d_tx, d_stats)), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return 16 test images above their G(F(x)), and the mean squared difference of all."""
    G, F, *_ = build(cfg)
    if not test:
        return {}

    def reconstruct(x):
        code, _ = forward(F, state.f.params, state.f.stats, x[None], train=False)
        return forward(G, state.g.params, state.g.stats, code, train=False)[0][0]

    x = data.decode(test)["x"]
    again = jax.lax.map(reconstruct, x, batch_size=500)
    pictures = Picture(jnp.stack([x[:16], again[:16]]), rows=("test", "again"))
    return {"test/distance": ((again - x) ** 2).mean(), "reconstructions": pictures}


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
