"""Triangle GAN: two translators, most of whose data have no pairs, and two Ds that tell three kinds of pairs apart.

Gan, Chen, Wang, Pu, Zhang, Liu, Li and Carin 2017, arXiv 1709.06548. G_x makes x out of its counterpart s, G_s makes s
out of x. D_1 tells real pairs (x, s), of which there are few, from made ones, (G_x(s), s) and (x, G_s(x)); D_2 tells
these two from each other. G_x and G_s descend -log D_1 of what they make, and each -log of what D_2 says of the other.

s is x turned by a quarter, so that what a translation should have been is known; of points it is one half of their
numbers, x the other. `measure` asks the classifier of x whether translated test digits are the same digits.

Differences from the paper, whose authors' code decides where it is silent:
1. D_1 and D_2 make their updates with one draw of the fakes (there: with new dropout in G each time).
2. Unpaired batches are shuffled (there: as many records as a batch has, one after the other, from a random place on).
3. Pictures lie in [-1, 1] (there: [0, 1]), and the Adams are four instead of two, which is the same.
4. The default is smaller and faster: a quarter of the width, 1,000 pairs, two updates of the Ds a step (there: 5), and
   rates of 1e-3 and 3e-4 (there: 1e-4).
5. The toy is a ring, not four bars, and has rates of 3e-4 instead of 1e-5.

    python -m experiments triangle                     MNIST's digits, upright from lying, with 1,000 pairs
    python -m experiments triangle --preset toy        one coordinate of a ring from the other
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.nn import softplus

from gan_jax import UserError, data, metrics
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import classifier
from gan_jax.nets import triangle
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # x: any TFDS image set by name, or a toy
    pairs: int = 1000  # real pairs that are known, equally many of each class; 0, and of a toy: all
    steps: Count = 8000  # updates of the two translators
    d_steps: Count = 2  # updates of the two Ds a step, on one batch
    batch_size: Count = 32  # pairs, x and s a step
    width: Count = 8  # channels of the first layer; units of a hidden layer (points)
    g_lr: float = 1e-3  # Adam's rate for the translators
    d_lr: float = 3e-4  # Adam's rate for D_1 and D_2
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "paper": Config(pairs=100, steps=100_000, d_steps=5, width=32, g_lr=1e-4, d_lr=1e-4),
    "toy": Config("ring8", 0, steps=10_000, d_steps=3, batch_size=512, width=128, g_lr=3e-4, b1=0.9),
    "tiny": Config("digits", 20, steps=6, d_steps=2, batch_size=8, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g_x: Player
    g_s: Player
    d_1: Player  # whether a pair is real
    d_2: Player  # which of the two made it


def paired(cfg):
    """Return the source of pairs: x, and `source`, its counterpart."""
    source = data.load(cfg.dataset)
    return data.turned(source) if source.kind == "image" else data.halved(source)


def build(cfg):
    fields = paired(cfg).fields
    x, s = fields["x"].shape, fields["source"].shape
    G, D = (triangle.G, triangle.D) if len(x) == 3 else (triangle.PointG, triangle.PointD)
    return G(x, cfg.width), G(s, cfg.width), D(cfg.width), *(optax.adam(lr, cfg.b1) for lr in (cfg.g_lr, cfg.d_lr))


def init(cfg, key):
    G_x, G_s, D, g_tx, d_tx = build(cfg)
    x, s = (jnp.zeros((1, *paired(cfg).fields[name].shape)) for name in ("x", "source"))
    g_x, g_s = (create(G, g_tx, rng.at(key, 0, of), a, key) for G, of, a in ((G_x, "g_x", s), (G_s, "g_s", x)))
    d_1, d_2 = (create(D, d_tx, rng.at(key, 0, of), x, s, key) for of in ("d_1", "d_2"))
    return State(jnp.int32(0), key, g_x, g_s, d_1, d_2)


def step(cfg, state, batch):
    G_x, G_s, D, g_tx, d_tx = build(cfg)
    pairs, x, s = batch["pairs"], batch["x"]["x"], batch["source"]["source"]  # [b, ...], of no common record
    at = lambda name: rng.at(state.key, state.step, name)
    made_x, x_back = jax.vjp(lambda p: forward(G_x, p, {}, s, at("g_x"))[0], state.g_x.params)
    made_s, s_back = jax.vjp(lambda p: forward(G_s, p, {}, x, at("g_s"))[0], state.g_s.params)

    def scores(params, key, *pairs):  # each pair with a dropout of its own
        return [forward(D, params, {}, *pair, jax.random.fold_in(key, i))[0] for i, pair in enumerate(pairs)]  # [b]

    def d_loss(one, two, key):
        one_key, two_key = jax.random.split(key)
        real, of_x, of_s = scores(one, one_key, (pairs["x"], pairs["source"]), (made_x, s), (x, made_s))
        by_x, by_s = scores(two, two_key, (made_x, s), (x, made_s))
        value = softplus(-real) + softplus(of_x) + softplus(of_s) + softplus(by_x) + softplus(-by_s)
        return value.mean(), {"real": real, "fake": (of_x + of_s) / 2}

    def d_update(players, key):
        (value, said), grads = jax.value_and_grad(d_loss, (0, 1), has_aux=True)(*(p.params for p in players), key)
        found = {f"p/{of}": jax.nn.sigmoid(score).mean() for of, score in said.items()}
        return [descend(p, g, d_tx) for p, g in zip(players, grads, strict=True)], {"loss/d": value} | found

    def g_loss(made_x, made_s):
        one_key, two_key = jax.random.split(at("d of g"))
        of_x, of_s = scores(d_1.params, one_key, (made_x, s), (x, made_s))
        by_x, by_s = scores(d_2.params, two_key, (made_x, s), (x, made_s))
        return (softplus(-of_x) + softplus(-by_x) + softplus(-of_s) + softplus(by_s)).mean()

    (d_1, d_2), found = jax.lax.scan(d_update, [state.d_1, state.d_2], jax.random.split(at("d"), cfg.d_steps))
    g_value, slopes = jax.value_and_grad(g_loss, (0, 1))(made_x, made_s)
    g_x, g_s = descend(state.g_x, *x_back(slopes[0]), g_tx), descend(state.g_s, *s_back(slopes[1]), g_tx)
    metrics = {"loss/g": g_value} | jax.tree.map(lambda values: values[-1], found)  # of the last update of each
    return State(state.step + 1, state.key, g_x, g_s, d_1, d_2), metrics


def translated(G, player, key, given):
    """Return what a translator makes of all that is given [n, ...], a few at a time, each with noise of its own."""
    one = lambda row: forward(G, player.params, {}, row[0][None], row[1], train=False)[0][0]
    return jax.lax.map(one, (given, jax.random.split(key, len(given))), batch_size=500)


def sample(cfg, state, key, n):
    G_x, *_ = build(cfg)
    return translated(G_x, state.g_x, key, data.examples(paired(cfg), key, n)["source"])


def measure(cfg, state, key, train, test):
    """Return how far translations are from the truth, and what the classifier reads in them; of points, coverage."""
    G_x, G_s, *_ = build(cfg)
    if not test and paired(cfg).n:
        return {}
    split = paired(cfg).test if test else paired(cfg)
    rows = split.make(test["x"], key, 0, len(test["x"]["x"])) if test else data.draw(split, key, 2500)
    x, s = rows["x"], rows["source"]
    made_x, made_s = translated(G_x, state.g_x, key, s), translated(G_s, state.g_s, key, x)
    if not test:
        ways = {"by_x": jnp.concatenate([s, made_x], 1), "by_source": jnp.concatenate([made_s, x], 1)}
        of = data.load(cfg.dataset).modes
        covered = {way: of.coverage(both, None, key) for way, both in ways.items()} if of else {}
        return {f"{name}/{way}": value for way, found in covered.items() for name, value in found.items()}
    found = {"error/x": ((made_x - x) ** 2).mean(), "error/source": ((made_s - s) ** 2).mean()}
    rows = jnp.stack([s[:12], made_x[:12], x[:12]])
    found["test"] = Picture(rows, rows=("input", "ours", "truth"))
    if judged(cfg) and "y" in test["x"]:
        back = jnp.rot90(made_s, -1, (1, 2))
        for name, pictures in {"x": made_x, "source": back, "as_it_is": x}.items():
            said = classifier.load(*judged(cfg))(pictures).argmax(1)
            found[f"accuracy/{name}"] = metrics.agreement(said, test["x"]["y"])
    return found


def judged(cfg):
    """Return the sets whose classifiers `measure` asks."""
    source = data.load(cfg.dataset)
    return (source,) if source.kind == "image" and source.test and source.classes else ()


def setup(cfg):
    source = paired(cfg)
    if source.shape != source.fields["source"].shape:
        raise UserError(f"{source.name} has no squares, which could be turned by a quarter: say --size.")
    known = data.only_labelled(source, cfg.pairs) if cfg.pairs else source
    return Setup(data.join(x=source, source=source, pairs=known), cfg.batch_size, cfg.steps, judged(cfg))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
