"""A-Fast-RCNN's three stages against plain loops; its adversaries' nets; which cells are dropped; what is measured."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.vision import hard_positives
from gan_jax import UserError
from gan_jax.game import rng
from gan_jax.nets import hard_positives as nets

CFG = dataclasses.replace(hard_positives.PRESETS["tiny"], batch_size=2, pool=4, window=2, fell=1e-3, lr=1e-2)
SIDE, N, CLASSES = 16, 6, 3  # of a picture, its proposals


def conv(p, x, stride=1):
    x = jax.lax.conv_general_dilated(
        x, p["kernel"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return x + p["bias"].reshape(1, 1, 1, -1) if "bias" in p else x


def relu(x):
    return jnp.where(x > 0, x, 0)


def places(box, h, w):
    """Of each of 4x4 cells of a box the pixels [16, 16] around its 2x2 places, rows and columns, and their weights."""
    top, left, bottom, right = box
    found = [[] for _ in range(16)]
    for i, j in itertools.product(range(8), repeat=2):
        a = min(max((top + (bottom - top) * (i + 0.5) / 8) * h - 0.5, 0), h - 1)
        b = min(max((left + (right - left) * (j + 0.5) / 8) * w - 0.5, 0), w - 1)
        m, n = min(int(a), h - 2), min(int(b), w - 2)
        for k, l in itertools.product((m, m + 1), (n, n + 1)):
            found[4 * (i // 2) + j // 2].append((k, l, (1 - abs(a - k)) * (1 - abs(b - l)) / 4))
    rows, columns, weights = np.moveaxis(np.array(found), 2, 0)
    return rows.astype(int), columns.astype(int), weights


def features(p, x, proposals):
    """Four convolutions, normalised over each picture; of each box 4x4 cells, each the mean of 2x2 places."""
    for i, stride in enumerate((2, 2, 1, 1)):
        x = conv(p[f"Conv_{i}"], x, stride)
        middle = x.mean((1, 2), keepdims=True)
        x = relu((x - middle) / jnp.sqrt(((x - middle) ** 2).mean((1, 2), keepdims=True) + 1e-5))
    each = []
    for f, of in zip(x, proposals, strict=True):
        for box in of:
            rows, columns, weights = places(box, *x.shape[1:3])
            each.append((f[rows, columns] * weights[..., None]).sum(1).reshape(4, 4, -1))
    return jnp.stack(each)


def heads(p, f):
    f = f.reshape(len(f), -1)
    for i in range(2):
        f = relu(oracle.dense(p[f"Dense_{i}"], f))
    return oracle.dense(p["Dense_2"], f), oracle.dense(p["Dense_3"], f).reshape(len(f), CLASSES, 4)


def asdn(p, f):
    for i in range(4):
        f = relu(conv(p[f"Conv_{i}"], f))
    return conv(p["Conv_4"], f)[..., 0]


def astn(p, f):
    f = f.reshape(len(f), -1)
    for i in range(2):
        f = relu(oracle.dense(p[f"Dense_{i}"], f))
    return jnp.pi / 18 * jnp.tanh(oracle.dense(p["Dense_2"], f))


def turned(f, angles):
    """Each quarter of the channels about the middle; what comes from outside is 0."""
    y, x = jnp.meshgrid(jnp.arange(4) - 1.5, jnp.arange(4) - 1.5, indexing="ij")

    def one(f, angle):
        at = [jnp.cos(angle) * y + jnp.sin(angle) * x + 1.5, jnp.cos(angle) * x - jnp.sin(angle) * y + 1.5]
        return jax.scipy.ndimage.map_coordinates(f, at, 1, "constant", 0.0)

    each = jax.vmap(
        lambda f, four: jnp.stack([one(f[..., k], four[k]) for k in range(4)], 2)
    )  # tiny has a channel each
    return each(f, angles)


def named(batch):
    """The class of each proposal, and R-CNN's targets, by loops."""
    labels, targets = [], []
    for box, y, proposals in zip(batch["box"], batch["y"], batch["proposals"], strict=True):
        for p in proposals:
            best, of = -1, None
            for b, k in zip(box, y, strict=True):
                both = max(min(p[2], b[2]) - max(p[0], b[0]), 0) * max(min(p[3], b[3]) - max(p[1], b[1]), 0)
                size = lambda a: (a[2] - a[0]) * (a[3] - a[1])
                overlap = both / (size(p) + size(b) - both)
                if k >= 0 and overlap > best:
                    best, of = overlap, (b, k)
            labels.append(1 + of[1] if best >= 0.5 else 0)
            (h, w), (n, m) = (p[2:] - p[:2]), (of[0][2:] - of[0][:2])
            middle = (of[0][:2] + of[0][2:] - p[:2] - p[2:]) / 2
            targets.append([middle[0] / h / 0.1, middle[1] / w / 0.1, math.log(n / h) / 0.2, math.log(m / w) / 0.2])
    return np.array(labels), np.array(targets)


def chances(logits):
    return jnp.exp(logits) / jnp.exp(logits).sum(1, keepdims=True)


def detector_loss(d, f, labels, targets):
    """Of all proposals: -log of the right class; of things smooth L1 of its offsets."""
    logits, offsets = heads(d, f)
    total = 0.0
    for r, k in enumerate(labels):
        total -= jnp.log(chances(logits)[r, k])
        if k:
            away = jnp.abs(offsets[r, k - 1] - targets[r])
            total += jnp.where(away < 1, away**2 / 2, away - 0.5).sum()
    return total / len(labels)


def cross_entropy(p, f, cells, rows):
    said = oracle.sigmoid(asdn(p, f))
    each = -(cells * jnp.log(said) + (1 - cells) * jnp.log(1 - said))
    return sum(each[r].mean() for r in rows) / max(len(rows), 1)


def worst(d, f, labels):
    """Of each row the window of 2x2 cells without which its class is least probable."""
    masks = np.zeros((9, 4, 4))
    for mask, (i, j) in zip(masks, itertools.product(range(3), repeat=2), strict=True):
        mask[i : i + 2, j : j + 2] = 1
    left = [np.asarray(chances(heads(d, f * (1 - mask[None, ..., None]))[0])) for mask in masks]
    return np.stack([masks[np.argmin([p[r, k] for p in left])] for r, k in enumerate(labels)])


def paper(cfg, state, batches, deviation=""):
    """Detector; then its adversaries; then all, and of every second picture the things are made hard."""
    c, d, drop, turn = oracle.started(state.c, state.d, state.asdn, state.astn)
    for t, batch in enumerate(batches):
        labels, targets = named(batch)
        things = np.flatnonzero(labels)
        f = features(c.params, batch["source"], batch["proposals"])
        cells, angles, rows = np.zeros((2 * N, 4, 4)), jnp.zeros((2 * N, 4)), things
        if t == 2:
            rows = things[things >= N]
            noise = np.asarray(rng.uniform(rng.at(state.key, t, "drop"), (2 * N, 7)))  # 20 / 49 of 16 cells, of them 5
            scores = np.asarray(asdn(drop.params, f)).reshape(2 * N, 16)
            for r in rows:
                best = np.argsort(-scores[r], kind="stable")[:7]
                cells[r].flat[best[np.argsort(-noise[r], kind="stable")[:5]]] = 1
            there = np.isin(np.arange(2 * N), rows)[:, None]
            angles = jnp.where(there, astn(turn.params, f), 0)
        made = lambda f, angles: turned(f * (1 - cells[..., None]), angles)
        if t != 1 or deviation == "restless":
            loss = lambda c, d: detector_loss(
                d, made(features(c, batch["source"], batch["proposals"]), angles), labels, targets
            )
            to_c, to_d = jax.jit(jax.grad(loss, (0, 1)))(c.params, d.params)
            learned = oracle.adam(c, to_c, cfg.lr), oracle.adam(d, to_d, cfg.lr)
        else:
            learned = c, d
        if t:
            learn = rows
            if t == 2:
                plain, hard = (np.asarray(chances(heads(d.params, of)[0])) for of in (f, made(f, angles)))
                fell = [r for r in rows if plain[r, labels[r]] - hard[r, labels[r]] > cfg.fell]
                assert 0 < len(fell) < len(rows)
                learn = rows if deviation == "all" else fell
            right = worst(d.params, f, labels) if t == 1 else cells

            def astn_loss(p, f=f, d=d, made=made, rows=rows, labels=labels):
                each = chances(heads(d.params, made(f, astn(p, f)))[0])
                return sum(jnp.log(each[r, labels[r]]) for r in rows) / len(rows)

            to_drop = jax.grad(cross_entropy)(drop.params, f, right, learn)
            to_turn = jax.grad(astn_loss)(turn.params)
            to_turn = jax.tree.map(jnp.negative, to_turn) if deviation == "kind" else to_turn
            drop, turn = oracle.adam(drop, to_drop, cfg.lr), oracle.adam(turn, to_turn, cfg.lr)
        c, d = learned
    return [c, d, drop, turn]


def drawn():
    """Three batches of two pictures with three things, some of whose proposals are near them."""
    draw, batches = np.random.default_rng(0), []
    for _ in range(3):
        at = draw.uniform(0, 0.5, (2, 3, 2))
        box = np.concatenate([at, at + draw.uniform(0.3, 0.5, (2, 3, 2))], 2)
        y = draw.integers(0, CLASSES, (2, 3)).astype(np.int32)
        y[:, 2] = -1
        proposals = box[:, [0, 1, 0, 1, 0, 1]] + draw.normal(0, 0.03, (2, N, 4))
        proposals[:, 0] = [0.1, 0.2, 0.9, 0.4]
        batches.append({"source": draw.uniform(-1, 1, (2, SIDE, SIDE, 1)), "box": box, "y": y, "proposals": proposals})
    return batches


@pytest.mark.long
def test_step_is_the_paper_s():
    """A step of each stage equals the paper in float64; with one that is another they would not."""
    cfg = dataclasses.replace(CFG, proposals=N)
    with jax.enable_x64(True):
        batches = drawn()
        start, end, _ = oracle.played(hard_positives, cfg, batches)
        ours = [end.c, end.d, end.asdn, end.astn]
        oracle.same(ours, paper(cfg, start, batches), rtol=1e-8)
        for deviation in ("restless", "all", "kind"):
            oracle.differ(ours, paper(cfg, start, batches, deviation), rtol=1e-4)


# The nets, and what is done to features


def size(net, x):
    """Return (the shapes of the net's output, how many parameters it has)."""
    out, variables = jax.eval_shape(functools.partial(net.init_with_output, jax.random.key(0)), x)
    return jax.tree.map(lambda a: a.shape, out), sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables))


def test_the_nets():
    """Fast R-CNN's layers for VGG16's 7x7 cells of 512 channels, 21 classes; the code's ASDN; ASTN's four angles."""
    cfg, f = hard_positives.PRESETS["paper"], jnp.zeros((2, 7, 7, 512))
    layers = 25_088 * 4096 + 4096 + 4096 * 4096 + 4096
    assert size(nets.Heads(20, cfg.wide), f) == (((2, 21), (2, 20, 4)), layers + 4097 * 101)
    channels = [512, 256, 256, 256, 256, 1]
    assert size(nets.ASDN(cfg.masks), f) == ((2, 7, 7), sum(9 * a * b + b for a, b in itertools.pairwise(channels)))
    assert size(nets.ASTN(cfg.wide), f) == ((2, 4), layers + 4097 * 4)
    assert size(nets.Features(cfg.width), jnp.zeros((1, 30, 41, 3)))[0] == (1, 8, 11, 512)


def test_angles_are_within_ten_degrees():
    net, f = nets.ASTN(8), 1e3 * jax.random.normal(jax.random.key(0), (64, 3, 3, 4))
    angle = net.apply(jax.tree.map(lambda a: 100 * a, net.init(jax.random.key(1), f)), f)
    np.testing.assert_allclose(jnp.abs(angle).max(), np.pi / 18, rtol=1e-5)


def test_turned():
    """Not at all; each quarter of the channels by a right angle of its own; and a little, from the corners out to 0."""
    f = jax.random.normal(jax.random.key(0), (1, 3, 3, 8))
    np.testing.assert_allclose(nets.turned(f, jnp.zeros((1, 4))), f, atol=1e-6)
    found = nets.turned(f, jnp.pi / 2 * jnp.array([[0, 1, 2, 3]]))
    for k in range(4):
        np.testing.assert_allclose(
            found[0, ..., 2 * k : 2 * k + 2], np.rot90(f[0, ..., 2 * k : 2 * k + 2], k), atol=1e-5
        )
    little = nets.turned(jnp.ones((1, 3, 3, 4)), jnp.full((1, 4), 0.1))[0, ..., 0]
    inside = 1 - (math.cos(0.1) + math.sin(0.1) - 1)  # of the corner's place, along one axis; along the other all is
    assert little[1, 1] == 1 and little[0, 0] == pytest.approx(inside, rel=1e-5)


def test_what_is_dropped():
    """5 of the 7 highest of 16 cells, each of them about as often, the lowest never."""
    scores = jnp.tile(jax.random.normal(jax.random.key(0), (1, 4, 4)), (2000, 1, 1))
    cells = np.asarray(nets.dropped(scores, 20 / 49, 15 / 49, jax.random.key(1))).reshape(2000, 16)
    assert set(cells.ravel()) == {0, 1} and (cells.sum(1) == 5).all()
    often, highest = cells.mean(0), np.argsort(-np.asarray(scores[0]).ravel())
    np.testing.assert_allclose(often[highest[:7]], 5 / 7, atol=0.05)
    assert not often[highest[7:]].any()


def test_the_worst_window():
    """Of a probability that is the sum of the features: where the most of it is."""
    f = jnp.zeros((2, 4, 4, 1)).at[0, 1:3, 2:4].set(1).at[1, 3, 0].set(2)
    found = nets.worst(lambda f: f.sum((1, 2, 3)), f, 2)
    np.testing.assert_array_equal(found[0], f[0, ..., 0])
    assert found[1, 3, 0] == 1 and found.sum((1, 2)).tolist() == [4, 4]


def test_without_adversaries():
    """Neither moves, nor is anything made hard; and the detector stays while they would learn."""
    cfg = dataclasses.replace(CFG, asdn=False, astn=False, proposals=N)
    states = [jax.jit(functools.partial(hard_positives.init, cfg))(jax.random.key(0))]
    step = jax.jit(functools.partial(hard_positives.step, cfg))
    for batch in drawn():
        states.append(step(states[-1], jax.tree.map(np.float32, batch) | {"y": batch["y"]})[0])
    moved = lambda a, b: any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (a.params, b.params)), strict=True))
    for before, after, learns in zip(states, states[1:], (True, False, True), strict=False):
        assert moved(before.d, after.d) == moved(before.c, after.c) == learns
        assert not moved(before.asdn, after.asdn) and not moved(before.astn, after.astn)


@pytest.mark.parametrize("wrong", [{"batch_size": 1}, {"window": 5}, {"drop": 0.9}])
def test_what_can_not_be_made_hard(wrong):
    with pytest.raises(UserError, match="two pictures or more"):
        hard_positives.setup(dataclasses.replace(CFG, **wrong))
