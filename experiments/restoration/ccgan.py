"""CC-GAN: G fills holes, D tells filled pictures from whole ones, and what D learns of that names the class of few.

Denton, Gross and Fergus 2016, arXiv 1611.06430. D's trunk, VGG-A with batch norm, has two heads. One scores whole
pictures against the same with a box filled by G (CC-GAN) and, with `whole`, against all that G draws, too (CC-GAN2);
the other one names the class, of which it is told for a few pictures. G descends -log D alone.

Beside it, `d_alone` is the same D, trained on the same labelled pictures alone. `measure` says how many test pictures
each names right.

Differences from the paper and the authors' code (edenton/cc-gan):
1. D makes one update a step down the sum of all its losses, which are an update each in the code.
2. With `whole` each kind of fake has a real term of its own, as in the code; the paper's sum has one for both.
3. G's target is 1 (in the code of CC-GAN 0.9, as D's for real pictures), and it makes one update a step: that code
   applies each gradient twice.
4. The labels are equally many a class; scores are of the last step (there: of the one that is best on held-out labels).
5. Pictures are enlarged, cut anywhere and mirrored; the code cuts squares of several sizes and shrinks these.
6. D keeps the statistics of unlabelled pictures (there: of fakes, too). Convolutions have no biases, which the code
   sets to 0 before use.
7. The low-resolution copy of the hole, which the paper shows G for larger pictures, is left out.
8. The default is smaller: 32x32, where VGG-A's fifth stage would leave nothing, fewer channels and steps.

    python -m experiments ccgan              CIFAR-10's subset, 1,000 labels
    python -m experiments ccgan --whole      CC-GAN2
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import ccgan
from gan_jax.run import Count, Decay, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cifar10_subset"  # pictures with labels
    labels: int = 1000  # records whose label is known, equally many a class
    hole: Share = 0.5  # the part of each side that a box anywhere takes
    jitter: float = 1.125  # how much pictures are enlarged, to be cut anywhere and mirrored
    whole: bool = False  # whether all that G draws is a fake, too: CC-GAN2
    smooth: Share = 0.1  # what D's target for real pictures lacks to 1
    naming: float = 1.0  # weight of the cross-entropy of labels in D's loss
    steps: Count = 1000  # updates of D, each followed by one of G
    batch_size: Count = 24  # labelled pictures, and pictures, a step
    width: Count = 12  # channels of the first layers of G and of D
    levels: Count = 3  # of G, each half as large as the one before
    lr: float = 1e-3  # Adam's rate for all
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config("stl10", whole=True, smooth=0.0, steps=100_000, batch_size=100, width=64, levels=4, lr=2e-4),
    "tiny": Config("digits", 20, steps=6, batch_size=8, width=2, levels=1),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    d_alone: Player  # learns of labels alone, to compare


def pictures(cfg):
    """Return the source of pictures, with the box that is taken out of each."""
    return data.masked(data.jittered(data.load(cfg.dataset), cfg.jitter), "box", cfg.hole)


def build(cfg):
    D = ccgan.D(data.load(cfg.dataset).classes, cfg.width)
    return ccgan.G(cfg.width, cfg.levels), D, optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    G, D, tx = build(cfg)
    x = jnp.zeros((1, *data.load(cfg.dataset).shape))
    d, d_alone = (create(D, tx, rng.at(key, 0, "d"), x) for _ in range(2))
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), x), d, d_alone)


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss, (x, seen, mask) = losses.non_saturating, (batch["x"][name] for name in ("x", "source", "mask"))
    labelled, y = batch["labelled"]["x"], batch["labelled"]["y"]

    def draw(params):
        return forward(G, params, state.g.stats, seen)

    def scores(params, drawn):  # [b] for each kind of fake
        fakes = [seen + mask * drawn, drawn] if cfg.whole else [seen + mask * drawn]
        return [forward(D, params, state.d.stats, fake)[0][0] for fake in fakes]

    def named(params, stats):
        (_, logits), stats = forward(D, params, stats, labelled, rng.at(state.key, state.step, "dropout"))
        value = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return value, (stats, (logits.argmax(1) == y).mean())

    def d_loss(params):
        (real, _), stats = forward(D, params, state.d.stats, x)  # [b]; D keeps the statistics of data
        fake = scores(params, drawn)
        gan = sum((loss.d(real, one) + cfg.smooth * real).mean() for one in fake)  # the target for reals is 1 - smooth
        naming, (_, right) = named(params, state.d.stats)
        says = {"p/real": jax.nn.sigmoid(real).mean(), "p/fake": jax.nn.sigmoid(fake[0]).mean()}
        return gan + cfg.naming * naming, (stats, says | {"loss/d": gan, "accuracy/labelled": right})

    def g_loss(drawn):
        return sum(loss.g(None, one).mean() for one in scores(d.params, drawn))

    drawn, back, g_stats = jax.vjp(draw, state.g.params, has_aux=True)
    d_grads, (d_stats, metrics) = jax.grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, d_grads, tx, d_stats)
    fooling, slope = jax.value_and_grad(g_loss)(drawn)
    g = descend(state.g, *back(slope), tx, g_stats)
    alone_grads, (alone_stats, _) = jax.grad(named, has_aux=True)(state.d_alone.params, state.d_alone.stats)
    d_alone = descend(state.d_alone, alone_grads, tx, alone_stats)
    return State(state.step + 1, state.key, g, d, d_alone), metrics | {"loss/g": fooling}


def drawn_by(cfg, state, batch):
    """Return the pictures of a batch with the box filled, and all that G draws."""
    G, *_ = build(cfg)
    drawn, _ = forward(G, state.g.params, state.g.stats, batch["source"], train=False)
    return batch["source"] + batch["mask"] * drawn, drawn


def sample(cfg, state, key, n):
    return drawn_by(cfg, state, data.examples(pictures(cfg), key, n))[0]


def measure(cfg, state, key, train, test):
    """Return the share of test pictures that each D names right, and the first of them with their boxes filled."""
    if not test or "y" not in test["x"]:
        return {}
    _, D, _ = build(cfg)
    x, y = data.decode({"x": test["x"]["x"]})["x"], test["x"]["y"]
    found = {}
    for name, d in {"ccgan": state.d, "labels_alone": state.d_alone}.items():
        one = lambda x, d=d: forward(D, d.params, d.stats, x[None], train=False)[0][1][0].argmax()
        found[f"accuracy/{name}"] = (jax.lax.map(one, x, batch_size=250) == y).mean(where=y >= 0)  # -1 is no label
    first = pictures(cfg).test.make(jax.tree.map(lambda rows: rows[:12], test["x"]), key, 0, min(12, len(y)))
    filled, drawn = drawn_by(cfg, state, first)
    rows = {"with a hole": first["source"], "filled": filled, "all that G draws": drawn, "truth": first["x"]}
    return found | {"holes": Picture(jnp.stack(list(rows.values())), "image", tuple(rows))}


def setup(cfg):
    labelled = data.only_labelled(data.jittered(data.load(cfg.dataset), cfg.jitter), cfg.labels)
    return Setup(data.join(x=pictures(cfg), labelled=labelled), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
