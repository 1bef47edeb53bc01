"""InfoGAN: part of the latent is a code, and D's trunk carries a head Q that must read it off the image again.

Chen, Duan, Houthooft, Schulman, Sutskever and Abbeel 2016, arXiv 1606.03657. G and Q ascend lambda * L_I, where
L_I = H(c) + E log Q(c | G(z, c)) is a lower bound of the information that the image keeps of the code c. As in the
authors' code, D, Q and their trunk have one optimiser, and Q takes the continuous codes as normal with variance 1.

Differences from the paper:
1. Both nets are updated at once, from the same noise (in the authors' code G's update follows D's, with new noise).
2. Images lie in [-1, 1], G ends in tanh (there: [0, 1], sigmoid).
3. Except in the preset `paper` the nets are a quarter as wide and D's rate is G's (there: a fifth of it).
4. On points the nets are perceptrons.

    python -m experiments infogan                                 8x8 digits
    python -m experiments infogan --dataset mnist --seeds 8       which category says which digit, and how often it errs
    python -m experiments infogan --dataset ring8                 a category for each Gaussian
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import infogan, mlp
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "digits"  # a toy, or any TFDS image set by name
    steps: Count = 5000  # joint updates of G and of D with Q
    batch_size: Count = 128  # rows of data, and of noise, a step
    z_dim: Count = 62  # the noise, uniform in [-1, 1), that is no code
    categories: Count = 10  # values of the categorical code, all equally likely
    continuous: int = 2  # how many continuous codes, uniform in [-1, 1)
    info: float = 1.0  # lambda, the weight of the bound on the information
    width: Count = 16  # channels at half resolution (images), units of a hidden layer (points)
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D and Q
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "paper": Config("mnist", width=64, d_lr=2e-4),
    "ring": Config("ring8", steps=10_000, batch_size=256, z_dim=16, categories=8, continuous=1, width=128),
    "tiny": Config("digits", steps=6, batch_size=8, z_dim=4, width=4, g_lr=2e-4, d_lr=2e-4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player  # with Q


def build(cfg):
    shape, codes = data.load(cfg.dataset).shape, cfg.categories + cfg.continuous
    if len(shape) == 1:
        G, D = mlp.G(shape, cfg.width), infogan.PointD(codes, cfg.width)
    else:
        G, D = infogan.G(shape, cfg.width), infogan.D(codes, cfg.width)
    return G, D, *(optax.adam(lr, cfg.b1) for lr in (cfg.g_lr, cfg.d_lr))


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = joined(latent(cfg, key, 1)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    return State(jnp.int32(0), key, create(G, g_tx, rng.at(key, 0, "g"), z), create(D, d_tx, rng.at(key, 0, "d"), x))


def latent(cfg, key, n):
    """Return the noise z [n, z] and the code [n, categories + continuous]."""
    noise, which, where = jax.random.split(key, 3)
    drawn = jax.random.randint(which, (n,), 0, cfg.categories, jnp.int32)
    category = jax.nn.one_hot(drawn, cfg.categories, dtype=jnp.float32)  # [n, categories]
    code = jnp.concatenate([category, rng.uniform(where, (n, cfg.continuous), minval=-1)], 1)
    return {"z": rng.uniform(noise, (n, cfg.z_dim), minval=-1), "code": code}


def joined(z):
    return jnp.concatenate([z["z"], z["code"]], 1)  # all that G sees: [n, z + categories + continuous]


def information(cfg, q, code):
    """Return L_I for each row, in nats, of the categories [b] and of the continuous codes [b]."""
    (logits, mean), (category, c) = (jnp.split(a, [cfg.categories], 1) for a in (q, code))
    discrete = math.log(cfg.categories) + jnp.sum(jax.nn.log_softmax(logits) * category, 1)
    log_q = -0.5 * (c - mean) ** 2 - 0.5 * math.log(2 * math.pi)  # [b, continuous]
    return discrete, jnp.sum(math.log(2) + log_q, 1)


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss = losses.non_saturating
    x = batch["x"]  # [b, ...]
    drawn = latent(cfg, rng.at(state.key, state.step, "z"), x.shape[0])
    z, code = joined(drawn), drawn["code"]

    def d_loss(d_params, fake):
        (real_score, _), stats = forward(D, d_params, state.d.stats, x)  # [b]
        (fake_score, q), _ = forward(D, d_params, state.d.stats, fake)  # [b], [b, codes]
        info = information(cfg, q, code)
        value = loss.d(real_score, fake_score) - cfg.info * sum(info)
        return value.mean(), (real_score, fake_score, info, stats)

    def g_loss(g_params):
        fake, stats = forward(G, g_params, state.g.stats, z)
        (fake_score, q), _ = forward(D, state.d.params, state.d.stats, fake)
        value = loss.g(None, fake_score) - cfg.info * sum(information(cfg, q, code))
        return value.mean(), (fake, stats)

    (g_value, (fake, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (real_score, fake_score, info, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        state.d.params, fake
    )

    g, d = descend(state.g, g_grads, g_tx, g_stats), descend(state.d, d_grads, d_tx, d_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real_score.mean(), "score/fake": fake_score.mean()}
    metrics |= {"p/real": jax.nn.sigmoid(real_score).mean(), "p/fake": jax.nn.sigmoid(fake_score).mean()}
    metrics |= {"info/category": info[0].mean(), "info/continuous": info[1].mean()}
    return State(state.step + 1, state.key, g, d), metrics


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, joined(z), train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how often the category is not the label's in the best assignment, and what each continuous code does."""
    G, D, *_ = build(cfg)
    found, columns = {}, 10
    noise = jnp.tile(latent(cfg, key, 1)["z"], (cfg.categories * columns, 1))
    category = jnp.repeat(jnp.eye(cfg.categories, dtype=jnp.float32), columns, 0)
    for i in range(cfg.continuous):  # a row for each category, and the code from -2 to 2 along it
        moved = jnp.tile(jnp.linspace(-2, 2, columns, dtype=jnp.float32), cfg.categories)
        c = jnp.zeros((category.shape[0], cfg.continuous), jnp.float32).at[:, i].set(moved)
        z = jnp.concatenate([noise, category, c], 1)
        images = forward(G, state.g.params, state.g.stats, z, train=False)[0]
        rows = tuple(f"category {c}" for c in range(cfg.categories))
        found[f"code{i + 1}"] = Picture(images.reshape(cfg.categories, columns, *images.shape[1:]), rows=rows)
    if data.load(cfg.dataset).classes and "y" in test:

        def says(x):  # [h, w, c] -> the likeliest category
            (_, q), _ = forward(D, state.d.params, state.d.stats, data.decode({"x": x})["x"][None], train=False)
            return q[0, : cfg.categories].argmax()

        said = jax.lax.map(says, test["x"], batch_size=500)  # [n]
        known = test["y"] >= 0  # the others have no label
        table = jnp.zeros((cfg.categories, data.load(cfg.dataset).classes), jnp.float32).at[said, test["y"]].add(known)
        best = optax.assignment.hungarian_algorithm(-table)
        found["error"] = 1 - table[best].sum() / known.sum()
    return found


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
