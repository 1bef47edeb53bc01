"""Controllable invariance: a code that says what is asked, and nothing of a nuisance that a discriminator looks for.

Xie, Dai, Du, Hovy and Neubig 2017, arXiv 1705.11122. E makes a code h of x and of the nuisance s itself, M tells the
label y from it, and D the nuisance: min over E and M, max over D of E[-log M(y|h) + gamma log D(s|h)]. Age must not
count in who is given a credit; sunglasses must not in whose face it is.

`measure` trains new classifiers on codes that rest, for y and for s, beside the same on x itself and on nothing.

Differences from the paper:
1. The nuisance of the credits is whether one is older than 25 years, and its column is not in x; faces have their
   sunglasses on or off (there: the light). Splits are our own.
2. Each step has some updates of D on the codes of a batch, then one of E and M together against the new D, by Adam.
3. What is told of s is what a net of one hidden layer learns from codes, beside what D says.
4. R, which is not in the paper, draws records of codes with their s; nothing of its loss reaches E. Samples are what it
   draws of held-out records whose s was changed: what stays as it was is in the code.

    python -m experiments invariance                       credits; age is the nuisance
    python -m experiments invariance --gamma 0             the same without an adversary
    python -m experiments invariance --preset faces        28 persons, with or without sunglasses
"""

import dataclasses
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data, metrics
from gan_jax.errors import UserError
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import probe
from gan_jax.nets import mlp
from gan_jax.run import Count, Decay, Picture, Setup, program

entropy = optax.softmax_cross_entropy_with_integer_labels


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "german_credit_numeric,split=train[:70%],test=train[70%:]"  # rows or images with labels y
    nuisance: str = "9>25"  # whether a column of rows, counted from 0, is above a number; "s": the set's own label s
    steps: Count = 300  # updates of E and M
    d_steps: Count = 5  # updates of D before each of them
    batch_size: Count = 64  # records a step
    gamma: float = 1.0  # weight of what D says of the nuisance
    code: Count = 16  # numbers of a code
    width: Count = 64  # units of a hidden layer
    lr: float = 2e-3  # Adam's rate for all
    b1: Decay = 0.5  # Adam's decay of the first moment
    l2: float = 1e-2  # weight of half the squares of E's and M's parameters


FACES = "cmu_faces,y=person:label,s=sunglasses,size=32,split=train[:80%],test=train[80%:]"
PRESETS = {
    "default": Config(),
    "faces": Config(FACES, "s", steps=800, code=32, width=128, l2=1e-3),
    "tiny": Config("binary_digits", "20>0.5", steps=6, d_steps=2, batch_size=8, code=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player
    m: Player
    d: Player
    r: Player


def source(cfg):  # x, y and the nuisance s
    of, found = data.load(cfg.dataset), re.fullmatch(r"(\d+)>(-?[\d.]+)", cfg.nuisance)
    if found:
        return data.standardised(data.aside(of, int(found[1]), float(found[2])))
    if cfg.nuisance != "s" or "s" not in of.row or of.row["s"].kind != "label":
        raise UserError(
            f'{cfg.dataset} has no nuisance {cfg.nuisance!r}: say s=FEATURE in the data set, and s, or "9>25".'
        )
    return of


def build(cfg):
    of, deep = source(cfg), {"width": cfg.width, "depth": 1}
    E, M, D = (mlp.G((n,), **deep) for n in (cfg.code, of.classes, of.row["s"].classes))
    return E, M, D, mlp.G(of.shape, **deep), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    E, M, D, R, tx = build(cfg)
    of = source(cfg)
    h, s = jnp.zeros((1, cfg.code)), jnp.zeros(1, jnp.int32)
    e = create(E, tx, rng.at(key, 0, "e"), told(cfg, jnp.zeros((1, *of.shape)), s))
    m, d = create(M, tx, rng.at(key, 0, "m"), h), create(D, tx, rng.at(key, 0, "d"), h)
    return State(jnp.int32(0), key, e, m, d, create(R, tx, rng.at(key, 0, "r"), told(cfg, h, s)))


def told(cfg, x, s):
    """Return x [b, ...] as rows, beside the nuisance s [b] as one-hot rows."""
    return jnp.concatenate([x.reshape(len(x), -1), jax.nn.one_hot(s, source(cfg).row["s"].classes, dtype=x.dtype)], 1)


def step(cfg, state, batch):
    E, M, D, R, tx = build(cfg)
    x, y, s = batch["x"], batch["y"], batch["s"]
    encode = lambda params: forward(E, params, {}, told(cfg, x, s))[0]
    h, to_e = jax.vjp(encode, state.e.params)  # [b, code]
    squares = lambda params: cfg.l2 / 2 * sum((leaf**2).sum() for leaf in jax.tree.leaves(params))

    def d_loss(params):
        said, _ = forward(D, params, {}, h)
        return entropy(said, s).mean(), (said.argmax(1) == s).mean(dtype=jnp.float32)

    def d_update(d, _):
        found, grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, tx), found

    d, (d_value, d_right) = jax.lax.scan(d_update, state.d, length=cfg.d_steps)

    def loss(params, h):
        y_value = entropy(forward(M, params, {}, h)[0], y).mean()
        s_value = entropy(forward(D, d.params, {}, h)[0], s).mean()  # of the new D
        return y_value - cfg.gamma * s_value + squares(params), (y_value, s_value)

    (_, (y_value, s_value)), (to_m, to_h) = jax.value_and_grad(loss, (0, 1), has_aux=True)(state.m.params, h)
    (of_h,), of_squares = to_e(to_h), jax.grad(squares)(state.e.params)
    e = descend(state.e, jax.tree.map(jnp.add, of_h, of_squares), tx)

    def r_loss(params):
        return ((forward(R, params, {}, told(cfg, h, s))[0] - x) ** 2).mean()

    r_value, to_r = jax.value_and_grad(r_loss)(state.r.params)
    players = e, descend(state.m, to_m, tx), d, descend(state.r, to_r, tx)
    metrics = {"loss/y": y_value, "loss/d": d_value[-1], "nuisance": s_value, "d/right": d_right[-1], "loss/r": r_value}
    return State(state.step + 1, state.key, *players), metrics


def coded(cfg, state, x, s):
    """Return the codes [n, code] of records."""
    return forward(build(cfg)[0], state.e.params, {}, told(cfg, x, s))[0]


def redrawn(cfg, state, x, s, other):
    return forward(build(cfg)[3], state.r.params, {}, told(cfg, coded(cfg, state, x, s), other))[0]


def sample(cfg, state, key, n):
    rows, classes = data.examples(source(cfg), key, n), source(cfg).row["s"].classes
    return redrawn(cfg, state, rows["x"], rows["s"], (rows["s"] + 1) % classes)


def measure(cfg, state, key, train, test):
    """Return how often y and s are told, from codes, from x and by the most frequent one; faces with s changed."""
    of = source(cfg)
    if not train or not test:
        return {}
    make = lambda split, raw: split.make(raw, key, 0, len(jax.tree.leaves(raw)[0]))
    rows, held = make(of, jax.tree.map(lambda a: a[:2000], train)), make(of.test, test)
    seen = {"code": [coded(cfg, state, r["x"], r["s"]) for r in (rows, held)]}
    seen["x"] = [r["x"].reshape(len(r["x"]), -1) for r in (rows, held)]
    said, _ = forward(build(cfg)[1], state.m.params, {}, seen["code"][1])
    found = {"y/accuracy": metrics.agreement(said.argmax(1), held["y"])} if "y" in held else {}
    for name in [name for name in ("y", "s") if name in held]:
        known, asked, classes = rows[name], held[name], of.row[name].classes
        found[f"{name}/most frequent"] = probe.most_frequent(known, asked, classes)
        for what, (codes, others) in seen.items():
            found[f"{name}/from {what}"] = probe.accuracy(rng.at(key, 0, what), codes, known, others, asked, classes)
    x, s = held["x"][:10], held["s"][:10]
    drawn = [x, redrawn(cfg, state, x, s, s), redrawn(cfg, state, x, s, (s + 1) % of.row["s"].classes)]
    return found | {"codes": Picture(jnp.stack(drawn), rows=("held out", "drawn of its code", "with the other s"))}


def setup(cfg):
    return Setup(data.labelled(data.labelled(source(cfg)), "s"), cfg.batch_size, cfg.steps, kinds=("row", "image"))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
