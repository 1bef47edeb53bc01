"""TVSN: an object seen from another side: pixels are moved by appearance flow, and what no pixel shows is completed.

Park, Yang, Yumer, Ceylan and Berg 2017, arXiv 1703.02921. F sees a view and the wanted turn, and says of each pixel of
the other view where in the first it is, and by a mask whether it is seen there at all; it descends 2 |moved - truth|
and the mask's cross-entropy. G sees the moved pixels, black where the mask is, what F's encoder knows and the turn. It
descends -log D(G), 100 times the squared distance from the truth in D's first three levels, and a total variation.

`measure` turns each held-out view into each other one of its object, and says how far they are from the truth: L1 of
pixels in [0, 1] and SSIM; beside them the input as it is, flow alone, and the training view nearest in angle.

Differences from the paper and the authors' code:
1. Visibility is not known from 3-D models: a pixel is seen where flow brings a brightness within `near` of the truth.
   The mask learns where flow will fail; mirrored halves, which the paper counts as seen, need no rule of their own.
2. F and G learn together, not one after the other; nothing of G's loss reaches F. F makes as many updates as G.
3. D learns at the end of a step, on the pictures of G's last update, made before it (there: before G, on new ones).
4. VGG16's features (.001) are left out, and so is what the last 20 of 220 epochs add, an L1 of pixels (`--l1 1275`).
5. Rates stay as they begin; there they fall halfway. F has G's batches of 15, not of 25. The turn is (cos, sin).
6. The default is smaller: nets, steps; its rates are larger, and G's loss has an L1 of pixels all along.

    python -m experiments novel_view                                              COIL-20, views of 20 objects
    python -m experiments novel_view --dataset coil20,angle=angle,only=18         one toy car alone
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics.ssim import ssim
from gan_jax.nets import tvsn
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "coil20,angle=angle"  # images, y the object that each shows, angle where it is seen from
    steps: Count = 3000  # updates of D
    g_steps: Count = 2  # updates of F and G a step
    batch_size: Count = 8  # pairs of views an update
    features: float = 100.0  # weight of the distance in D's features in G's loss
    smooth: float = 0.0244  # of the total variation: 1e-7, on a sum over 15 pictures with levels from 0 to 255
    l1: float = 100.0  # of |made - truth|, a mean over pixels in [-1, 1]
    near: float = 0.2  # how near in brightness a moved pixel is to one that is seen
    f_width: Count = 16  # channels of F's first level, each further one has twice as many
    units: Count = 256  # of F's linear layers
    g_width: Count = 8  # channels of G's first level, likewise
    d_width: Count = 16  # channels of D's first three levels
    f_lr: float = 1e-3  # Adam's rate for F, whose first moment decays by 0.9
    g_lr: float = 5e-4  # that for G
    d_lr: float = 2e-4  # that for D
    b1: Decay = 0.5  # Adam's decay of the first moment for G and D


BIG = "coil100,y=object_id,angle=angle,size=256,split=train[:80%],test=train[80%:]"
PRESETS = {
    "default": Config(),
    "paper": Config(BIG, 200_000, 2, 15, l1=0.0, units=2048, g_width=16, d_width=64, f_lr=5e-5, g_lr=1e-4, d_lr=1e-4),
    "tiny": Config("digits,angle=label", 6, batch_size=8, f_width=2, units=16, g_width=2, d_width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    f: Player
    g: Player
    d: Player


def pairs(cfg):
    """Return the source of pairs of views."""
    return data.views(data.load(cfg.dataset))


def build(cfg):
    nets = tvsn.F(cfg.f_width, cfg.units), tvsn.G(cfg.g_width), tvsn.D(cfg.d_width)
    return *nets, optax.adam(cfg.f_lr), optax.adam(cfg.g_lr, cfg.b1), optax.adam(cfg.d_lr, cfg.b1)


def init(cfg, key):
    F, G, D, f_tx, g_tx, d_tx = build(cfg)
    x, turn = jnp.zeros((1, *pairs(cfg).shape)), jnp.zeros((1, 2))
    f = create(F, f_tx, rng.at(key, 0, "f"), x, turn)
    g = create(G, g_tx, rng.at(key, 0, "g"), *moved(cfg, f.params, x, turn)[2], turn)
    return State(jnp.int32(0), key, f, g, create(D, d_tx, rng.at(key, 0, "d"), x))


def moved(cfg, params, a, turn):
    """Return a [b, h, w, c] moved by flow, logits that it is seen [b, h, w, 1], and (the seen part of it, F's code)."""
    (places, logits, code), _ = forward(build(cfg)[0], params, {}, a, turn)
    flow = tvsn.warp(a, places)
    return flow, logits, ((flow + 1) * jax.nn.sigmoid(logits) - 1, code)


def variation(x):
    """Return half of all squared steps, right and down, from pixel to pixel of x [b, h, w, c]: [b]."""
    return (jnp.diff(x, axis=1)[:, :, :-1] ** 2 + jnp.diff(x, axis=2)[:, :-1] ** 2).sum((1, 2, 3)) / 2


def step(cfg, state, batch):
    _, G, D, f_tx, g_tx, d_tx = build(cfg)
    loss, d = losses.non_saturating, state.d
    judged = lambda params, x: forward(D, params, d.stats, x)  # ((scores [b], features), statistics)

    def f_loss(params, part):
        flow, logits, inputs = moved(cfg, params, part["source"], part["turn"])
        error = jnp.abs(flow - part["x"])
        seen = (error.max(3, keepdims=True) < cfg.near).astype(flow.dtype)
        return 2 * error.mean() + optax.sigmoid_binary_cross_entropy(logits, seen).mean(), (inputs, error.mean())

    def g_loss(params, stats, inputs, part):
        made, stats = forward(G, params, stats, *inputs, part["turn"])
        (score, found), (_, wanted) = judged(d.params, made)[0], judged(d.params, part["x"])[0]
        fooling, l1 = loss.g(None, score).mean(), jnp.abs(made - part["x"]).mean()
        features = sum(((one - other) ** 2).mean() for one, other in zip(found, wanted, strict=True))
        value = fooling + cfg.features * features + cfg.smooth * variation(made).mean() + cfg.l1 * l1
        return value, (stats, made, {"loss/g": fooling, "features": features, "l1_ours": l1})

    def update(players, part):
        f, g = players
        f_grads, (inputs, l1_flow) = jax.grad(f_loss, has_aux=True)(f.params, part)
        g_grads, (stats, made, said) = jax.grad(g_loss, has_aux=True)(g.params, g.stats, inputs, part)
        return (descend(f, f_grads, f_tx), descend(g, g_grads, g_tx, stats)), (made, said | {"l1_flow": l1_flow})

    def d_loss(params, real, fake):
        (real_score, _), stats = judged(params, real)  # D keeps the statistics of data
        scores = real_score, judged(params, fake)[0][0]
        return loss.d(*scores).mean(), (stats, [jax.nn.sigmoid(score).mean() for score in scores])

    parts = jax.tree.map(lambda x: x.reshape(cfg.batch_size, -1, *x.shape[1:]).swapaxes(0, 1), batch)  # [k, b, ...]
    (f, g), (made, found) = jax.lax.scan(update, (state.f, state.g), parts)
    (value, (stats, said)), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params, parts["x"][-1], made[-1])
    metrics = {k: rows[-1] for k, rows in found.items()} | {"loss/d": value, "p/real": said[0], "p/fake": said[1]}
    return State(state.step + 1, state.key, f, g, descend(d, grads, d_tx, stats)), metrics


def turned(cfg, state, a, turn):
    """Return a [n, h, w, c] moved by flow alone, the mask [n, h, w, 1] in [0, 1], and what G makes of both."""

    def one(row):
        flow, logits, inputs = moved(cfg, state.f.params, *(x[None] for x in row))
        made, _ = forward(build(cfg)[1], state.g.params, state.g.stats, *inputs, row[1][None], train=False)
        return flow[0], jax.nn.sigmoid(logits[0]), made[0]

    return jax.lax.map(one, (a, turn), batch_size=128)


def sample(cfg, state, key, n):
    batch = data.examples(pairs(cfg), key, n)
    return turned(cfg, state, batch["source"], batch["turn"])[2]


def measure(cfg, state, key, train, test):
    """Return L1 and SSIM of up to 3,000 pairs of test views, of what is beside ours, and twelve pairs as pictures."""
    if not train or "y" not in test:
        return {}
    which = data.view_pairs(pairs(cfg).test, 3000)
    batch = pairs(cfg).test.make(data.take(test, which), key, 0, len(which))
    a, truth = batch["source"], batch["x"]
    flow, seen, made = turned(cfg, state, a, batch["turn"])
    closest = data.decode({"x": train["x"][data.nearest_view(train, test)[which[:, 0]]]})["x"]
    ways = {"input": a, "nearest": closest, "flow": flow, "ours": made}
    found = {f"l1/{name}": jnp.abs(x - truth).mean() / 2 for name, x in ways.items()}
    found |= {f"ssim/{name}": ssim(x, truth).mean() for name, x in ways.items()}
    rows = {"input": a, "flow alone": flow, "the mask": 2 * seen - 1 + 0 * a, "ours": made, "truth": truth}
    return found | {"turned": Picture(jnp.stack([x[:12] for x in rows.values()]), rows=tuple(rows))}


def setup(cfg):
    return Setup(pairs(cfg), cfg.batch_size * cfg.g_steps, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
