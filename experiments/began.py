"""BEGAN: D is an autoencoder, kept in balance with G by a number k that grows while samples are too easy for it.

Berthelot, Schumm and Metz 2017, arXiv 1703.10717. With L(v) = |v - D(v)|, the mean over the pixels, D descends
L(x) - k L(G(z_d)) and G descends L(G(z_g)); then k moves by lambda_k (gamma L(x) - L(G(z_g))) and is kept in [0, 1]. A
low gamma gives few, smooth images, a high one many kinds. M = L(x) + |gamma L(x) - L(G(z_g))| measures convergence.

Differences from the paper:
1. Convolutions are DCGAN's, at the size of the data set, with the paper's ELUs (there they are 3x3, with
   nearest-neighbour upsampling).
2. Samples of images are cut off at -1 and 1.
3. Rates and gamma are higher, the rate is constant (the paper halves it where M stalls), and a run may end where M is
   low.
4. On points, which the paper has not, both nets are perceptrons and the code is one number, lest D copy everything;
   nothing but k then keeps G from dropping modes, and it does drop them.

    python -m experiments.began                      8x8 digits
    python -m experiments.began --dataset mnist
    python -m experiments.began --dataset ring8      samples of high quality, of one mode or a few
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.nets import autoencoder, mlp
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "digits"  # a toy, or any TFDS image set by name
    steps: Count = 8000  # joint updates of G and D
    batch_size: Count = 64  # rows of data, and of each noise, a step
    gamma: float = 1.0  # the balance: the error of samples over that of data
    lambda_k: float = 1e-2  # the rate of k
    z_dim: Count = 16  # the latent, uniform in [-1, 1]
    code: int = 16  # numbers in the code of D
    width: Count = 32  # units of a hidden layer (toys); channels at full resolution (images)
    lr: float = 5e-4  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment
    stop_below: float = 0.0  # the run ends where M falls below it; 0: never


PRESETS = {
    "default": Config(),
    "images": Config(),
    "ring": Config("ring8", 10_000, 256, gamma=0.9, z_dim=16, code=1, width=128, lr=1e-3),
    "grid": Config("grid25", 10_000, 256, gamma=0.9, z_dim=16, code=1, width=128, lr=1e-3),
    "tiny": Config("digits", 6, 8, z_dim=4, code=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    k: jax.Array  # how much D minds the samples, in [0, 1]


def build(cfg):
    shape = data.load(cfg.dataset).shape
    tx = optax.adam(cfg.lr, cfg.b1)
    if len(shape) == 1:
        return mlp.G(shape, cfg.width), autoencoder.MLP(cfg.code, cfg.width), tx
    return autoencoder.Decoder(shape, cfg.width), autoencoder.Conv(cfg.code, cfg.width, norm=False), tx


def latent(cfg, key, n):
    return rng.uniform(key, (n, cfg.z_dim), minval=-1)  # [b, z]


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, d = create(G, tx, rng.at(key, 0, "g"), z), create(D, tx, rng.at(key, 0, "d"), x)
    return State(jnp.int32(0), key, g, d, jnp.float32(0))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    x = batch["x"]  # [b, ...]
    z_d, z_g = (latent(cfg, rng.at(state.key, state.step, name), x.shape[0]) for name in ("z_d", "z_g"))

    def error(d_params, x):  # L: []
        (again, _), _ = forward(D, d_params, state.d.stats, x)
        return jnp.abs(again - x).mean()

    def d_loss(d_params):
        fake, _ = forward(G, state.g.params, state.g.stats, z_d)
        real = error(d_params, x)
        return real - state.k * error(d_params, fake), real

    def g_loss(g_params):
        fake, _ = forward(G, g_params, state.g.stats, z_g)
        return error(state.d.params, fake)

    (d_value, real), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    g_value, g_grads = jax.value_and_grad(g_loss)(state.g.params)

    balance = cfg.gamma * real - g_value  # 0 in equilibrium
    k = jnp.clip(state.k + cfg.lambda_k * balance, 0, 1)
    convergence = real + jnp.abs(balance)  # M
    metrics = {"loss/g": g_value, "loss/d": d_value, "error/real": real, "k": k, "convergence": convergence}
    metrics["stop"] = (convergence < cfg.stop_below).astype(jnp.float32)
    return State(state.step + 1, state.key, descend(state.g, g_grads, tx), descend(state.d, d_grads, tx), k), metrics


def generate(cfg, state, z):
    G, *_ = build(cfg)
    x = forward(G, state.g.params, state.g.stats, z, train=False)[0]
    return x if x.ndim == 2 else jnp.clip(x, -1, 1)


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
