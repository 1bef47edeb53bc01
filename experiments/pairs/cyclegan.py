"""CycleGAN: two sets without pairs, two translators, and the demand that there and back again is where one began.

Zhu, Park, Isola and Efros 2017, arXiv 1703.10593. G_ab and G_ba descend the least-squares loss of the other domain's D,
plus lambda (|G_ba(G_ab(a)) - a| + |G_ab(G_ba(b)) - b|), plus the identity loss of the paper's section 5.2 (a picture
that is in the domain already stays as it is). Each D scores patches, and sees fakes out of a pool of 50 old ones.

a is the set `source`, b the set `dataset`; everything happens at b's size. `sample` translates held-out pictures of a.
`measure` asks classifiers, trained on the target, whether a translated digit is still the same digit.

Differences from the paper:
1. Except in the preset `paper` the rate is constant (the paper's goes down to 0 in the second half), batches have 16
   pictures of each set instead of 1, and nets are smaller; under 64 pixels these pad with zeros.
2. What a norm follows has no bias. Points have perceptrons.

    python -m experiments cyclegan                               MNIST's digits in the hand of USPS, and back
    python -m experiments cyclegan --dataset ring8 --source grid25
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data, metrics
from gan_jax.game import Player, create, descend, falling, forward, losses, pool, rng
from gan_jax.metrics import classifier
from gan_jax.nets import mlp, translate
from gan_jax.run import Count, Decay, Depth, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps"  # b, which `sample` shows: any TFDS image set by name, or a toy
    source: str = "mnist"  # a, the other one
    steps: Count = 5000  # joint updates of the four nets
    batch_size: Count = 16  # pictures of each set a step
    cycle: float = 10.0  # lambda, the weight of there and back again
    identity: float = 0.5  # weight of the identity loss, times lambda
    history: int = 50  # old fakes of each kind, of which D is shown some
    width: Count = 16  # channels at full resolution; units of a hidden layer (points)
    depth: Depth = 2  # residual blocks of G; hidden layers (points)
    lr: float = 2e-4  # Adam's rate for all four
    falls: Share = 0.0  # the part of the steps, at their end, in which the rate goes down to 0
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "paper": Config(*("monet_paintings,size=256", "bsds300,size=256"), 56_000, 1, width=64, depth=9, falls=0.5),
    "toy": Config("ring8", "grid25", steps=5000, batch_size=256, identity=0.0, history=512, width=128, lr=1e-3),
    "tiny": Config("digits", "digits16", steps=6, batch_size=8, history=16, width=4, depth=1),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g_ab: Player
    g_ba: Player
    d_a: Player
    d_b: Player
    old_a: jax.Array  # the pools of old fakes [history, ...]
    old_b: jax.Array


def build(cfg):
    shape = data.load(cfg.dataset).shape
    tx = optax.adam(falling(cfg.lr, cfg.falls, cfg.steps), cfg.b1)
    if len(shape) == 1:
        return mlp.G(shape, cfg.width, cfg.depth), mlp.D(cfg.width, cfg.depth), tx
    return translate.G(shape, cfg.width, cfg.depth), translate.D(cfg.width), tx


def init(cfg, key):
    G, D, tx = build(cfg)
    shape = data.load(cfg.dataset).shape
    nets = {"g_ab": G, "g_ba": G, "d_a": D, "d_b": D}
    players = [create(net, tx, rng.at(key, 0, name), jnp.zeros((1, *shape))) for name, net in nets.items()]
    return State(jnp.int32(0), key, *players, *jnp.zeros((2, cfg.history, *shape), jnp.float32))


def apart(x, y):
    """Return the mean absolute difference: []."""
    return jnp.abs(x - y).mean()


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss, shape = losses.least_squares, data.load(cfg.dataset).shape
    a, b = (data.resized(batch[name]["x"], shape) for name in ("source", "x"))  # [b, ...]

    def translated(g_params, x):
        return forward(G, g_params, {}, x)[0]  # [b, ...]

    def score(d_params, x):
        return forward(D, d_params, {}, x)[0]  # [b, patches]

    def fooling(d, fake):
        return 2 * loss.g(None, score(d.params, fake)).mean()  # the paper halves D's loss alone

    def g_loss(ab_params, ba_params):
        fake_b, same_b = jnp.split(translated(ab_params, jnp.concatenate([a, b])), 2)
        fake_a, same_a = jnp.split(translated(ba_params, jnp.concatenate([b, a])), 2)
        adversarial = fooling(state.d_a, fake_a) + fooling(state.d_b, fake_b)
        cycle = apart(translated(ba_params, fake_b), a) + apart(translated(ab_params, fake_a), b)
        same = apart(same_a, a) + apart(same_b, b)
        return adversarial + cfg.cycle * (cycle + cfg.identity * same), (fake_a, fake_b, adversarial, cycle)

    def d_loss(d_params, real, fake):
        return loss.d(score(d_params, real), score(d_params, fake)).mean()

    (ab_grads, ba_grads), (fake_a, fake_b, adversarial, cycle) = jax.grad(g_loss, (0, 1), has_aux=True)(
        state.g_ab.params, state.g_ba.params
    )
    seen, key = state.step * len(a), rng.at(state.key, state.step, "history")
    shown_a, old_a = pool.query(jax.random.fold_in(key, 0), state.old_a, seen, fake_a)
    shown_b, old_b = pool.query(jax.random.fold_in(key, 1), state.old_b, seen, fake_b)
    a_value, a_grads = jax.value_and_grad(d_loss)(state.d_a.params, a, shown_a)
    b_value, b_grads = jax.value_and_grad(d_loss)(state.d_b.params, b, shown_b)

    players = state.g_ab, state.g_ba, state.d_a, state.d_b
    players = [descend(p, grads, tx) for p, grads in zip(players, (ab_grads, ba_grads, a_grads, b_grads), strict=True)]
    metrics = {"loss/g": adversarial, "loss/d_a": a_value, "loss/d_b": b_value, "cycle": cycle}
    return State(state.step + 1, state.key, *players, old_a, old_b), metrics


def sample(cfg, state, key, n):
    G, *_ = build(cfg)
    a = data.examples(data.load(cfg.source), key, n)["x"]
    return forward(G, state.g_ab.params, {}, data.resized(a, data.load(cfg.dataset).shape), train=False)[0]


def judged(cfg):
    """Return the set of each domain of the batch, where both have classifiers for the same labels."""
    sets = {"source": data.load(cfg.source), "x": data.load(cfg.dataset)}
    return sets if all(s.test for s in sets.values()) and data.same_labels(*sets.values()) else {}


def measure(cfg, state, key, train, test):
    """Return pictures of both ways, there and back, and what share of digits the target's classifier reads right.

    These are translated digits and, to set against them, digits as they are; shares are there where `judged` is.
    """
    G, *_ = build(cfg)
    if not test:
        return {}
    go = lambda p, x: jax.lax.map(lambda x: forward(G, p.params, {}, x[None])[0][0], x, batch_size=500)
    ways = ("ab", "source", "x", state.g_ab, state.g_ba), ("ba", "x", "source", state.g_ba, state.g_ab)
    found = {}
    for way, begin, end, there, back in ways:
        x = data.resized(data.decode(test[begin])["x"], data.load(cfg.dataset).shape)
        new = go(there, x)
        found[way] = Picture(jnp.stack([x[:12], new[:12], go(back, new[:12])]), rows=("test", "there", "and back"))
        for name, images in {"translated": new, "as_it_is": x}.items():
            if judged(cfg) and "y" in test[begin]:
                judge = classifier.load(judged(cfg)[end])
                said = judge(data.resized(images, test[end]["x"].shape[1:])).argmax(1)
                found[f"accuracy/{way}_{name}"] = metrics.agreement(said, test[begin]["y"])
    return found


def setup(cfg):
    sets = data.join(x=data.load(cfg.dataset), source=data.load(cfg.source))
    return Setup(sets, cfg.batch_size, cfg.steps, tuple(judged(cfg).values()))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
