"""medGAN: records of codes that a patient has or has not; G draws in the latent of an autoencoder, R decodes it.

Choi, Biswal, Malin, Duke, Stewart and Sun 2017, arXiv 1703.06490. First E and R learn to encode and decode records, by
the cross-entropy of every number. Then G draws codes of the autoencoder, R makes probabilities of them, and D tells
these from records of 0 and 1: d_steps updates of D, then one of G and R against it. D sees the mean of its batch, of
records or of fakes, beside each row (minibatch averaging), and G's layers have shortcuts, against collapse.

Differences from the paper and the authors' code (mp2893/medgan):
1. Other records than MIMIC-III's, and fewer updates; nets and rates are theirs.
2. D sees all of the training records. In the code, of the second epoch on, it sees the first tenth alone: a bug.
3. One Adam moves R in both phases; there each phase has its own.
4. Statistics of G's batch norm are running averages of training, not of a thousand batches after it.

    python -m experiments medgan                            codes of diabetic patients in hospital
    python -m experiments medgan --no-averaged              without minibatch averaging
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import tables
from gan_jax.nets import medgan
from gan_jax.run import Count, Picture, Setup, program

ROWS, SEEN = 2000, 0.02  # of records measured, of each kind; numbers are predicted that are 1 in a larger share of them


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "diabetes130_codes"  # rows of numbers that are 0 or 1
    steps: Count = 3000  # updates of E and R first, then of D, G and R
    pretrain: int = 1000  # updates of E and R
    batch_size: Count = 250  # rows of data, and of noise, of each update of D and G
    d_steps: Count = 2  # updates of D for each one of G
    averaged: bool = True  # D sees the mean of its batch
    z_dim: Count = 128  # the latent, standard normal, and the code
    width: Count = 256  # units of D's first layer; the second has half as many
    l2: float = 1e-3  # weight of half the squares of all parameters, for each player
    lr: float = 1e-3  # Adam's rate for all


PRESETS = {
    "default": Config(),
    "paper": Config(steps=17_200 + 9000, pretrain=17_200, batch_size=1000),  # 100 epochs of 100 rows, 500 of 1000
    "tiny": Config("binary_digits", steps=6, pretrain=1, batch_size=8, z_dim=4, width=8),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player
    r: Player  # the decoder
    g: Player
    d: Player


def build(cfg):
    (size,) = data.load(cfg.dataset).shape
    D = medgan.D(cfg.width, cfg.averaged)
    return medgan.E(cfg.z_dim), medgan.R(size), medgan.G(), D, optax.adam(cfg.lr)


def init(cfg, key):
    *nets, tx = build(cfg)
    x, z = jnp.zeros((1, *data.load(cfg.dataset).shape)), jnp.zeros((1, cfg.z_dim))
    given = zip("ergd", nets, (x, z, z, x), strict=True)
    return State(jnp.int32(0), key, *(create(net, tx, rng.at(key, 0, name), x) for name, net, x in given))


def decay(cfg, *params):
    """Return l2 / 2 times the squares of all parameters."""
    return cfg.l2 / 2 * sum((leaf**2).sum() for leaf in jax.tree.leaves(params))


def drawn(cfg, g, r_params, z, train):
    """Return the probabilities [b, d] that numbers are 1, and G's new statistics."""
    _, R, G, *_ = build(cfg)
    code, stats = forward(G, g.params, g.stats, z, train=train)
    return jax.nn.sigmoid(forward(R, r_params, {}, code)[0]), stats


def step(cfg, state, batch):
    E, R, _, D, tx = build(cfg)
    loss, x = losses.non_saturating, batch["x"]  # [d_steps b, d]
    noise = lambda i: rng.normal(jax.random.fold_in(rng.at(state.key, state.step, "z"), i), (cfg.batch_size, cfg.z_dim))

    def learn(state):
        def error(params):
            logits = forward(R, params[1], {}, forward(E, params[0], {}, x)[0])[0]
            value = optax.sigmoid_binary_cross_entropy(logits, x).sum(1).mean()
            return value + decay(cfg, params), value

        (_, value), (to_e, to_r) = jax.value_and_grad(error, has_aux=True)((state.e.params, state.r.params))
        return state._replace(e=descend(state.e, to_e, tx), r=descend(state.r, to_r, tx)), (value, *[0 * value] * 4)

    def play(state):
        xs = x.reshape(cfg.batch_size, cfg.d_steps, -1).swapaxes(0, 1)  # [d_steps, b, d]

        def d_update(d, ix):
            i, x = ix
            fake, _ = drawn(cfg, state.g, state.r.params, noise(i), train=False)

            def d_loss(params):
                real, made = (forward(D, params, {}, rows)[0] for rows in (x, fake))
                value, chances = loss.d(real, made).mean(), [jax.nn.sigmoid(s).mean() for s in (real, made)]
                return value + decay(cfg, params), (value, *chances)

            grads, found = jax.grad(d_loss, has_aux=True)(d.params)
            return descend(d, grads, tx), found

        d, found = jax.lax.scan(d_update, state.d, (jnp.arange(cfg.d_steps), xs))

        def g_loss(params):
            made, stats = drawn(cfg, state.g._replace(params=params[0]), params[1], noise(cfg.d_steps), train=True)
            value = loss.g(None, forward(D, d.params, {}, made)[0]).mean()
            return value + decay(cfg, params), (value, stats)

        (_, (value, stats)), (to_g, to_r) = jax.value_and_grad(g_loss, has_aux=True)((state.g.params, state.r.params))
        state = state._replace(r=descend(state.r, to_r, tx), g=descend(state.g, to_g, tx, stats), d=d)
        return state, (0 * value, value, *(of[-1] for of in found))

    state, found = jax.lax.cond(state.step < cfg.pretrain, learn, play, state)
    names = "loss/reconstruction", "loss/g", "loss/d", "p/real", "p/fake"  # 0 where that is not learned
    return state._replace(step=state.step + 1), dict(zip(names, found, strict=True))


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    return jnp.round(drawn(cfg, state.g, state.r.params, z, train=False)[0])


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how well samples stand for held-out records, beside training records and numbers drawn one by one."""
    if not train or not test:
        return {}
    known, real = train["x"][:ROWS], test["x"][:ROWS]
    alone = (rng.uniform(rng.at(key, 0, "alone"), known.shape) < train["x"].mean(0, keepdims=True)).astype(real.dtype)
    made = {"g": sample(cfg, state, key, len(known)), "alone": alone, "train": known}
    often, found, each = real.mean(0) > SEEN, {}, {}
    for name, x in made.items():
        found[f"{name}/probability"], found[f"{name}/most"] = tables.shares(real, x)
        each[name] = tables.f1(tables.predictors(x), real)
        found |= {f"{name}/f1": (each[name] * often).sum() / often.sum(), f"{name}/ones": x.sum(1).mean()}
    for name, x in (made | {"train": real}).items():  # records that were held out, in the place of training records
        away = tables.nearest(x, train["x"])
        found |= {f"{name}/away": away.mean(), f"{name}/copies": (away == 0).mean()}
    pair = lambda x, y: jnp.array([[x, x], [x, y]]).swapaxes(1, 2)  # [2, n, 2]: the line on which they agree, and all
    shown = lambda of, *xy: Picture(pair(*xy), "points", ("equal", "codes"), (f"{of}, by data", f"{of}, by samples"))
    found |= {name: jnp.nan_to_num(value) for name, value in found.items()}
    found["probability"] = shown("share", real.mean(0), made["g"].mean(0))
    return found | {"prediction": shown("F1", each["train"], each["g"])}


def setup(cfg):
    source = data.load(cfg.dataset)
    if source.kind == "row" and not np.isin(source.whole()["x"], (0, 1)).all():
        raise UserError(f"{source.name} has rows of other numbers than 0 and 1: choose another set.")
    return Setup(source, cfg.batch_size * cfg.d_steps, cfg.steps, kinds=("row",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
