"""Fraud: an autoencoder learns what records are like, G makes codes of frauds, and D tells frauds from good records.

Zheng, Zhou, Sheng, Xue and Chen 2018, "Generative adversarial network based telecom fraud detection at the receiving
bank" (Neural Networks 102; none on arXiv). First E and R learn to restore records of which numbers were lost, a
denoising autoencoder. Then D tells the codes of good records, of frauds, and of what G makes from each other, and G
makes codes that D takes for frauds. D's log p(fraud) - log p(good) of a record's code is its score. The rarest class
of a set is fraud. Each seed holds out records of its own, of both kinds alike; `measure` says how well the scores, and
the autoencoder's error alone, put those frauds that were held out before good records.

Differences from the paper, whose text is behind a pay wall (the abstract is all that we could read):
1. Nets, losses, sizes and rates are ours; so is that G makes codes of frauds alone, and that E rests while D plays.
2. Each kind of record weighs the same in D's loss, however rare it is in a batch; made codes weigh `made`.
3. Public sets: credits of which 30 % went bad (the rare class, though hardly a rare one; `rare` shows D fifteen of
   these), and card payments of which six in 2,000 are frauds.
4. Columns are standardised over all records, those that are held out, too.

    python -m experiments fraud --seeds 20                   bad credits, over twenty splits
    python -m experiments fraud --preset cards --seeds 20    frauds with cards: three are seen, three are sought
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import ranking
from gan_jax.nets import mlp
from gan_jax.run import Count, Picture, Setup, Share, program

GOOD, FRAUD, MADE = range(3)  # what D says


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "german_credit_numeric"  # rows with labels y; the rarest class is fraud
    held: Share = 0.5  # share of the records, of both kinds alike, that a seed holds out
    few: int = 0  # frauds that are trained on, at most; 0: all that are not held out
    steps: Count = 2000  # updates of E and R first, then of D and G
    pretrain: int = 1500  # updates of E and R
    batch_size: Count = 100  # records, and made codes, a step
    damage: Share = 0.2  # share of a record's numbers that the autoencoder loses
    made: float = 1.0  # weight of made codes in D's loss; with 0, D learns from records alone
    z_dim: Count = 8  # the latent, standard normal
    code: Count = 16  # numbers of a code
    width: Count = 64  # units of a hidden layer
    l2: float = 0.1  # weight of half the squares of D's parameters
    lr: float = 1e-3  # Adam's rate for all


PRESETS = {
    "default": Config(),
    "rare": Config(few=15),
    "cards": Config("credit_card_fraud_sample", code=30),
    "tiny": Config("binary_digits", steps=6, pretrain=1, batch_size=8, z_dim=4, code=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player
    r: Player  # the decoder
    g: Player
    d: Player


def source_of(cfg):
    return data.redealt(data.standardised(data.load(cfg.dataset)), cfg.held, cfg.few)


def build(cfg):
    shape = data.load(cfg.dataset).shape
    E, R = mlp.G((cfg.code,), cfg.width, 1), mlp.G(shape, cfg.width, 1)
    return E, R, mlp.G((cfg.code,), cfg.width), mlp.G((3,), cfg.width, 1), optax.adam(cfg.lr)


def init(cfg, key):
    *nets, tx = build(cfg)
    x, code, z = (jnp.zeros((1, n)) for n in (*data.load(cfg.dataset).shape, cfg.code, cfg.z_dim))
    given = zip("ergd", nets, (x, code, z, code), strict=True)
    return State(jnp.int32(0), key, *(create(net, tx, rng.at(key, 0, name), x) for name, net, x in given))


def log_p(D, params, code):
    """Return what D says of codes [b, c]: [b, 3], by GOOD, FRAUD and MADE."""
    return jax.nn.log_softmax(forward(D, params, {}, code)[0])


def step(cfg, state, batch):
    E, R, G, D, tx = build(cfg)
    x, fraud = batch["x"], batch["y"] == data.rarest(source_of(cfg))  # [b, d], [b]
    key = functools.partial(rng.at, state.key, state.step)

    def learn(state):
        kept = rng.uniform(key("damage"), x.shape) >= cfg.damage

        def error(params):
            restored, _ = forward(R, params[1], {}, forward(E, params[0], {}, x * kept)[0])
            return ((restored - x) ** 2).mean()

        value, (to_e, to_r) = jax.value_and_grad(error)((state.e.params, state.r.params))
        return state._replace(e=descend(state.e, to_e, tx), r=descend(state.r, to_r, tx)), (value, *[0 * value] * 4)

    def play(state):
        code, z = forward(E, state.e.params, {}, x)[0], rng.normal(key("z"), (len(x), cfg.z_dim))

        def g_loss(params):
            made, _ = forward(G, params, {}, z)
            return -log_p(D, state.d.params, made)[:, FRAUD].mean(), made

        def d_loss(params):
            real, fake = log_p(D, params, code), log_p(D, params, made)
            of = lambda what, rows: -(real[:, what] * rows).sum() / jnp.maximum(rows.sum(), 1)
            value = of(GOOD, ~fraud) + of(FRAUD, fraud) - cfg.made * fake[:, MADE].mean()
            squares = sum((leaf**2).sum() for leaf in jax.tree.leaves(params))
            return value + cfg.l2 / 2 * squares, (value, *(1 - jnp.exp(p[:, MADE]).mean() for p in (real, fake)))

        (g_value, made), to_g = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
        to_d, found = jax.grad(d_loss, has_aux=True)(state.d.params)
        return state._replace(g=descend(state.g, to_g, tx), d=descend(state.d, to_d, tx)), (
            0 * g_value,
            g_value,
            *found,
        )

    state, found = jax.lax.cond(state.step < cfg.pretrain, learn, play, state)
    names = "loss/reconstruction", "loss/g", "loss/d", "p/real", "p/fake"  # 0 where that is not learned
    return state._replace(step=state.step + 1), dict(zip(names, found, strict=True))


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    _, R, G, *_ = build(cfg)
    return forward(R, state.r.params, {}, forward(G, state.g.params, {}, z)[0])[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how well frauds that were held out are found by D, and by the autoencoder's error; pictures of them."""
    if not test:
        return {}
    E, R, _, D, _ = build(cfg)
    source = source_of(cfg)
    _, (frauds, good) = data.dealt(source, state.key, cfg.held, cfg.few)
    rows = jnp.concatenate([frauds, good])
    x, fraud = source.make({"x": test["x"][rows]}, key, 0, len(rows))["x"], jnp.arange(len(rows)) < len(frauds)
    code, _ = forward(E, state.e.params, {}, x)
    said = log_p(D, state.d.params, code)
    scores = {"d": said[:, FRAUD] - said[:, GOOD]}
    scores["autoencoder"] = ((forward(R, state.r.params, {}, code)[0] - x) ** 2).mean(1)
    found = {"share": fraud.mean()}
    for name, score in scores.items():
        found[f"{name}/precision"] = ranking.average_precision(score, fraud)
        found[f"{name}/caught"] = ranking.caught(score, fraud, 0.1)
    found = {name: jnp.nan_to_num(value) for name, value in found.items()}
    pairs = jnp.stack([x[: len(frauds)], sample(cfg, state, key, len(frauds))])
    return found | {"frauds": Picture(pairs, kind="row", rows=("held out", "made"))}


def setup(cfg):
    return Setup(source_of(cfg), cfg.batch_size, cfg.steps, kinds=("row",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
