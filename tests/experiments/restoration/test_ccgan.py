"""CC-GAN's step against its losses by the formulas, its nets against their tables, its accuracies by hand."""

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.restoration import ccgan
from gan_jax.game import rng
from gan_jax.nets import ccgan as nets

CFG = dataclasses.replace(ccgan.PRESETS["tiny"], batch_size=3, whole=True, width=4, smooth=0.2, naming=0.7, lr=0.01)
leaky = lambda x: jnp.where(x > 0, x, 0.2 * x)


def conv(kernel, x, stride=1):
    """A convolution with one pixel of 0 around."""
    pads = [(1, 1)] * 2
    return jax.lax.conv_general_dilated(x, kernel, [stride] * 2, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def normed(p, stats, new, x):
    """The next of a net's batch norms, whose new statistics are put into `new`."""
    name = f"BatchNorm_{len(new)}"
    y, new[name] = oracle.batch_norm(p[name], stats["batch_stats"][name], x)
    return y


def drawn_by(p, stats, seen):
    """One level down and up again; and the new statistics."""
    new = {}
    x = jnp.maximum(normed(p, stats, new, conv(p["Conv_0"]["kernel"], seen, 2)), 0)
    kernel, wide = p["ConvTranspose_0"]["kernel"], jax.ShapeDtypeStruct(seen.shape, seen.dtype)
    (x,) = jax.linear_transpose(lambda y: conv(kernel.swapaxes(2, 3), y, 2), wide)(x)
    return jnp.tanh(x), {"batch_stats": new}


def seen_by(p, stats, x, kept=1.0):
    """D's score and the probabilities of the classes, of features of which `kept` is left; and the new statistics."""
    new = {}
    for i in range(2):
        x = leaky(normed(p, stats, new, conv(p[f"Conv_{i}"]["kernel"], x)))
        corners = [x[:, i::2, j::2] for i in range(2) for j in range(2)]
        x = functools.reduce(lambda a, b: jnp.where(a > b, a, b), corners)  # see `nets.larger`
    flat = lambda x: x.reshape(len(x), -1)
    return oracle.sigmoid(flat(x) @ p["Dense_0"]["kernel"][:, 0]), oracle.dense(p["Dense_1"], flat(x * kept)), new


@functools.partial(jax.jit, static_argnames="cfg")
def update(cfg, g, d, alone, x, mask, labelled, y, kept):
    """D down both its losses on what G draws, G by the D of afterwards, and a D that has labels alone."""
    seen = jnp.where(mask == 1, 0, x)
    made, _ = drawn_by(g.params, g.stats, seen)

    def naming(params, stats):
        _, logits, new = seen_by(params, stats, labelled, 2.0 * kept)
        probabilities = jnp.exp(logits) / jnp.exp(logits).sum(1, keepdims=True)
        return -jnp.log(probabilities[jnp.arange(len(y)), y]).mean(), {"batch_stats": new}

    def fakes(made):
        return [jnp.where(mask == 1, made, seen)] + [made] * cfg.whole

    def d_loss(params):
        real, _, new = seen_by(params, d.stats, x)
        value = cfg.naming * naming(params, d.stats)[0]
        for fake in fakes(made):
            value -= ((1 - cfg.smooth) * jnp.log(real) + cfg.smooth * jnp.log(1 - real)).mean()
            value -= jnp.log(1 - seen_by(params, d.stats, fake)[0]).mean()
        return value, {"batch_stats": new}

    def g_loss(params):
        made, stats = drawn_by(params, g.stats, seen)
        return -sum(jnp.log(seen_by(d.params, d.stats, fake)[0]).mean() for fake in fakes(made)), stats

    d = oracle.moved(oracle.adam, d, d_loss, cfg.lr, cfg.b1)
    g = oracle.moved(oracle.adam, g, g_loss, cfg.lr, cfg.b1)
    return g, d, oracle.moved(oracle.adam, alone, lambda params: naming(params, alone.stats), cfg.lr, cfg.b1)


def paper(cfg, start, batches, dropped=0.5):
    """G, D and the other D after all batches; dropped: the share of the last features that naming does without."""
    players = oracle.started(start.g, start.d, start.d_alone)
    for t, batch in enumerate(batches):
        kept = jax.random.uniform(rng.at(start.key, t, "dropout"), (3, 1, 1, 2 * cfg.width)) >= dropped
        players = update(cfg, *players, *batch, kept)
    return list(players)


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal the paper's in float64, statistics too; with other features dropped they would not.

    Weights begin larger: of what N(0, 0.02) lets through, Adam's epsilon would make rounding as large as gradients.
    Holes are small, and channels several: where G draws one colour, rounding would say which pixel is the largest.
    """
    monkeypatch.setitem(nets.plain, "kernel_init", nn.initializers.normal(0.3))
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        xs, others = random.uniform(-1, 1, (2, 2, 3, 8, 8, 1))
        masks = np.zeros_like(xs)
        masks[:, :, 2:4, 3:5] = 1
        batches = list(zip(xs, masks, others, random.integers(0, 10, (2, 3)).astype(np.int32), strict=True))
        given = [
            {"x": {"x": x, "mask": mask, "source": x * (1 - mask)}, "labelled": {"x": labelled, "y": y}}
            for x, mask, labelled, y in batches
        ]
        start, end, _ = oracle.played(ccgan, CFG, given)
        ours = [end.g, end.d, end.d_alone]
        oracle.same(ours, paper(CFG, start, batches), rtol=1e-7)
        oracle.differ(ours, paper(CFG, start, batches, dropped=0.4), rtol=1e-4)


def size(net, *given):
    """Return (the shapes that a net returns, the number of its weights)."""
    out, variables = jax.eval_shape(net.init_with_output, jax.random.key(0), *given)
    return jax.tree.map(lambda a: a.shape, out), sum(p.size for p in jax.tree.leaves(variables["params"]))


def test_the_published_nets():
    """The authors' tables at 96x96 and 64x64: kernels without biases, two numbers a normalised channel, both heads."""
    cfg, x = ccgan.PRESETS["paper"], jnp.zeros((2, 96, 96, 3))
    trunk = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    of_trunk = sum(9 * a * b + 2 * b for a, b in itertools.pairwise(trunk))
    assert size(nets.D(10, cfg.width), x) == (((2,), (2, 10)), of_trunk + 9 * 512 * 11 + 10)
    assert size(nets.D(10, cfg.width), x[:, :64, :64])[1] == of_trunk + 4 * 512 * 11 + 10
    ends = 2 * 16 * 3 * 64 + 2 * 2 * 64  # the outermost convolutions, and the norms of 64 channels
    inside = sum(2 * 16 * a * b for a, b in itertools.pairwise([64, 128, 256, 512])) + 2 * (2 * 128 + 2 * 256 + 512)
    assert size(nets.G(cfg.width, cfg.levels), x) == (x.shape, ends + inside)
    assert size(nets.G(2, 3), jnp.zeros((2, 33, 30, 1)))[0] == (2, 33, 30, 1)
    assert size(nets.D(5, 2), jnp.zeros((2, 33, 30, 1)))[0] == ((2,), (2, 5))


def test_pooling_keeps_the_largest():
    """Of 2x2 pixels each; the odd row and column go."""
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    want = [
        [[x[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((0, 1)) for j in range(3)] for i in range(2)] for b in (0, 1)
    ]
    np.testing.assert_array_equal(nets.pooled(x), want)


def test_features_are_dropped_where_classes_are_named():
    """Half of the channels, each in all of its places, and the others doubled: without a key the mean of many keys."""
    D, x = nets.D(3, 8), jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    variables = jax.jit(functools.partial(D.init, train=False))(jax.random.key(1), x)
    of = lambda key: D.apply(variables, x, key, train=False)
    scores, logits = jax.jit(lambda keys: jax.lax.map(of, keys))(jax.random.split(jax.random.key(2), 2000))
    score, plain = jax.jit(lambda: of(None))()
    np.testing.assert_allclose(scores, jnp.broadcast_to(score, scores.shape), rtol=1e-5, atol=1e-7)
    spread = np.asarray(logits).std(0)
    assert spread.min() > 0 and (abs(logits.mean(0) - plain) < 5 * spread / 2000**0.5).all()


@pytest.mark.parametrize("lacking", [0, 3])
def test_accuracy_is_of_those_that_have_labels(lacking):
    """A D whose classes' biases alone are left says one class everywhere; -1 is no label."""
    x = np.zeros((20, 8, 8, 1), np.uint8)
    y = np.array([0] * 5 + [1] * 12 + [2] * 3, np.int32)
    y[5 : 5 + lacking] = -1
    shapes = jax.eval_shape(functools.partial(ccgan.init, CFG), jax.random.key(0))
    blank = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), (shapes.g, shapes.d, shapes.d_alone))

    def saying(d, which):
        dense = d.params["Dense_1"] | {"bias": np.eye(10, dtype=np.float32)[which]}
        return d._replace(params=d.params | {"Dense_1": dense})

    state = shapes._replace(g=blank[0], d=saying(blank[1], 1), d_alone=saying(blank[2], 2))
    test = {"x": {"x": x, "y": y}, "labelled": {"x": x, "y": y}}
    found = jax.jit(functools.partial(ccgan.measure, CFG))(state, jax.random.key(0), {}, test)
    assert found["accuracy/ccgan"] == pytest.approx((12 - lacking) / (20 - lacking))
    assert found["accuracy/labels_alone"] == pytest.approx(3 / (20 - lacking))
    hole, filled, drawn, truth = np.asarray(found["holes"].x)
    np.testing.assert_array_equal(truth, -1)
    np.testing.assert_array_equal(drawn, 0)
    np.testing.assert_array_equal(hole, filled)
    assert (hole == 0).sum() == 12 * 4 * 4
