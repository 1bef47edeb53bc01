"""Residual images: a translator adds to a face only what changes, such as sunglasses, another one takes it off again.

Shen and Liu 2016, arXiv 1612.05363. A translator makes of x a residual r; the new picture is x + r. One D tells three
kinds apart, pictures without the attribute, with it, and made ones, and descends the cross-entropy of each. Either
translator descends that of x + r as a picture of the kind that it is to be, and of what the other one makes of x + r as
the kind that x is (the dual loss), plus alpha times the sum of |r|, plus 0.1 alpha times the sum of the differences
between the features that D has of x + r and of x. No picture has its counterpart.

`sample` gives held-out faces the attribute. `measure` asks a classifier of the attribute about test faces that were
given it and rid of it, and whether the nearest of the other test faces is still of the same person.

Differences from the paper, of which there is no code; where it is quoted from memory, re-implementations were read:
1. Both translators descend the sum of all losses: each dual loss moves both (in one re-implementation only its first).
2. D and both translators are updated at once, from the same pictures.
3. The features are those after D's third convolution (in two re-implementations the fourth).
4. What leaves [-1, 1] is cut off where pictures are shown and judged; D sees it as it is.
5. The default is smaller, and its alpha larger, since its sums have fewer terms. Alpha is to be smaller where all of a
   face changes (there down to 1e-6).

    python -m experiments residual_attribute                                         sunglasses on and off
    python -m experiments residual_attribute --dataset path/to/folder --size 64      the first and second of its folders
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import attributes, classifier
from gan_jax.nets import residual
from gan_jax.run import Count, Decay, Picture, Setup, program

WITHOUT, WITH, MADE = range(3)  # what D tells apart


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cmu_faces,y=sunglasses,person=person,size=32"  # pictures with and without the attribute
    attribute: int = 1  # the class that has it, 0 or 1
    steps: Count = 800  # joint updates of the translators and of D
    batch_size: Count = 8  # pictures of each kind a step
    sparse: float = 0.05  # alpha, the weight of the sum of |r|
    perceptual: float = 0.1  # the weight of the difference of features, times alpha
    width: Count = 8  # channels of the translators at full resolution, of D at half
    lr: float = 2e-4  # Adam's rate for all three
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config("celeb_a,y=Eyeglasses,size=128", steps=50_000, batch_size=64, sparse=5e-4, width=64),
    "tiny": Config("digits16", steps=6, batch_size=8, width=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g_on: Player  # gives the attribute
    g_off: Player  # takes it
    d: Player


def kinds(cfg):
    """Return (the source with the attribute, the one without)."""
    return tuple(data.of_class(data.load(cfg.dataset), which) for which in (cfg.attribute, 1 - cfg.attribute))


def build(cfg):
    return residual.G(cfg.width), residual.D(cfg.width), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    G, D, tx = build(cfg)
    x, nets = jnp.zeros((1, *data.load(cfg.dataset).shape)), {"g_on": G, "g_off": G, "d": D}
    return State(jnp.int32(0), key, *(create(net, tx, rng.at(key, 0, name), x) for name, net in nets.items()))


def entropy(logits, first, second):
    """Return the cross-entropy of two halves of logits [2 b, 3], of one kind each: the sum of their means."""
    which = jnp.repeat(jnp.array([first, second], jnp.int32), len(logits) // 2)
    return 2 * optax.softmax_cross_entropy_with_integer_labels(logits, which).mean()


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    lacks, has = batch["source"]["x"], batch["x"]["x"]  # [b, h, w, c]
    real = jnp.concatenate([lacks, has])
    judged = lambda x: forward(D, state.d.params, state.d.stats, x)[0]  # logits [2 b, 3], features [2 b, ...]

    def g_loss(on, off):
        residual = lambda params, player, x: forward(G, params, player.stats, x)
        r_on, on_stats = residual(on, state.g_on, lacks)
        r_off, off_stats = residual(off, state.g_off, has)
        given, rid, r = lacks + r_on, has + r_off, jnp.concatenate([r_on, r_off])
        made = jnp.concatenate([given, rid])
        back = jnp.concatenate([given + residual(off, state.g_off, given)[0], rid + residual(on, state.g_on, rid)[0]])
        logits, features = judged(made)
        fooling, dual = entropy(logits, WITH, WITHOUT), entropy(judged(back)[0], WITHOUT, WITH)
        both = lambda apart: 2 * jnp.abs(apart).sum((1, 2, 3)).mean()
        change = both(r) + cfg.perceptual * both(features - judged(real)[1])
        return fooling + dual + cfg.sparse * change, ((on_stats, off_stats), made, fooling, dual, jnp.abs(r).mean())

    def d_loss(params):
        logits, stats = forward(D, params, state.d.stats, real)  # D keeps the statistics of data
        made_logits, _ = forward(D, params, state.d.stats, made)
        return entropy(logits[0], WITHOUT, WITH) + entropy(made_logits[0], MADE, MADE), stats

    g_grads, (g_stats, made, fooling, dual, size) = jax.grad(g_loss, (0, 1), has_aux=True)(
        state.g_on.params, state.g_off.params
    )
    (d_value, d_stats), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    players = state.g_on, state.g_off, state.d
    moves = zip(players, (*g_grads, d_grads), (*g_stats, d_stats), strict=True)
    metrics = {"loss/g": fooling, "loss/d": d_value, "dual": dual, "residual": size}
    return State(state.step + 1, state.key, *(descend(p, grads, tx, stats) for p, grads, stats in moves)), metrics


def changed(cfg, player, x):
    """Return pictures x [n, h, w, c] with this translator's residual added."""
    G, *_ = build(cfg)
    return jnp.clip(x + forward(G, player.params, player.stats, x, train=False)[0], -1, 1)


def sample(cfg, state, key, n):
    return changed(cfg, state.g_on, data.examples(kinds(cfg)[1], key, n)["x"])


def measure(cfg, state, key, train, test):
    """Return what the attribute's classifier sees in up to 500 test pictures, changed, and whose these look."""
    if not test:
        return {}
    edit = lambda has, lacks: (changed(cfg, state.g_on, lacks), changed(cfg, state.g_off, has))
    found, rows = attributes.edited(classifier.load(*judged(cfg)), cfg.attribute, test, edit)
    rows |= {"taken": (rows["rid_of_it"] - rows["with"]) / 2, "added": (rows["given_it"] - rows["without"]) / 2}
    return found | {"changed": Picture(jnp.stack([x[:12] for x in rows.values()]), rows=tuple(rows))}


def judged(cfg):
    """Return the set whose classifier tells whether a picture has the attribute."""
    source = data.load(cfg.dataset)
    return (source,) if source.test else ()


def setup(cfg):
    has, lacks = kinds(cfg)
    return Setup(data.join(x=has, source=lacks), cfg.batch_size, cfg.steps, judged(cfg), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
