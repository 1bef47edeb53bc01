"""SAGAN: every pixel of a hidden layer, in G and in D, sees all the others by self-attention.

Zhang, Goodfellow, Metaxas and Odena 2019, arXiv 1805.08318. Beside its 3x3 neighbours a pixel takes in a mean of the
values of all pixels, weighted by how well their keys suit its query, times a gain that is learned from 0. G has
spectral norm as D has, and each has a rate of its own. Else the game is that of SN-GAN with a projection: D descends
max(0, 1 - D(x, y)) + max(0, 1 + D(G(z, y'), y')), G -D(G(z, y'), y'). A step's batch holds the data of all its updates
of D. `paper` has StudioGAN's nets and numbers.

Differences from the paper and from StudioGAN (POSTECH-CVLab/PyTorch-StudioGAN at 947b35e):
1. As StudioGAN has it: Adam's rates 2e-4 with b1 0.5, five updates of D (the paper: 1e-4 for G and 4e-4 for D, b1 0,
   one update), nets for 32x32; keys and values are pooled (as in the authors' code, not in the paper).
2. Singular vectors move by one power iteration with each update of their net (StudioGAN: with each forward pass), and
   G's batch norm keeps statistics of its own updates (StudioGAN: of all its passes).
3. G's blocks have no biases, which matter little before batch norms.
4. Pictures are not mirrored. The default is smaller and has other rates.

    python -m experiments sagan                              handwritten digits of 16x16, each label in a row
    python -m experiments sagan --dataset cifar10_subset     32x32 in colours, slower
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import classifier, labels
from gan_jax.nets import biggan
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps"  # images with labels
    steps: Count = 4000  # updates of G
    batch_size: Count = 32  # rows of data, and of noise, of each update
    d_steps: Count = 2  # updates of D for each one of G
    z_dim: Count = 64  # the latent, standard normal
    width: Count = 8  # a quarter of G's channels, half of D's
    g_lr: float = 2e-4  # Adam's rate for G
    d_lr: float = 5e-4  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment
    b2: Decay = 0.999  # Adam's decay of the second moment


PRESETS = {
    "default": Config(),
    "paper": Config("cifar10", steps=100_000, batch_size=64, d_steps=5, z_dim=128, width=64, g_lr=2e-4, d_lr=2e-4),
    "tiny": Config("digits", steps=6, batch_size=8, d_steps=2, z_dim=4, width=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    source = data.load(cfg.dataset)
    G = biggan.G(source.shape, source.classes, cfg.width, spectral=True, attention=True)
    D = biggan.D(source.classes, cfg.width, attention=True)
    return G, D, *(optax.adam(lr, cfg.b1, cfg.b2) for lr in (cfg.g_lr, cfg.d_lr))


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    x, y, z = jnp.zeros((1, *data.load(cfg.dataset).shape)), jnp.zeros(1, jnp.int32), jnp.zeros((1, cfg.z_dim))
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z, y), create(D, d_tx, rng.at(key, 0, "d"), x, y)
    return State(jnp.int32(0), key, g, d)


def latent(cfg, key, n):
    """Return noise z [n, z] and labels y [n], all equally likely."""
    noise, which = jax.random.split(key)
    y = jax.random.randint(which, (n,), 0, data.load(cfg.dataset).classes, jnp.int32)
    return {"z": rng.normal(noise, (n, cfg.z_dim)), "y": y}


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss = losses.hinge
    rows = lambda a: a.reshape(cfg.batch_size, cfg.d_steps, *a.shape[1:]).swapaxes(0, 1)  # [updates, b, ...]
    pairs = lambda a, b: jnp.stack([a, b], 1).reshape(-1, *a.shape[1:])  # [2 b, ...]: what D says of a row is its own

    def drawn(g_params, i):
        z = latent(cfg, jax.random.fold_in(rng.at(state.key, state.step, "z"), i), cfg.batch_size)
        fake, stats = forward(G, g_params, state.g.stats, z["z"], z["y"])
        return fake, z["y"], stats

    def d_update(d, ixy):
        i, x, y = ixy
        fake, asked, _ = drawn(state.g.params, i)

        def d_loss(params):
            score, stats = forward(D, params, d.stats, pairs(x, fake), pairs(y, asked))
            real_score, fake_score = score.reshape(-1, 2).T  # [b], [b]
            return loss.d(real_score, fake_score).mean(), (stats, real_score.mean(), fake_score.mean())

        (value, (stats, *scores)), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, d_tx, stats), (value, *scores)

    def g_loss(g_params, d):
        fake, asked, stats = drawn(g_params, cfg.d_steps)
        fake_score, _ = forward(D, d.params, d.stats, fake, asked)
        return loss.g(None, fake_score).mean(), stats

    d, said = jax.lax.scan(d_update, state.d, (jnp.arange(cfg.d_steps), rows(batch["x"]), rows(batch["y"])))
    (g_value, g_stats), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params, d)
    metrics = dict(zip(("loss/d", "mean/real", "mean/fake"), (a[-1] for a in said), strict=True))
    g = descend(state.g, g_grads, g_tx, g_stats)
    gains = {f"gain/{name}": player.params["Attention_0"]["gain"] for name, player in (("g", g), ("d", d))}
    return State(state.step + 1, state.key, g, d), {"loss/g": g_value} | metrics | gains


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z["z"], z["y"], train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how often the classifier sees the label that was asked for, and a picture with a row for each label."""
    source = data.load(cfg.dataset)
    of = lambda key, y: generate(cfg, state, {"z": rng.normal(key, (y.size, cfg.z_dim)), "y": y})
    x = labels.asked(of, key, source.classes)  # [classes, n, h, w, c]
    found = {"each_label": Picture(x[:, :10], rows=source.row["y"].names or tuple(map(str, range(source.classes))))}
    if test:
        said = classifier.load(source)(x.reshape(-1, *x.shape[2:])).argmax(1)
        found["agreement"] = labels.agreement(said, jnp.repeat(jnp.arange(source.classes), x.shape[1]))
    return found


def setup(cfg):
    source = data.load(cfg.dataset)
    if not source.classes:
        raise UserError(f"{cfg.dataset} has no labels; choose a set that has.")
    judges = (source,) if source.test else ()
    return Setup(data.labelled(source), cfg.batch_size * cfg.d_steps, cfg.steps, judges, ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
