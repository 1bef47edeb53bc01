"""A-Fast-RCNN: adversaries drop and turn the features of a detector, so that it learns from positives that are hard.

Wang, Shrivastava and Gupta 2017, arXiv 1704.03414. A Fast R-CNN says of proposed boxes what is in them, and moves them.
ASDN says which cells of a box's features are to be dropped, ASTN by which angles four blocks of its channels are to be
turned. At first the detector learns alone. Then the adversaries do, while it stays as it is: ASDN to say the window
without which the right class is least probable. Then all learn: ASDN to say the cells that were dropped, where that
took `fell` of this probability. ASTN always climbs the detector's loss. `measure` has mean average precision and recall
at an intersection over union of 1/2.

Differences from the paper and the authors' code, which has ASDN alone:
1. Cells in blood (BCCD), few channels, convolutions normalised over each picture, no ImageNet, no dropout.
2. Boxes are proposed around things and anywhere, and all are trained on; held-out pictures have squares all over them.
3. Features are sampled bilinearly; by default a box has 6x6 cells, of which the windows of 2x2 are a third a side.
4. Of every two pictures one stays as it is, as in the code. ASTN sees nothing of the drop; `fell` counts the turn, too.
5. Adam with one rate for all; pre-training keeps the gradients of all cells (there of the window and 40 % of the rest).

    python -m experiments hard_positives                    cells in blood; --no-asdn --no-astn: the detector alone
    python -m experiments hard_positives --preset digits    MNIST's digits among pieces of others
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import detection
from gan_jax.nets import boxes, roi
from gan_jax.nets import hard_positives as nets
from gan_jax.run import Count, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "bccd_small"  # pictures with boxes of things
    shrink: Count = 2  # by which pictures are smaller
    mirrored: bool = True  # every second picture is, in training
    proposals: Count = 64  # boxes of a picture that are trained on
    anchors: tuple[Count, ...] = (10, 16, 24, 36, 52)  # sides of the squares all over a held-out picture, in pixels
    alone: int = 500  # updates of the detector before all else
    pretrain: int = 150  # updates of the adversaries after these, while the detector stays as it is
    steps: Count = 1400  # updates, these included
    batch_size: Count = 2  # pictures a step
    asdn: bool = True  # whether cells are dropped
    astn: bool = True  # whether features are turned
    pool: Count = 6  # cells a side of a box's features
    window: Count = 2  # cells a side of what ASDN learns to drop at first
    among: Share = 20 / 49  # of the cells, those with ASDN's highest scores, out of which some are dropped
    drop: Share = 15 / 49  # of the cells, those that are
    fell: Share = 0.1  # what a drop must take from the probability of the right class, for ASDN to learn it
    width: Count = 16  # channels of the first convolution; a box's features have 4 times as many
    wide: Count = 128  # units of the detector's and of ASTN's two layers
    masks: Count = 16  # channels of ASDN
    lr: float = 1e-3  # Adam's rate for all


PRESETS = {
    "default": Config(),
    "digits": Config("cluttered_mnist", 1, anchors=(14, 20), mirrored=False),
    "paper": Config(alone=10_000, pretrain=25_000, steps=75_000, shrink=1, pool=7, width=128, wide=4096, masks=256),
    "tiny": Config("strewn_shapes", 1, True, 4, (8,), 1, 1, 6, 4, pool=3, window=1, width=1, wide=4, masks=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    c: Player  # the detector's convolutions
    d: Player  # its layers for a box's features
    asdn: Player
    astn: Player


def things(cfg):
    """Return the source of pictures `source`, x with its things outlined, their `box` and class y, and `proposals`."""
    source = data.boxed(cfg.dataset)
    sides = source.shape[0] // cfg.shrink, source.shape[1] // cfg.shrink
    return data.outlined(data.proposed(data.windows(source, sides, (cfg.shrink,), cfg.mirrored), cfg.proposals))


def build(cfg):
    C, D = nets.Features(cfg.width), nets.Heads(things(cfg).fields["y"].classes, cfg.wide)
    return C, D, nets.ASDN(cfg.masks), nets.ASTN(cfg.wide), optax.adam(cfg.lr)


def init(cfg, key):
    C, *others, tx = build(cfg)
    c = create(C, tx, rng.at(key, 0, "c"), jnp.zeros((1, *things(cfg).shape)))
    f = jnp.zeros((1, cfg.pool, cfg.pool, 4 * cfg.width))
    return State(jnp.int32(0), key, c, *(create(net, tx, rng.at(key, i, "d"), f) for i, net in enumerate(others)))


def features(cfg, c, x, proposals):
    """Return features [b n, pool, pool, channels] of boxes [b, n, 4] of pictures x [b, h, w, c]."""
    f = roi.pooled(forward(build(cfg)[0], c, {}, x)[0], proposals, cfg.pool)
    return f.reshape(-1, *f.shape[2:])


def step(cfg, state, batch):
    _, D, ASDN, ASTN, tx = build(cfg)
    f, back = jax.vjp(lambda c: features(cfg, c, batch["source"], batch["proposals"]), state.c.params)
    label, target = (a.reshape(len(f), *a.shape[2:]) for a in boxes.named(batch["proposals"], batch["box"], batch["y"]))
    alone, joint = state.step < cfg.alone, state.step >= cfg.alone + cfg.pretrain
    thing, second = label > 0, jnp.repeat(jnp.arange(len(batch["source"])) % 2 == 1, cfg.proposals)
    hard, key = thing & second & joint, rng.at(state.key, state.step, "drop")
    scores = lambda asdn: forward(ASDN, asdn, {}, f)[0]  # [r, s, s]
    cells = nets.dropped(scores(state.asdn.params), cfg.among, cfg.drop, key)
    mask = jnp.where((hard & cfg.asdn).reshape(-1, 1, 1), cells, 0)
    angle = lambda astn, rows: jnp.where((rows & cfg.astn)[:, None], forward(ASTN, astn, {}, f)[0], 0)
    heads = lambda d, f, angle: forward(D, d, {}, nets.turned(nets.hidden(f, mask), angle))[0]
    mean = lambda each, rows: jnp.where(rows, each, 0).sum(dtype=f.dtype) / jnp.maximum(rows.sum(), 1)
    right = lambda logits: jnp.take_along_axis(jax.nn.softmax(logits), label[:, None], 1)[:, 0]

    def d_loss(d, f):
        logits, offset = heads(d, f, angle(state.astn.params, hard))
        classes, error = (each.mean() for each in boxes.losses(logits, offset, label, target))
        return classes + error, (logits, {"loss/class": classes, "loss/box": error})

    def oppose(asdn, astn):
        plain, rows = lambda f: right(forward(D, state.d.params, {}, f)[0][0]), jnp.where(joint, hard, thing)
        fell = plain(f) - right(logits) > cfg.fell
        cells = jax.lax.cond(joint, lambda: mask, lambda: nets.worst(plain, f, cfg.window))
        learned = rows & (fell | ~joint) & cfg.asdn
        asdn_loss = lambda p: mean(optax.sigmoid_binary_cross_entropy(scores(p), cells).mean((1, 2)), learned)
        astn_loss = lambda p: -mean(boxes.losses(*heads(state.d.params, f, angle(p, rows)), label, target)[0], rows)
        drops, to_asdn = jax.value_and_grad(asdn_loss)(asdn.params)
        turns, to_astn = jax.value_and_grad(astn_loss)(astn.params)
        return descend(asdn, to_asdn, tx), descend(astn, to_astn, tx), (drops, turns, mean(fell, hard))

    (to_d, to_f), (logits, metrics) = jax.grad(d_loss, (0, 1), has_aux=True)(state.d.params, f)
    learn = lambda c, d: (descend(c, *back(to_f), tx), descend(d, to_d, tx))
    c, d = jax.lax.cond(alone | joint, learn, lambda *same: same, state.c, state.d)
    idle, rest = alone | (not (cfg.asdn or cfg.astn)), lambda *same: (*same, (0 * mask.sum(),) * 3)
    asdn, astn, values = jax.lax.cond(idle, rest, oppose, state.asdn, state.astn)
    metrics |= dict(zip(("loss/asdn", "loss/astn", "fell"), values, strict=True))
    return State(state.step + 1, state.key, c, d, asdn, astn), metrics


def detections(cfg, state, x):
    """Return boxes [p, n, classes, 4] in pictures x [p, h, w, c], and their scores, -inf where suppressed."""
    D, proposals = build(cfg)[1], jnp.asarray(data.anchors(*x.shape[1:3], cfg.anchors))
    heads = lambda x: forward(D, state.d.params, {}, features(cfg, state.c.params, x[None], proposals[None]))[0]
    return jax.lax.map(lambda x: boxes.detected(proposals, *heads(x)), x)


def sample(cfg, state, key, n):
    x = data.examples(things(cfg), key, n)["source"]
    return boxes.shown(x, *detections(cfg, state, x))


def measure(cfg, state, key, train, test):
    """Return precision and recall over up to 256 test pictures; the first of these, and the cells that ASDN drops."""
    if not test:
        return {}
    rows = things(cfg).test.make(some := jax.tree.map(lambda a: a[:256], test), key, 0, len(some["x"]))
    found = detections(cfg, state, rows["source"])
    first = rows["source"][:8], rows["box"][:8, :1]  # a thing of each picture
    scores = forward(build(cfg)[2], state.asdn.params, {}, features(cfg, state.c.params, *first))[0]
    cells = nets.dropped(scores, cfg.drop, cfg.drop, key).repeat(8, 1).repeat(8, 2)[..., None]
    thing = roi.pooled(*first, 8 * cfg.pool)[:, 0]
    drawn = jnp.stack([rows["x"][:8], boxes.shown(first[0], *(a[:8] for a in found))])
    return detection.scores(*found, rows["box"], rows["y"]) | {
        "test": Picture(drawn, rows=("truth", "found")),
        "dropped": Picture(jnp.stack([thing, jnp.where(cells > 0, -1, thing)]), rows=("thing", "dropped")),
    }


def setup(cfg):
    if cfg.batch_size < 2 or cfg.window > cfg.pool or cfg.drop > cfg.among:
        raise UserError("a batch has two pictures or more, a window no more cells than `pool`, and drop <= among.")
    return Setup(things(cfg), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
