"""GeneGAN: faces are split into what all have and what only some have, such as sunglasses, and joined the other way.

Zhou, Xiao, Yang, Feng, He and He 2017, arXiv 1705.04932. A splitter makes (A, x) of a picture with the attribute and
(B, e) of one without; a joiner rebuilds both, with 0 in the place of e, and swaps: Bx and A0. Critics of either kind,
with clipped weights, judge these. Splitter and joiner descend what the critics say, |e|, the distances of both pictures
from their reconstructions, and that of the parallelogram: Ax + Be is to be Bx + A0. No picture has its counterpart.

`sample` gives held-out faces the x of others. `measure` asks a classifier of the attribute about test faces that were
given it and rid of it, and whether the nearest of the other test faces is still of the same person.

Differences from the paper and the authors' code:
1. D makes `d_steps` updates a step, each on pictures of its own (there: one, and a hundred at every 500th step).
2. Pictures lie in [-1, 1] (there: 0 to 255, halved distances here); the weights of the losses are converted.
3. The default is smaller, at a rate of 2e-4; weights of 0.01 leave small critics no score, so the clip is 0.03.
4. Batch norm forgets a tenth a step (there: a hundredth), so that short runs have statistics.

    python -m experiments genegan                                                        sunglasses on and off
    python -m experiments genegan --dataset path/to/folder --size 64 --attribute 1      the second of its two folders
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import attributes, classifier
from gan_jax.nets import genegan
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cmu_faces,y=sunglasses,person=person,size=32"  # pictures with and without the attribute
    attribute: int = 1  # the class that has it, 0 or 1
    steps: Count = 3000  # updates of splitter and joiner
    d_steps: Count = 1  # updates of both critics a step
    batch_size: Count = 16  # pictures of each kind an update
    parallelogram: float = 1.275  # weight of |Ax + Be - Bx - A0|, a mean; 0.01 of levels from 0 to 255
    width: Count = 8  # a quarter of the channels after the first convolution
    clip: float = 0.03  # the largest weight of a critic
    weight_decay: float = 5e-5  # of splitter and joiner, on the mean square of each kernel
    lr: float = 2e-4  # RMSProp's rate for all
    decay: Decay = 0.8  # RMSProp's decay of the squared gradient


PRESETS = {
    "default": Config(),
    "paper": Config("celeb_a,y=Smiling,size=64", steps=100_000, batch_size=64, width=32, clip=0.01, lr=5e-5),
    "tiny": Config("digits16", steps=6, batch_size=8, width=1, lr=2e-3),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g_split: Player
    g_join: Player
    d_with: Player
    d_without: Player


def kinds(cfg):
    """Return (the source with the attribute, the one without)."""
    return tuple(data.of_class(data.load(cfg.dataset), which) for which in (cfg.attribute, 1 - cfg.attribute))


def build(cfg):
    shape = data.load(cfg.dataset).shape
    tx = optax.rmsprop(cfg.lr, cfg.decay, eps=1e-10, initial_scale=1.0)  # as in TensorFlow
    return genegan.Splitter(cfg.width), genegan.Joiner(shape, cfg.width), genegan.D(cfg.width), tx


def clipped(cfg, d):
    return d._replace(params=jax.tree.map(lambda w: jnp.clip(w, -cfg.clip, cfg.clip), d.params))


def init(cfg, key):
    S, J, D, tx = build(cfg)
    x = jnp.zeros((1, *data.load(cfg.dataset).shape))
    g_split = create(S, tx, rng.at(key, 0, "g_split"), x, x)
    (a, own), _ = forward(S, g_split.params, g_split.stats, x, x, train=False)[0]
    g_join = create(J, tx, rng.at(key, 0, "g_join"), a, a, own)
    critics = (clipped(cfg, create(D, tx, rng.at(key, 0, name), x)) for name in ("d_with", "d_without"))
    return State(jnp.int32(0), key, g_split, g_join, *critics)


def made(cfg, split, join, ax, be, train=True):
    """Return (both pictures rebuilt, Bx and A0; e; the statistics afterwards). split, join: (params, stats)."""
    S, J, *_ = build(cfg)
    ((a, x), (b, e)), split_stats = forward(S, *split, ax, be, train=train)
    pictures, join_stats = forward(J, *join, a, b, x, train=train)
    return pictures, e, (split_stats, join_stats)


def step(cfg, state, batch):
    _, _, D, tx = build(cfg)
    loss = losses.wasserstein
    cut = lambda a: a.reshape(cfg.batch_size, -1, *a.shape[1:]).swapaxes(0, 1)  # [updates, b, h, w, c]
    ax, be = cut(batch["x"]["x"]), cut(batch["source"]["x"])
    split, join = state.g_split, state.g_join

    def d_update(critics, pair):
        (_, _, bx, a0), *_ = made(cfg, split[:2], join[:2], *pair)

        def d_loss(params, d, real, fake):
            real_score, stats = forward(D, params, d.stats, real)  # [b]; D keeps the statistics of data
            return loss.d(real_score, forward(D, params, d.stats, fake)[0]).mean(), stats

        moved, distance = [], 0.0
        for d, real, fake in zip(critics, pair, (bx, a0), strict=True):
            (value, stats), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params, d, real, fake)
            moved.append(clipped(cfg, descend(d, grads, tx, stats)))
            distance -= value
        return moved, distance

    def g_loss(split_params, join_params, critics, ax, be):
        (ax2, be2, bx, a0), e, stats = made(cfg, (split_params, split.stats), (join_params, join.stats), ax, be)
        near = lambda a, b: jnp.abs(a - b).mean()
        scores = (forward(D, d.params, d.stats, x)[0] for d, x in zip(critics, (bx, a0), strict=True))
        fooling, cycle = sum(loss.g(None, score).mean() for score in scores), (near(ax, ax2) + near(be, be2)) / 2
        decay = sum((w**2).mean() for w in jax.tree.leaves((split_params, join_params)) if w.ndim > 1)
        value = fooling + cycle + jnp.abs(e).mean() + cfg.parallelogram * near(ax + be, bx + a0)
        return value + cfg.weight_decay / 2 * decay, (stats, fooling, cycle)

    critics, distance = jax.lax.scan(d_update, [state.d_with, state.d_without], (ax[:-1], be[:-1]))
    (grads, (stats, fooling, cycle)) = jax.grad(g_loss, (0, 1), has_aux=True)(
        split.params, join.params, critics, ax[-1], be[-1]
    )
    players = [descend(p, g, tx, s) for p, g, s in zip((split, join), grads, stats, strict=True)]
    metrics = {"wasserstein": distance[-1], "loss/g": fooling, "cycle": cycle}
    return State(state.step + 1, state.key, *players, *critics), metrics


def swapped(cfg, state, ax, be):
    """Return (Bx, A0) of pictures with and without the attribute, [n, h, w, c] each."""
    return made(cfg, state.g_split[:2], state.g_join[:2], ax, be, train=False)[0][2:]


def sample(cfg, state, key, n):
    return swapped(cfg, state, *(data.examples(source, key, n)["x"] for source in kinds(cfg)))[0]


def measure(cfg, state, key, train, test):
    """Return what the attribute's classifier sees in up to 500 test pictures, swapped, and whose these look."""
    if not test:
        return {}
    edit = functools.partial(swapped, cfg, state)
    found, rows = attributes.edited(classifier.load(*judged(cfg)), cfg.attribute, test, edit)
    return found | {"swapped": Picture(jnp.stack([x[:12] for x in rows.values()]), rows=tuple(rows))}


def judged(cfg):
    """Return the set whose classifier tells whether a picture has the attribute."""
    source = data.load(cfg.dataset)
    return (source,) if source.test else ()


def setup(cfg):
    has, lacks = kinds(cfg)
    rows = cfg.batch_size * (cfg.d_steps + 1)
    return Setup(data.join(x=has, source=lacks), rows, cfg.steps, judged(cfg), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
