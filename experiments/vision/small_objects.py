"""Perceptual GAN: features of small things are made like those of large ones, so that a detector knows what they are.

Li, Liang, Wei, Xu, Feng and Yan 2017, arXiv 1706.05274. The high features of a small thing are poor: few pixels are
left of it so far up. G sees the low features of its box, and adds a residual to the high ones. D has two branches: the
adversarial one tells features of large things from those that G lifted, and the perception branch says what is in a
box, and where. G descends -log of what the first makes of its features, and what the second loses by them.

`measure`: recall and average precision of small, middle and large things, at an intersection over union of 1/2, by the
`detections` with the highest scores in each held-out picture, at all scales. `--small 0` is the detector alone,
`--adversarial 0` is G that knows of no large things.

Differences from the paper, of which we know of no authors' code:
1. Cells in blood (BCCD) in windows of 60x80 pixels at three scales, so that one kind is small here and large there, in
   place of traffic signs and pedestrians. Small are boxes of less than 16x16 pixels there, large here all others.
2. Few channels, features of boxes sampled bilinearly, and nothing is known of ImageNet; the convolutions are normalised
   over each picture. All learn in every step, each by the others as they were, with Adam at one rate.
3. The perception branch and the features learn from small things too, as G has lifted them; there from large things
   first. The features don't learn from what G and the adversarial branch make of them.
4. G has no batch norm, and a last layer that begins at 0: first the detector is as without it.
5. The adversarial branch sees boxes that show a thing. Boxes are proposed around things, moved and stretched, and
   anywhere; of pictures that are held out squares all over them are, in place of a net that proposes some.

    python -m experiments small_objects
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import detection
from gan_jax.nets import boxes, roi
from gan_jax.nets import small_objects as nets
from gan_jax.nets.hard_positives import Heads
from gan_jax.run import Count, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "bccd_small"  # pictures with boxes of things
    window: tuple[Count, Count] = (60, 80)  # height and width of what is seen of a picture
    factors: tuple[Count, ...] = (1, 2, 4)  # by one of which it is shrunk before
    proposals: Count = 48  # boxes of a picture that are trained on
    anchors: tuple[Count, ...] = (6, 12, 24, 48)  # sides of the squares all over a held-out picture, in pixels
    detections: Count = 20  # of a held-out picture, those with the highest scores
    small: float = 16.0  # side in pixels, the root of the area, below which G lifts a box; 0: none
    sizes: tuple[float, float] = (16.0, 32.0)  # sides from which on things are called middle, and large
    steps: Count = 1200  # updates of all
    batch_size: Count = 8  # pictures a step
    adversarial: float = 0.01  # weight of -log D in G's loss
    pool: Count = 5  # cells a side of a box's features
    width: Count = 16  # channels of the low features; the high ones have twice as many
    blocks: Count = 2  # residual ones of G
    wide: Count = 128  # units of the layers of both branches
    lr: float = 1e-3  # Adam's rate for all


_least = {"window": (16, 16), "factors": (1, 2), "proposals": 6, "anchors": (8,), "detections": 4, "small": 8}
_vgg = {"pool": 7, "width": 128, "blocks": 6, "wide": 4096}
PRESETS = {
    "default": Config(),
    "paper": Config(window=(240, 320), factors=(1,), anchors=(12, 24, 48, 96), small=32, sizes=(32, 96), **_vgg),
    "tiny": Config("strewn_shapes", **_least, sizes=(8, 12), steps=6, pool=3, width=1, blocks=1, wide=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    f: Player  # the features of a picture
    g: Player
    p: Player  # D's perception branch
    d: Player  # D's adversarial branch


def things(cfg, factors=None):
    """Return the source of windows `source`; x is what they are with their things outlined."""
    source = data.windows(data.boxed(cfg.dataset), cfg.window, factors or cfg.factors)
    return data.outlined(data.proposed(source, cfg.proposals))


def build(cfg):
    F, G = nets.Features(cfg.width), nets.G(2 * cfg.width, cfg.blocks)
    return F, G, Heads(things(cfg).fields["y"].classes, cfg.wide), nets.D(cfg.wide), optax.adam(cfg.lr)


def init(cfg, key):
    F, G, P, D, tx = build(cfg)
    low, high = (jnp.zeros((1, cfg.pool, cfg.pool, channels)) for channels in (cfg.width, 2 * cfg.width))
    made = ((F, jnp.zeros((1, *things(cfg).shape)), "f"), (G, low, "g"), (P, high, "p"), (D, high, "d"))
    return State(jnp.int32(0), key, *(create(net, tx, rng.at(key, 0, name), like) for net, like, name in made))


def side(cfg, box):
    """Return the sides [...] of boxes [..., 4] in pixels: the roots of their areas."""
    return jnp.sqrt(boxes.area(box) * math.prod(cfg.window))


def lifted(cfg, f, g, x, box):
    """Return features [b n, pool, pool, c] of boxes [b, n, 4] in pictures x, and what G adds to those of small ones."""
    F, G, *_ = build(cfg)
    rows = lambda a: roi.pooled(a, box, cfg.pool).reshape(-1, cfg.pool, cfg.pool, a.shape[3])
    low, high = (rows(a) for a in forward(F, f, {}, x)[0])
    return high, (side(cfg, box) < cfg.small).reshape(-1, 1, 1, 1) * forward(G, g, {}, jax.lax.stop_gradient(low))[0]


def step(cfg, state, batch):
    *_, P, D, tx = build(cfg)
    label, target = boxes.named(batch["proposals"], batch["box"], batch["y"])
    label, target = label.ravel(), target.reshape(-1, 4)
    is_small, thing = (side(cfg, batch["proposals"]) < cfg.small).ravel(), label > 0
    small, large = is_small & thing, ~is_small & thing
    mean = lambda each, which: (each * which).sum() / jnp.maximum(which.sum(), 1)

    def loss(params):
        f, g, p = params
        high, residual = lifted(cfg, f, g, batch["source"], batch["proposals"])
        classes, error = (each.mean() for each in boxes.losses(*forward(P, p, {}, high + residual)[0], label, target))
        seen = jax.lax.stop_gradient(high) + residual
        fooling = mean(jax.nn.softplus(-forward(D, state.d.params, {}, seen)[0]), small)
        metrics = {"loss/class": classes, "loss/box": error, "loss/g": fooling}
        return classes + error + cfg.adversarial * fooling, (seen, metrics)

    def d_loss(params, seen):
        scores = forward(D, params, {}, seen)[0]
        value = mean(jax.nn.softplus(-scores), large) + mean(jax.nn.softplus(scores), small)
        return value, {"loss/d": value, "p/fake": mean(jax.nn.sigmoid(scores), small)}

    players = state.f, state.g, state.p
    grads, (seen, metrics) = jax.grad(loss, has_aux=True)([player.params for player in players])
    d_grads, more = jax.grad(d_loss, has_aux=True)(state.d.params, seen)
    players = (descend(player, slope, tx) for player, slope in zip(players, grads, strict=True))
    return State(state.step + 1, state.key, *players, descend(state.d, d_grads, tx)), metrics | more


def detected(cfg, state, x):
    """Return boxes [p, n, classes, 4] in pictures x [p, h, w, c], and their scores, but of the highest ones -inf."""
    squares = jnp.asarray(data.anchors(*cfg.window, cfg.anchors))

    def one(x):
        features = sum(lifted(cfg, state.f.params, state.g.params, x[None], squares[None]))
        box, score = boxes.detected(squares, *forward(build(cfg)[2], state.p.params, {}, features)[0])
        least = jax.lax.top_k(score.ravel(), min(cfg.detections, score.size))[0][-1]
        return box, jnp.where(score >= least, score, -jnp.inf)

    return jax.lax.map(one, x)


def sample(cfg, state, key, n):
    x = data.examples(things(cfg), key, n)["source"]
    return boxes.shown(x, *detected(cfg, state, x))


def measure(cfg, state, key, train, test):
    """Return recall and precision by size over up to 256 test pictures at each scale, and three of these at each."""
    if not test:
        return {}
    some = jax.tree.map(lambda a: a[:256], test)
    scales = [things(cfg, (factor,)).test.make(some, key, 0, len(some["x"])) for factor in cfg.factors]
    true, x, box, y = (jnp.concatenate([rows[name] for rows in scales]) for name in ("x", "source", "box", "y"))
    metrics = detection.by_size(*(found := detected(cfg, state, x)), box, y, math.prod(cfg.window), cfg.sizes)
    first = lambda a: a.reshape(len(scales), -1, *a.shape[1:])[:, :3].reshape(-1, *a.shape[1:])
    drawn = jnp.stack([first(true), boxes.shown(*map(first, (x, *found)))])
    return metrics | {"test": Picture(drawn, rows=("truth", "found"))}


def setup(cfg):
    data.anchors(*cfg.window, cfg.anchors)  # what is none is refused now
    return Setup(things(cfg), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
