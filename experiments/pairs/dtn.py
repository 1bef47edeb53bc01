"""DTN: pictures go to another domain so that a classifier's features f stay, and those of that domain stay as they are.

Taigman, Polyak and Wolf 2017, arXiv 1611.02200. G = g(f(x)): g draws from features alone. f, a classifier of the
source, learns first, from the labels there, and then stays. D tells three kinds apart: made from the source (s), made
from the target (t), and of the target itself. g descends -log D(real) of both that it makes + alpha |f(s) - f(G(s))|^2
+ beta |t - G(t)|^2 (means) + gamma times the total variation of both. The source is the set `source`, resized where it
has to be, the target is `dataset`. `measure` asks a classifier of the target whether a digit of the source is that
digit still, transferred and, for comparison, as it is.

Differences from the paper, whose authors' code is not known:
1. f is a player, too, of the first `pretrain` steps. Its features end in tanh, as in yunjey's re-implementation (where
   it goes on learning, and D tells two kinds apart). It sees grey pictures, moved by up to a fourteenth of their side.
2. g and D are updated at once; what g makes of s and of t is one batch, for the norms of g and of D.
3. TV sums sqrt(dx^2 + dy^2 + 1e-8), whose gradient is finite; gamma is 0 (the paper's faces: 0.05, alpha 100, beta 1).
4. Except in the preset `paper`, of yunjey's numbers, f is a quarter as wide, g and D an eighth. Kernels are 3x3 in f,
   4x4 in g and D. The source is digits of fonts, not SVHN; the f of faces knows 16 people (there: thousands).

    python -m experiments dtn               digits of fonts to MNIST's, or --source usps; faces to emoji: --preset faces
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data, metrics
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import classifier
from gan_jax.nets import dcgan, dtn
from gan_jax.run import Count, Decay, Picture, Setup, program

OF_SOURCE, OF_TARGET, REAL = range(3)  # the kinds that D tells apart


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # the target: any TFDS image set by name
    source: str = "font_digits"  # a labelled set, of which `sample` transfers those held out
    steps: Count = 3000  # updates, those of f first, then joint ones of g and D
    pretrain: int = 1000  # updates of f
    batch_size: Count = 32  # pictures of each set a step
    const: float = 15.0  # alpha, the weight of |f(s) - f(G(s))|^2
    same: float = 15.0  # beta, the weight of |t - G(t)|^2
    smooth: float = 0.0  # gamma, the weight of the total variation
    features: Count = 128  # numbers that f returns
    f_width: Count = 16  # channels of f at full resolution
    width: Count = 16  # channels of g and D at half resolution
    lr: float = 1e-3  # Adam's rate for all three
    b1: Decay = 0.5  # Adam's decay of the first moment


EMOJI, FACES = "noto_emoji,only=0,size=32", "cmu_faces,y=person:label,size=32"
PRESETS = {
    "default": Config(),
    "faces": Config(EMOJI, FACES, 1200, 400),
    "paper": Config(steps=22_000, pretrain=20_000, batch_size=100, f_width=64, width=128, lr=3e-4, b1=0.9),
    "tiny": Config("digits", "digits16", steps=6, pretrain=1, batch_size=8, features=8, f_width=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    f: Player
    g: Player
    d: Player


def build(cfg):
    shape, classes = data.load(cfg.dataset).shape, data.load(cfg.source).classes
    F, G, D = dtn.F(classes, cfg.features, cfg.f_width), dcgan.G(shape, cfg.width), dtn.D(cfg.width)
    return F, G, D, optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    F, G, D, tx = build(cfg)
    x = jnp.zeros((1, *data.load(cfg.dataset).shape))
    inputs = {"f": (F, grey(x)), "g": (G, jnp.zeros((1, cfg.features))), "d": (D, x)}
    return State(jnp.int32(0), key, *(create(net, tx, rng.at(key, 0, of), x) for of, (net, x) in inputs.items()))


def grey(x):
    """Return the mean of the channels: [b, h, w, 1]."""
    return x.mean(-1, keepdims=True)


def variation(x):
    """Return the total variation of pictures x [b, h, w, c]: [b]."""
    down, right = x[:, 1:, :-1] - x[:, :-1, :-1], x[:, :-1, 1:] - x[:, :-1, :-1]
    return jnp.sqrt(down**2 + right**2 + 1e-8).sum((1, 2, 3))


def step(cfg, state, batch):
    F, G, D, tx = build(cfg)
    s, t = data.resized(batch["source"]["x"], batch["x"]["x"].shape[1:]), batch["x"]["x"]  # [b, h, w, c]

    def learn(state):
        x = classifier.shifted(rng.at(state.key, state.step, "shift"), grey(s), s.shape[1] // 14)

        def f_loss(params):
            (logits, _), stats = forward(F, params, state.f.stats, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, batch["source"]["y"]).mean(), stats

        (value, stats), grads = jax.value_and_grad(f_loss, has_aux=True)(state.f.params)
        return state._replace(f=descend(state.f, grads, tx, stats)), (value, *[0 * value] * 4)

    def transfer(state):
        features = lambda x: forward(F, state.f.params, state.f.stats, grey(x), train=False)[0][1]  # [b, features]
        kind = lambda logits, which: -jax.nn.log_softmax(logits)[:, which]  # cross-entropy [b]
        of_s, of_t = features(s), features(t)

        def g_loss(params):
            made, stats = forward(G, params, state.g.stats, jnp.concatenate([of_s, of_t]))
            from_s, from_t = jnp.split(made, 2)
            fooling = 2 * kind(forward(D, state.d.params, state.d.stats, made)[0], REAL).mean()  # of both halves
            const, same = ((of_s - features(from_s)) ** 2).mean(), ((t - from_t) ** 2).mean()
            value = fooling + cfg.const * const + cfg.same * same + cfg.smooth * 2 * variation(made).mean()
            return value, (made, stats, fooling, const, same)

        def d_loss(params, made):
            logits, stats = forward(D, params, state.d.stats, t)  # D keeps the statistics of data
            from_s, from_t = jnp.split(forward(D, params, state.d.stats, made)[0], 2)
            return (kind(from_s, OF_SOURCE) + kind(from_t, OF_TARGET) + kind(logits, REAL)).mean(), stats

        g_grads, (made, g_stats, fooling, const, same) = jax.grad(g_loss, has_aux=True)(state.g.params)
        (d_value, d_stats), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, made)
        players = {"g": descend(state.g, g_grads, tx, g_stats), "d": descend(state.d, d_grads, tx, d_stats)}
        return state._replace(**players), (0 * d_value, fooling, d_value, const, same)

    state, found = jax.lax.cond(state.step < cfg.pretrain, learn, transfer, state)
    names = "loss/f", "loss/g", "loss/d", "const", "same"  # 0 where that is not learned
    return state._replace(step=state.step + 1), dict(zip(names, found, strict=True))


def transferred(cfg, state, x):
    """Return G(x) [n, h, w, c] of pictures x [n, ...] of either domain."""
    F, G, *_ = build(cfg)
    features = lambda x: forward(F, state.f.params, state.f.stats, grey(x[None]), train=False)[0][1]
    one = lambda x: forward(G, state.g.params, state.g.stats, features(x), train=False)[0][0]
    return jax.lax.map(one, data.resized(x, data.load(cfg.dataset).shape), batch_size=500)


def sample(cfg, state, key, n):
    return transferred(cfg, state, data.examples(data.load(cfg.source), key, n)["x"])


def judged(cfg):
    """Return the target, where it has a classifier for the labels of the source."""
    source, target = data.load(cfg.source), data.load(cfg.dataset)
    return (target,) if target.test and data.same_labels(source, target) else ()


def measure(cfg, state, key, train, test):
    """Return pictures of both domains and what G makes of them; of how many the target's classifier reads the label."""
    if not test:
        return {}
    s, t = (data.resized(data.decode(test[name])["x"], data.load(cfg.dataset).shape) for name in ("source", "x"))
    new = transferred(cfg, state, s)
    rows = {"source": s, "transferred": new, "target": t, "the same?": transferred(cfg, state, t[:12])}
    found = {"transferred": Picture(jnp.stack([x[: min(12, len(s), len(t))] for x in rows.values()]), rows=tuple(rows))}
    if judged(cfg) and "y" in test["source"]:
        judge = classifier.load(*judged(cfg))
        for name, images in {"transferred": new, "as_it_is": s}.items():
            found[f"accuracy/{name}"] = metrics.agreement(judge(images).argmax(1), test["source"]["y"])
    return found


def setup(cfg):
    source, target = data.load(cfg.source), data.load(cfg.dataset)
    if source.kind != "image" or not source.classes:
        raise UserError(f"{source.name} has no pictures with labels, from which f could learn: choose a --source.")
    return Setup(data.join(x=target, source=data.labelled(source)), cfg.batch_size, cfg.steps, judged(cfg), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
