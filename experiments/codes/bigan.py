"""BiGAN: an encoder E learns the inverse of G, because D sees pairs, (x, E(x)) or (G(z), z), and must not tell them.

Donahue, Krähenbühl and Darrell 2017, arXiv 1605.09782. D descends -log D(x, E(x)) - log(1 - D(G(z), z)); G and E
descend the same with the answers swapped. With --stochastic it is ALI (Dumoulin et al. 2017, arXiv 1606.00704): E(x) is
normal, with a mean and a deviation for each number, and so is z.

As in the authors' code z enters G at both hidden layers, no layer has a bias, no batch norm a gain, D's score begins as
0, and the rate falls in the second half of the training.

Differences from the paper and the authors' code (jeffdonahue/bigan):
1. Losses are not halved; to Adam that is the same, and the weight decay is twice theirs for it.
2. Except in the preset `paper`, hidden layers are half as wide and training is shorter.
3. On points there are biases and no batch norm.
4. Running averages of batch norm are those of the last batches (there means over 1,000 batches at the end).
5. ALI's own nets are convolutional and have dropout.

    python -m experiments bigan                        8x8 digits
    python -m experiments bigan --dataset mnist        1-NN in the codes of E against the labels
    python -m experiments bigan --dataset mnist --stochastic
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data, metrics
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import bigan
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "digits"  # a toy, or any TFDS image set by name
    steps: Count = 10_000  # joint updates of G, E and D
    batch_size: Count = 128  # rows of data, and of noise, a step
    z_dim: Count = 50  # the latent, uniform in [-1, 1); standard normal where E is stochastic
    stochastic: bool = False  # E draws z from a normal distribution (ALI)
    width: Count = 512  # units of a hidden layer
    lr: float = 2e-4  # Adam's rate for all three
    decay_from: int = 5000  # from this step on the rate falls, to a hundredth in as many steps again
    weight_decay: float = 5e-5  # times the weights, added to their gradient
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "paper": Config("mnist", steps=187_000, width=1024, decay_from=93_500),  # 200 epochs, and 200 more
    "ring": Config("ring8", batch_size=256, z_dim=2, width=128, lr=1e-3),
    "tiny": Config(steps=6, batch_size=8, z_dim=4, width=8, decay_from=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    e: Player
    d: Player


def build(cfg):
    shape = data.load(cfg.dataset).shape
    G, E, D = bigan.G(shape, cfg.width), bigan.E(cfg.z_dim, cfg.width, cfg.stochastic), bigan.D(cfg.width)
    rate = lambda count: cfg.lr * 0.01 ** jnp.maximum(0, count * (1 / cfg.decay_from) - 1)
    matrices = functools.partial(jax.tree.map, lambda a: a.ndim > 1)
    tx = optax.chain(optax.add_decayed_weights(cfg.weight_decay, matrices), optax.adam(rate, cfg.b1))
    return G, E, D, tx


def init(cfg, key):
    G, E, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, e = create(G, tx, rng.at(key, 0, "g"), z), create(E, tx, rng.at(key, 0, "e"), x, z)
    return State(jnp.int32(0), key, g, e, create(D, tx, rng.at(key, 0, "d"), x, z))


def latent(cfg, key, n):
    shape = (n, cfg.z_dim)
    return rng.normal(key, shape) if cfg.stochastic else rng.uniform(key, shape, minval=-1)  # [n, z]


def step(cfg, state, batch):
    G, E, D, tx = build(cfg)
    loss = losses.non_saturating
    x = batch["x"]  # [b, ...]
    z = latent(cfg, rng.at(state.key, state.step, "z"), x.shape[0])
    noise = rng.normal(rng.at(state.key, state.step, "noise"), z.shape)  # [b, z]

    def scores(d_params, fake, code):
        real_score, stats = forward(D, d_params, state.d.stats, x, code)  # [b]
        fake_score, _ = forward(D, d_params, state.d.stats, fake, z)  # [b]
        return real_score, fake_score, stats

    def d_loss(d_params, fake, code):
        real_score, fake_score, stats = scores(d_params, fake, code)
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    def ge_loss(params):
        fake, g_stats = forward(G, params[0], state.g.stats, z)
        (code, _), e_stats = forward(E, params[1], state.e.stats, x, noise)  # [b, z]
        real_score, fake_score, _ = scores(state.d.params, fake, code)
        g_value, e_value = loss.g(None, fake_score).mean(), loss.g(None, -real_score).mean()
        return g_value + e_value, (g_value, e_value, fake, code, g_stats, e_stats)

    (g_grads, e_grads), (g_value, e_value, fake, code, g_stats, e_stats) = jax.grad(ge_loss, has_aux=True)(
        (state.g.params, state.e.params)
    )
    (d_value, (real_score, fake_score, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        state.d.params, fake, code
    )

    g, e = descend(state.g, g_grads, tx, g_stats), descend(state.e, e_grads, tx, e_stats)
    metrics = {"loss/g": g_value, "loss/e": e_value, "loss/d": d_value}
    metrics |= {"score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, g, e, descend(state.d, d_grads, tx, d_stats)), metrics


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def encode(cfg, state, raw):
    """Return (the codes, what E says before it squashes them), both [n, z], of images uint8 [n, h, w, c]."""
    _, E, *_ = build(cfg)

    def one(x):
        x, no_noise = data.decode({"x": x})["x"][None], jnp.zeros((1, cfg.z_dim), jnp.float32)
        (z, mean), _ = forward(E, state.e.params, state.e.stats, x, no_noise, train=False)
        return z[0], mean[0]

    return jax.lax.map(one, raw, batch_size=500)


def measure(cfg, state, key, train, test):
    """Return test images above what G makes of their codes, and how often the nearest train image has their label."""
    G, *_ = build(cfg)
    if not test:
        return {}
    (codes, means), shown = encode(cfg, state, test["x"]), 16
    again = forward(G, state.g.params, state.g.stats, codes[:shown], train=False)[0]
    x = data.decode({"x": test["x"][:shown]})["x"]
    found = {"reconstruction": Picture(jnp.stack([x, again]), rows=("test", "again"))}
    if "y" in test and "y" in train:
        known = encode(cfg, state, train["x"])[1]  # [m, z]; nearest before the squashing, as in the authors' code
        squared = jnp.where(train["y"] >= 0, jnp.sum(known**2, 1), jnp.inf)  # of those that have a label
        nearest = jax.lax.map(lambda mean: jnp.argmin(squared - 2 * known @ mean), means, batch_size=200)  # [n]
        found["accuracy"] = metrics.agreement(train["y"][nearest], test["y"])
    return found


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
