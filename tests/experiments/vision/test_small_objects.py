"""The step of Perceptual GAN against its losses box by box; what is small is lifted, and nothing else; sizes apart."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.vision import small_objects
from gan_jax import UserError
from gan_jax.nets import small_objects as nets

CFG = dataclasses.replace(small_objects.PRESETS["tiny"], batch_size=2, adversarial=0.7, lr=1e-2)


def relu(x):
    return jnp.where(x > 0, x, 0)


def conv(p, x, stride=1):
    x = jax.lax.conv_general_dilated(
        x, p["kernel"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return x + p["bias"].reshape(1, 1, 1, -1) if "bias" in p else x


def maps(p, x):
    """The low features, after one convolution, and the high ones, after four; each is normalised over its picture."""
    kept = []
    for i, stride in enumerate((2, 2, 2, 1)):
        x = conv(p[f"Conv_{i}"], x, stride)
        mean = x.mean((1, 2), keepdims=True)
        x = relu((x - mean) / jnp.sqrt(((x - mean) ** 2).mean((1, 2), keepdims=True) + 1e-5))
        kept.append(x)
    return kept[0], kept[3]


def cells(features, box, size):
    """Each cell of each box: the mean of 2x2 places, each between four pixels."""
    h, w, _ = features.shape
    made = np.zeros((len(box), size, size, h, w))
    for n, (top, left, bottom, right) in enumerate(np.float64(box) * [h, w, h, w]):
        for i, j in np.ndindex(2 * size, 2 * size):
            y = min(max(top + (i + 0.5) * (bottom - top) / (2 * size) - 0.5, 0), h - 1)
            x = min(max(left + (j + 0.5) * (right - left) / (2 * size) - 0.5, 0), w - 1)
            for k, l in np.ndindex(2, 2):
                weight = (1 - abs(y - int(y) - k)) * (1 - abs(x - int(x) - l)) / 4
                made[n, i // 2, j // 2, min(int(y) + k, h - 1), min(int(x) + l, w - 1)] += weight
    return jnp.einsum("nijhw,hwc->nijc", made, features)


def lift(p, low):
    """Tiny's G: 3x3, 1x1, one residual block, and the layer that begins at 0."""
    x = relu(conv(p["Conv_1"], relu(conv(p["Conv_0"], low))))
    x = relu(x + conv(p["Conv_3"], relu(conv(p["Conv_2"], x))))
    return conv(p["Conv_4"], x)


def layers(p, f, slope=0.0):
    f = f.reshape(len(f), -1)
    for name in ("Dense_0", "Dense_1"):
        f = oracle.dense(p[name], f)
        f = jnp.where(f > 0, f, slope * f)
    return f


def overlap(a, b):
    high, wide = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return high * wide / (area(a) + area(b) - high * wide)


def shows(box, things, y):
    """The class of what a box shows, from 1, 0: nothing; and how far it is from that, in Fast R-CNN's units."""
    there = [(overlap(box, thing), k) for k, thing in enumerate(things) if y[k] >= 0]
    best, k = max(there)
    if best < 0.5:
        return 0, np.zeros(4)
    centre, size = (lambda b: (b[:2] + b[2:]) / 2), (lambda b: b[2:] - b[:2])
    thing = things[k]
    moved = (centre(thing) - centre(box)) / size(box) / 0.1
    return 1 + y[k], np.concatenate([moved, np.log(size(thing) / size(box)) / 0.2])


def paper(cfg, state, batches, everything=False, through=False, backgrounds=False):
    """G, the features and the perception branch descend its loss, G -log of the other branch's probability, too.

    everything: large boxes are lifted; through: the features learn to fool; backgrounds: D sees them.
    """
    f, g, p, d = oracle.started(state.f, state.g, state.p, state.d)

    def features(f, g, batch):
        found = []
        for k, box in enumerate(batch["proposals"]):
            low, high = (cells(a[k], box, cfg.pool) for a in maps(f, batch["source"]))
            side = np.sqrt([(b[2] - b[0]) * 16 * (b[3] - b[1]) * 16 for b in box])
            small = np.ones(len(box), bool) if everything else side < cfg.small
            residual = lift(g, jax.lax.stop_gradient(low))
            found += [(high[i], residual[i] if small[i] else 0 * residual[i], side[i] < cfg.small) for i in range(6)]
        return found

    def loss(of, d, batch, known):
        f, g, p = of
        found = features(f, g, batch)
        total, fooled = 0.0, []
        for (high, residual, small), (label, target) in zip(found, known, strict=True):
            hidden = layers(p, (high + residual)[None])
            logits, offset = (oracle.dense(p[name], hidden)[0] for name in ("Dense_2", "Dense_3"))
            total += jnp.log(jnp.exp(logits).sum()) - logits[label]
            if label:
                miss = jnp.abs(offset.reshape(3, 4)[label - 1] - target)
                total += jnp.where(miss < 1, miss**2 / 2, miss - 0.5).sum()
            if small and (label or backgrounds):
                seen = (high if through else jax.lax.stop_gradient(high)) + residual
                fooled.append(-jnp.log(oracle.sigmoid(critic(d, seen))))
        return total / len(found) + cfg.adversarial * sum(fooled) / len(fooled)

    critic = lambda d, seen: oracle.dense(d["Dense_2"], layers(d, seen[None], 0.2))[0, 0]

    def d_loss(d, f, g, batch, known):
        costs = {True: [], False: []}
        for (high, residual, small), (label, _) in zip(features(f, g, batch), known, strict=True):
            if label or backgrounds:
                real = oracle.sigmoid(critic(d, high + residual))
                costs[bool(small)].append(-jnp.log(1 - real if small else real))
        return sum(sum(each) / len(each) for each in costs.values())

    for batch in batches:
        rows = zip(batch["proposals"], batch["box"], batch["y"], strict=True)
        known = [shows(box, things, y) for boxes, things, y in rows for box in boxes]
        slopes = jax.grad(loss)([f.params, g.params, p.params], d.params, batch, known)
        value, d_slope = jax.value_and_grad(d_loss)(d.params, f.params, g.params, batch, known)
        f, g, p, d = (oracle.adam(*one, cfg.lr) for one in zip((f, g, p, d), (*slopes, d_slope), strict=True))
    return [f, g, p, d], value


def batches_of(n):
    """In each picture a large and a small thing, and no third; proposals near each of them, and elsewhere."""
    draw, made = np.random.default_rng(0), []
    for _ in range(n):
        box = np.float64([[2, 1, 14, 13], [9, 10, 13, 14], [0, 0, 0, 0]]) / 16
        near = np.float64(
            [[1, 1, 13, 13], [9, 9, 13, 14], [3, 2, 14, 12], [8, 10, 13, 14], [0, 11, 4, 16], [0, 0, 9, 16]]
        )
        proposals = np.clip(np.stack([near, near]) + draw.uniform(-0.4, 0.4, (2, 6, 4)), 0, 16) / 16
        y = draw.integers(0, 3, (2, 3)).astype(np.int32)
        y[:, 2] = -1
        x = draw.uniform(-1, 1, (2, 16, 16, 1))
        made.append({"source": x, "box": np.stack([box, box]), "y": y, "proposals": proposals})
    return made


@pytest.mark.long
def test_step_is_the_paper_s():
    """Two steps equal the paper in float64; with large boxes lifted, or D's slope in the features, they would not."""
    with jax.enable_x64(True):
        batches = batches_of(2)
        start, end, metrics = oracle.played(small_objects, CFG, batches)
        ours = [end.f, end.g, end.p, end.d]
        expected, value = paper(CFG, start, batches)
        oracle.same([ours, metrics["loss/d"]], [expected, value])
        for deviation in ({"everything": True}, {"through": True}, {"backgrounds": True}):
            oracle.differ(ours, paper(CFG, start, batches, **deviation)[0], rtol=1e-4)


def test_small_boxes_alone_are_lifted():
    """By the side that they have in pixels; at first by nothing at all, and with small = 0 none ever."""
    state = jax.jit(functools.partial(small_objects.init, CFG))(jax.random.key(0))
    x, box = jnp.ones((1, 16, 16, 1)), jnp.array([[[0, 0, 7, 9], [0, 0, 8, 8], [0, 0, 4, 4], [0, 0, 5, 16.0]]]) / 16
    residual = lambda cfg, g: small_objects.lifted(cfg, state.f.params, g, x, box)[1].any((1, 2, 3)).tolist()
    assert residual(CFG, state.g.params) == [False] * 4
    one = jax.tree.map(jnp.ones_like, state.g.params)
    assert residual(CFG, one) == [True, False, True, False]
    assert residual(dataclasses.replace(CFG, small=0), one) == [False] * 4


def test_the_published_shapes():
    """G's residual has as many channels as what it is added to; both branches end as the paper has them."""
    cfg = small_objects.PRESETS["paper"]
    x, f = jnp.zeros((1, 240, 320, 3)), jnp.zeros((5, cfg.pool, cfg.pool, 2 * cfg.width))
    of = lambda net, *x: jax.eval_shape(functools.partial(net.init_with_output, jax.random.key(0)), *x)
    (low, high), _ = of(nets.Features(cfg.width), x)
    assert low.shape == (1, 120, 160, cfg.width) and high.shape == (1, 30, 40, 2 * cfg.width)
    out, variables = of(nets.G(2 * cfg.width, cfg.blocks), f[..., : cfg.width])
    c = 2 * cfg.width
    weights = (9 * cfg.width * c + c) + (c * c + c) + 6 * 2 * (9 * c * c + c) + (c * c + c)
    assert out.shape == f.shape and sum(math.prod(a.shape) for a in jax.tree.leaves(variables)) == weights
    assert of(nets.D(cfg.wide), f)[0].shape == (5,)


def test_few_detections_are_kept():
    """Those with the highest scores of a picture, whatever their class, and after suppression."""
    state = jax.jit(functools.partial(small_objects.init, CFG))(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (2, 16, 16, 1))
    few, many = (
        jax.jit(functools.partial(small_objects.detected, dataclasses.replace(CFG, detections=n)))(state, x)
        for n in (3, 10_000)
    )
    for some, every in zip(few[1], many[1], strict=True):
        kept = some > -jnp.inf
        assert kept.sum() == 3 and some[kept].min() >= jnp.where(kept, -jnp.inf, every).max()
    np.testing.assert_array_equal(few[0], many[0])


def test_a_set_without_boxes():
    with pytest.raises(UserError, match="digits has no feature 'objects/label'"):
        small_objects.setup(dataclasses.replace(CFG, dataset="digits"))
    with pytest.raises(UserError, match="strewn_shapes is 32x32: it has no windows of 60x80"):
        small_objects.setup(dataclasses.replace(CFG, window=(60, 80)))
    with pytest.raises(UserError, match="squares have sides from 1 pixel on"):
        small_objects.setup(dataclasses.replace(CFG, anchors=()))
