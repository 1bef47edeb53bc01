"""Adversarial segmentation's step against its two losses in plain loops; the encodings; its nets' numbers; what it names."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.vision import segment
from gan_jax import UserError, data
from gan_jax.data import composed
from gan_jax.nets import segment as nets

TINY = dataclasses.replace(segment.PRESETS["tiny"], batch_size=2, unlabelled=4, adversarial=0.5, lr=1e-2)
CLASSES = 11
WAYS = [pytest.param("basic", marks=pytest.mark.long), pytest.param("product", marks=pytest.mark.long), "scaling"]


def conv(p, x, rate=1):
    """A convolution of stride 1 by JAX alone, its taps `rate` pixels apart."""
    x = jax.lax.conv_general_dilated(
        x, p["kernel"], (1, 1), "SAME", rhs_dilation=(rate, rate), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return x + p["bias"].reshape(1, 1, 1, -1) if "bias" in p else x


def relu(x):
    return jnp.where(x > 0, x, 0)


def normed(x):
    mean = x.mean((1, 2), keepdims=True)
    return relu((x - mean) / jnp.sqrt(((x - mean) ** 2).mean((1, 2), keepdims=True) + 1e-5))


def halved(x):
    b, n, m, c = x.shape
    return x.reshape(b, n // 2, 2, m // 2, 2, c).max((2, 4))


def segmenter(p, x):
    """Tiny's layers: one, a pool, another, two wide ones that look 2 pixels around, and a context of rate 2."""
    x = halved(normed(conv(p["Conv_0"], x)))
    x = normed(conv(p["Conv_1"], x))
    x = normed(conv(p["Conv_2"], x, 2))
    x = normed(conv(p["Conv_3"], x))
    x = relu(conv(p["Conv_5"], conv(p["Conv_4"], x), 2))
    return conv(p["Conv_6"], x)


def probabilities(logits):
    return jnp.exp(logits) / jnp.exp(logits).sum(3, keepdims=True)


def scores(p, maps, x, way):
    """LargeFOV's, of maps [b, 4, 4, classes] and pictures shrunk to them [b, 4, 4, 1]."""
    both = [maps[..., c : c + 1] * x for c in range(CLASSES)] if way == "product" else [maps, x]
    x = jnp.concatenate(both, 3)
    for i in range(5):
        x = relu(conv(p[f"Conv_{i}"], x))
        x = halved(x) if i in (2, 4) else x
    return conv(p["Conv_6"], relu(conv(p["Conv_5"], x)))


def truth(y, p, way, tau):
    """The maps of people, class by class: one-hot, or scaled as equation 3 has it."""
    if way != "scaling":
        return jnp.stack([jnp.float64(y == c) for c in range(CLASSES)], 3)
    own = sum(jnp.where(y == c, p[..., c], 0) for c in range(CLASSES))
    most = jnp.where(own > tau, own, tau)
    return jnp.stack([jnp.where(y == c, most, p[..., c] * (1 - most) / (1 - own)) for c in range(CLASSES)], 3)


def paper(cfg, state, batches, tau=None, known_to_d=True):
    """D's cross-entropy of the two kinds of maps, then S's of pixels and lambda times -log D, by the D that this left."""
    g, d = oracle.started(state.g, state.d)
    says = lambda d, maps, x: oracle.sigmoid(scores(d, maps, x, cfg.encoding))

    def d_loss(d, g, x, small, y, known):
        p = probabilities(segmenter(g, x))
        real = says(d, known * truth(y, p, cfg.encoding, cfg.tau if tau is None else tau), small)
        return -(jnp.log(real) + jnp.log(1 - says(d, known * p, small))).mean()

    def g_loss(g, d, x, small, y, known, seen):
        p = probabilities(segmenter(g, x))
        each = 0.0
        for c in range(CLASSES):
            each -= jnp.where((y == c) & (known[..., 0] > 0), jnp.log(p[..., c]), 0).sum() / known.sum()
        return each - cfg.adversarial * jnp.log(says(d, seen * p, small)).mean()

    d_grad, g_grad = jax.jit(jax.value_and_grad(d_loss)), jax.jit(jax.grad(g_loss))
    for batch in batches:
        x, y = batch["source"], batch["y"][:, 1::2, 1::2]  # a pixel's middle is the corner of four: the last of them
        small, known = jax.image.resize(x, (len(x), 4, 4, 1), "linear"), jnp.float64(y != cfg.unlabelled)[..., None]
        seen = known if known_to_d else 1
        value, grads = d_grad(d.params, g.params, x, small, y, known)
        d = oracle.adam(d, grads, cfg.lr, cfg.b1)
        g = oracle.adam(g, g_grad(g.params, d.params, x, small, y, known, seen), cfg.lr, cfg.b1)
    return [g, d], value


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_step_is_the_paper_s(way):
    """Three steps equal the paper in float64; with one-hot truth, or S paid for unlabelled pixels, they would not."""
    cfg = dataclasses.replace(TINY, encoding=way)
    with jax.enable_x64(True):
        draw = np.random.default_rng(0)
        xs, ys = draw.uniform(-1, 1, (3, 2, 8, 8, 1)), draw.integers(0, CLASSES, (3, 2, 8, 8)).astype(np.int32)
        batches = [{"source": x, "y": y} for x, y in zip(xs, ys, strict=True)]
        start, end, metrics = oracle.played(segment, cfg, batches)
        ours = [end.g, end.d], metrics["loss/d"]
        oracle.same(ours, paper(cfg, start, batches))
        if way == "scaling":
            for deviation in ({"tau": 0.999}, {"known_to_d": False}):
                oracle.differ(ours[0], paper(cfg, start, batches, **deviation)[0], rtol=1e-4)


def test_scaled_truth_is_a_distribution():
    """The true class has 0.9, or more where S gives it more; the others share the rest as S has it; none is NaN."""
    p = jnp.array([[0.5, 0.3, 0.2], [0.95, 0.04, 0.01], [1.0, 0.0, 0.0]]).reshape(1, 1, 3, 3)
    found = segment.truth(TINY, jnp.zeros((1, 1, 3), jnp.int32), p)[0, 0]
    np.testing.assert_allclose(found, [[0.9, 0.06, 0.04], [0.95, 0.04, 0.01], [1, 0, 0]], rtol=1e-5)
    plain = segment.truth(dataclasses.replace(TINY, encoding="basic"), jnp.array([[[2]]]), p[:, :, :1])
    np.testing.assert_array_equal(plain[0, 0], [[0, 0, 1]])


def test_d_sees_products_or_both():
    """A map for each class and colour, or the classes' maps and then the colours."""
    p, x = jnp.array([0.25, 0.75]).reshape(1, 1, 1, 2), jnp.array([-1.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
    of = lambda way: segment.seen(dataclasses.replace(TINY, encoding=way), p, x)[0, 0, 0].tolist()
    assert of("product") == [-0.25, 0.125, 0.25, -0.75, 0.375, 0.75] and of("scaling") == [0.25, 0.75, -1, 0.5, 1]


# The nets


def size(net, x):
    """Return (the shape of the net's output, how many parameters it has)."""
    out, variables = jax.eval_shape(functools.partial(net.init_with_output, jax.random.key(0)), x)
    return out.shape, sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables))


def test_the_published_nets():
    """Dilated-8 of 21 classes has 134,374,973 weights, 12,416 of them biases that a norm makes idle; and LargeFOV's table."""
    cfg, x = segment.PRESETS["paper"], jnp.zeros((1, 321, 321, 3))
    front = [3, 64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    vgg = sum(9 * a * b + b for a, b in itertools.pairwise(front))
    wide = 49 * 512 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 21 + 21
    context = 7 * (9 * 21 * 21 + 21) + 21 * 21 + 21
    assert vgg + wide + context == 134_374_973 and sum(front[1:]) + 2 * 4096 == 12_416
    S = nets.S(21, cfg.layers, cfg.pools, cfg.width, cfg.wide, cfg.kernel, cfg.rates)
    assert size(S, x) == ((1, 41, 41, 21), 134_374_973 - 12_416)
    channels = [63, 96, 128, 128, 256, 256, 512, 1]
    weights = sum(9 * a * b + b for a, b in itertools.pairwise(channels))
    assert size(nets.D(cfg.d_width), jnp.zeros((1, 41, 41, 63))) == ((1, 121), weights) and weights == 2_382_849


def test_d_scores_places_of_34_pixels(monkeypatch):
    """With positive weights, and means for pools, a score in the middle depends on that many pixels a side."""
    monkeypatch.setattr(nets, "halved", lambda x: nets.nn.avg_pool(x, (2, 2), (2, 2)))
    D, x = nets.D(1), jnp.ones((1, 96, 96, 1))
    params = jax.tree.map(lambda a: jnp.full(a.shape, 0.1), jax.eval_shape(D.init, jax.random.key(0), x))
    seen = np.asarray(jax.jit(jax.grad(lambda x: D.apply(params, x)[0, 12 * 24 + 12]))(x))[0, ..., 0] != 0
    assert seen.any(0).sum() == seen.any(1).sum() == 34


def test_the_context_begins_as_the_identity():
    """Where logits are positive they come through as they are, however far the taps are."""
    S, x = nets.S(3, (1,), 0, 2, 2, 1, (1, 4)), jax.random.normal(jax.random.key(0), (1, 6, 7, 3))
    variables = jax.jit(S.init)(jax.random.key(0), x)
    variables["params"]["Conv_3"]["bias"] += 10
    out, kept = S.apply(variables, x, capture_intermediates=True)
    np.testing.assert_allclose(out, kept["intermediates"]["Conv_3"]["__call__"][0], rtol=1e-6)


# What is named


def test_pixels_are_named_and_counted(monkeypatch):
    """With all weights 0 but one bias every pixel is of that class; so the share of it is per_pixel, whatever the size."""
    monkeypatch.setattr(data, "load", lambda name: source)
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (9, 7, 9, 3)).astype(np.uint8)
    y = draw.integers(0, 5, (9, 7, 9)).astype(np.int32)
    fields = {"x": data.Field((7, 9, 3), "image"), "y": data.Field((7, 9), "label", np.int32, 5)}
    test = composed.of_arrays("hand", fields, {"x": x, "y": y})
    source = dataclasses.replace(test, test=test)
    cfg = dataclasses.replace(TINY, dataset="hand")
    shapes = jax.eval_shape(functools.partial(segment.init, cfg), jax.random.key(0))
    params = jax.tree.map(lambda a: np.zeros(a.shape, np.float32), shapes.g.params)
    params["Conv_6"]["bias"][2] = 1
    state = shapes._replace(g=shapes.g._replace(params=params))
    found = jax.jit(functools.partial(segment.measure, cfg))(state, jax.random.key(0), {}, {"x": x, "y": y})
    share = (y == 2).sum() / (y != 4).sum()
    assert found["per_pixel"] == pytest.approx(share) and found["per_class"] == pytest.approx(1 / 4)
    assert found["iou"] == pytest.approx(share / 4)
    photo, true, said = found["test"].x
    np.testing.assert_allclose(photo, data.decode({"x": x[:8]})["x"])
    np.testing.assert_array_equal(true, data.in_colours(y[:8], 5))
    np.testing.assert_array_equal(said, data.in_colours(np.full((8, 7, 9), 2), 5))


def test_a_set_without_maps():
    with pytest.raises(UserError, match="digits has no label for each pixel: choose one, y=FEATURE:label"):
        segment.setup(dataclasses.replace(TINY, dataset="digits"))


def test_maps_of_one_label(monkeypatch):
    """Of such every answer would be right, and score 1."""
    blank = data.load(TINY.dataset)
    blank = dataclasses.replace(blank, fields=blank.fields | {"y": data.Field(blank.shape[:2], "label", np.int32, 1)})
    monkeypatch.setitem(data.DATASETS, "blank", lambda name: blank)
    with pytest.raises(UserError, match="the same label for all pixels"):
        segment.setup(dataclasses.replace(TINY, dataset="blank"))
