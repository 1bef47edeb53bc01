"""WGAN: D is a critic without a sigmoid, kept Lipschitz by clipping its weights; its loss estimates a distance.

Arjovsky, Chintala and Bottou 2017, arXiv 1701.07875. The critic ascends E D(x) - E D(G(z)), with each weight put back
into [-c, c] after each of its updates; G descends -E D(G(z)). What the critic reaches, `wasserstein`, is up to a factor
the Wasserstein-1 distance between data and samples: it falls as samples improve.

Differences from the paper:
1. The critic's initial weights are clipped too.
2. Clip and rate are the paper's in the preset `paper` only.
3. RMSProp's decay is 0.99, as in the authors' code; the paper does not give it.
4. The critic always makes `critic_steps` updates, whose data a step's batch holds; in the authors' code it makes 100 at
   a time now and then.
5. On points the rate goes down to 0 in the second half of the run; at a constant one G never settles.

    python -m experiments.wgan                      the ring of eight Gaussians
    python -m experiments.wgan --dataset mnist      DCGAN nets
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, falling, forward, losses, rng
from gan_jax.nets import dcgan, mlp
from gan_jax.run import Count, Decay, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 10_000  # updates of G
    batch_size: Count = 256  # rows of data, and of noise, of each update
    critic_steps: Count = 5  # updates of the critic for each one of G
    clip: float = 0.1  # c, the largest size of a weight of the critic
    z_dim: Count = 2  # the latent, standard normal
    width: Count = 128  # units of a hidden layer (toys); channels at full resolution (images)
    lr: float = 5e-4  # RMSProp's rate for both
    falls: Share = 0.5  # the part of the steps, at their end, in which the rate goes down to 0
    decay: Decay = 0.99  # RMSProp's decay of the squared gradient


_images = Config("digits", steps=5000, batch_size=64, clip=0.01, z_dim=64, width=16, lr=2e-4, falls=0.0)
PRESETS = {
    "default": Config(),
    "images": _images,
    "paper": dataclasses.replace(_images, dataset="mnist", steps=100_000, z_dim=100, width=64, lr=5e-5),
    "tiny": Config("digits16", steps=6, batch_size=8, critic_steps=2, clip=0.01, z_dim=4, width=4, lr=2e-4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    shape = data.load(cfg.dataset).shape
    txs = rmsprop(cfg, cfg.steps), rmsprop(cfg, cfg.steps * cfg.critic_steps)
    if len(shape) == 1:
        return mlp.G(shape, cfg.width, 3), mlp.D(cfg.width, 3), *txs
    return dcgan.G(shape, cfg.width), dcgan.D(cfg.width), *txs


def rmsprop(cfg, updates):
    """Return the optimiser of a player that makes so many updates."""
    lr = falling(cfg.lr, cfg.falls, updates)
    return optax.rmsprop(lr, cfg.decay, eps=1e-8, eps_in_sqrt=False)  # in the root it would drown small gradients


def clipped(cfg, d):
    return d._replace(params=jax.tree.map(lambda w: jnp.clip(w, -cfg.clip, cfg.clip), d.params))


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    d = clipped(cfg, create(D, d_tx, rng.at(key, 0, "d"), x))
    return State(jnp.int32(0), key, create(G, g_tx, rng.at(key, 0, "g"), z), d)


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss = losses.wasserstein
    xs = (
        batch["x"].reshape(cfg.batch_size, cfg.critic_steps, *batch["x"].shape[1:]).swapaxes(0, 1)
    )  # [critic steps, b, ...]

    def noise(i):
        key = jax.random.fold_in(rng.at(state.key, state.step, "z"), i)
        return rng.normal(key, (cfg.batch_size, cfg.z_dim))  # [b, z]

    def critic_update(d, ix):
        i, x = ix
        fake, _ = forward(G, state.g.params, state.g.stats, noise(i))

        def d_loss(d_params):
            real_score, stats = forward(D, d_params, d.stats, x)  # [b]
            fake_score, _ = forward(D, d_params, d.stats, fake)  # [b]
            return loss.d(real_score, fake_score).mean(), stats

        (d_value, stats), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        return clipped(cfg, descend(d, grads, d_tx, stats)), -d_value

    def g_loss(g_params, d):
        fake, stats = forward(G, g_params, state.g.stats, noise(cfg.critic_steps))
        fake_score, _ = forward(D, d.params, d.stats, fake)
        return loss.g(None, fake_score).mean(), stats

    d, distance = jax.lax.scan(critic_update, state.d, (jnp.arange(cfg.critic_steps), xs))
    (g_value, g_stats), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params, d)
    metrics = {"wasserstein": distance[-1], "loss/g": g_value}
    return State(state.step + 1, state.key, descend(state.g, g_grads, g_tx, g_stats), d), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size * cfg.critic_steps, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
