"""PPGN's step and its sampler against their formulas, code by code, and its nets against the authors' table of layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.images import ppgn
from gan_jax import UserError, data
from gan_jax.nets import ppgn as nets

B, SHAPE, CLASSES = 3, (9, 7, 1), 3
CFG = dataclasses.replace(ppgn.PRESETS["tiny"], dataset="small", batch_size=B, pretrain=2, features=5, width=2, lr=0.06)
CFG = dataclasses.replace(
    CFG, pixel=2.0, feature=3.0, adversarial=0.5, iterations=6, rate=0.4, prior=0.3, condition=2.0
)
CFG = dataclasses.replace(CFG, noise=0.2, most=1.2)
REST_D, REST_G = 1.95, 2.02  # so that each rests once


@pytest.fixture
def small(monkeypatch):
    """A set of 9x7 pictures of three classes."""
    fields = {"x": data.Field(SHAPE, "image"), "y": data.label(CLASSES)}
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, fields))


def conv(kernel, x, stride=2):
    kind = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", **kind)


def unconv(kernel, y, size):
    """The transpose of the convolution that leads from pictures of this size to y's."""
    x = jax.ShapeDtypeStruct((len(y), *size, kernel.shape[3]), y.dtype)
    return jax.linear_transpose(lambda x: conv(kernel.swapaxes(2, 3), x), x)(y)[0]


def relu(x):
    return jnp.where(x > 0, x, 0)


def leaky(x):
    return jnp.where(x > 0, x, 0.3 * x)


def encoded(p, x):
    """E: 9x7, 5x4, 3x2 pixels, then three layers, of which the first gives h."""
    for i in range(2):
        x = relu(conv(p[f"Conv_{i}"]["kernel"], x) + p[f"Conv_{i}"]["bias"].reshape(1, 1, 1, -1))
    h = relu(oracle.dense(p["Dense_0"], x.reshape(len(x), -1)))
    logits = oracle.dense(p["Dense_2"], relu(oracle.dense(p["Dense_1"], h)))
    return x, h, jnp.exp(logits) / jnp.exp(logits).sum(1, keepdims=True)


def drawn(p, h):
    """G: three layers, then 3x2, 5x4 (and once more, with twice the channels), 9x7 pixels."""
    for i in range(3):
        h = leaky(oracle.dense(p[f"Dense_{i}"], h))
    x = leaky(unconv(p["ConvTranspose_0"]["kernel"], h.reshape(len(h), 3, 2, 4), (5, 4)))
    x = leaky(conv(p["Conv_0"]["kernel"], x, 1))
    assert x.shape[3] == 4
    return jnp.tanh(unconv(p["ConvTranspose_1"]["kernel"], x, (9, 7)))


def chance(p, x):
    """D: the probability that each x is data."""
    for i in range(2):
        x = conv(p[f"Conv_{i}"]["kernel"], x) + p[f"Conv_{i}"]["bias"].reshape(1, 1, 1, -1)
        x = jnp.where(x > 0, x, 0.2 * x)
    return oracle.sigmoid(oracle.dense(p["Dense_0"], x.reshape(len(x), -1)))[:, 0]


@jax.jit
def learned(e, x, y):
    """The cross-entropy of the labels."""

    def loss(p):
        return -sum(jnp.log(encoded(p, x)[2][i, y[i]]) for i in range(B)) / B, {}

    return oracle.moved(oracle.adam, e, loss, CFG.lr, CFG.b1)


@jax.jit
def both(e, g, d, x, feature):
    """G and D after an update each, and their losses; feature: the weight of E's maps."""
    maps, h, _ = encoded(e.params, x)

    def l_g(p):
        made = drawn(p, h)
        fooled = -jnp.log(chance(d.params, made)).mean()
        distances = CFG.pixel * ((made - x) ** 2).mean() + feature * ((encoded(e.params, made)[0] - maps) ** 2).mean()
        return CFG.adversarial * fooled + distances, ({}, fooled)

    def l_d(p):
        return -(jnp.log(chance(p, x)) + jnp.log(1 - chance(p, drawn(g.params, h)))).mean(), {}

    grads, (_, fooled) = jax.grad(l_g, has_aux=True)(g.params)
    g_after = oracle.adam(g, grads, CFG.lr, CFG.b1)
    return g_after, oracle.moved(oracle.adam, d, l_d, CFG.lr, CFG.b1), l_d(d.params)[0] / fooled


def paper(start, batches, feature=CFG.feature):
    """E learns, then G and D do, but for the one that wins by far; and who rested."""
    (e, g, d), rested = oracle.started(start.e, start.g, start.d), []
    for i, (x, y) in enumerate(batches):
        if i < CFG.pretrain:
            e = learned(e, x, y)
            continue
        g_after, d_after, ratio = both(e, g, d, x, feature)
        rested += [(bool(ratio > REST_G), bool(ratio < REST_D))]
        g, d = g if rested[-1][0] else g_after, d if rested[-1][1] else d_after
    return [e, g, d], rested


def test_step_is_the_paper_s(small, monkeypatch):
    """Eight steps equal the paper's in float64, with a rest of D's and of G's; with less of E's maps they would not."""
    monkeypatch.setattr(ppgn, "REST_D", REST_D)
    monkeypatch.setattr(ppgn, "REST_G", REST_G)
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        batches = [(random.uniform(-1, 1, (B, *SHAPE)), random.integers(0, CLASSES, B)) for _ in range(8)]
        start, end, _ = oracle.played(ppgn, CFG, [{"x": x, "y": y} for x, y in batches])
        players, rested = paper(start, batches)
        assert {(False, False), (True, False), (False, True)} <= set(rested), rested
        oracle.same([end.e, end.g, end.d], players)
        oracle.differ([end.e, end.g, end.d], paper(start, batches, CFG.feature / 2)[0])


@jax.jit
def terms(e, g, h, y):
    """Where E would have the code instead, and in which direction the class becomes likelier."""
    slope = jax.grad(lambda h: jnp.log(encoded(e, drawn(g, h[None]))[2][0, y]))(h)
    return encoded(e, drawn(g, h[None]))[1][0], slope


def climbed(e, g, start, y, noises, first=True):
    """Equation 11 and the authors' loop, of one code; first: whether noise counts before d is divided by its mean."""
    h, seen = start, set()
    for noise in noises:
        code, slope = terms(e, g, h, y)
        d = CFG.prior * (code - h) + CFG.condition * slope
        n = CFG.noise * noise
        d = (d + n) / jnp.abs(d + n).mean() if first else d / jnp.abs(d).mean() + n
        h = h + CFG.rate * d
        seen |= {end for end, beyond in ((0, h.min() < 0), (1, h.max() > CFG.most)) if beyond}
        h = jnp.maximum(jnp.minimum(h, CFG.most), 0)
    return h, seen


def test_codes_climb_as_the_paper_has_it(small, monkeypatch):
    """Three codes that meet both ends of their range; with noise after the division they differ; without terms they stay.

    d is 0 then, and no picture NaN.
    """
    with jax.enable_x64(True):
        monkeypatch.setattr(ppgn.rng, "normal", lambda key, shape: jax.random.normal(key, shape, jnp.float64))
        state = oracle.double(jax.jit(lambda key: ppgn.init(CFG, key))(jax.random.key(1)))
        y, key, e, g = jnp.arange(CLASSES), jax.random.key(2), state.e.params, state.g.params

        @jax.jit
        def asked(prior, condition, noise):
            return ppgn.asked(dataclasses.replace(CFG, prior=prior, condition=condition, noise=noise), state, key, y)

        keys = jax.random.split(key, CFG.iterations + 1)
        start, *moves = jax.vmap(lambda key: jax.random.normal(key, (CLASSES, CFG.features), jnp.float64))(keys)
        codes, ends = zip(*(climbed(e, g, start[i], y[i], [m[i] for m in moves]) for i in y), strict=True)
        pictures = jax.jit(drawn)
        assert set.union(*ends) == {0, 1}
        found = asked(CFG.prior, CFG.condition, CFG.noise)
        oracle.same(found, pictures(g, jnp.stack(codes)))
        others = jnp.stack([climbed(e, g, start[i], y[i], [m[i] for m in moves], False)[0] for i in y])
        oracle.differ(found, pictures(g, others))
        oracle.same(asked(0.0, 0.0, 0.0), pictures(g, jnp.clip(start, 0, CFG.most)))


def size(net, *given):
    """How many numbers the net's parameters have."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), *given)["params"]))


def test_the_published_nets():
    """G for 256x256 from the authors' prototxt, whose convolutions learn no bias; E by hand; the sampler's numbers."""
    cfg = ppgn.PRESETS["paper"]
    fourfold = [(256, 256), (512, 256), (256, 128), (128, 64), (64, 32), (32, 3)]  # deconv5 to deconv0
    threefold = [(256, 512), (256, 256), (128, 128)]  # conv5_1 to conv3_1
    layers = 3 * (4096 * 4096 + 4096)
    published = layers + sum(16 * i * o for i, o in fourfold) + sum(9 * i * o for i, o in threefold)
    assert published == 56_096_256
    assert size(nets.G((256, 256, 3), cfg.features, cfg.width, cfg.blocks), jnp.zeros((1, 4096))) == published
    down = [(3, 32), (32, 64), (64, 128), (128, 256), (256, 256), (256, 256)]
    e = sum(16 * i * o + o for i, o in down) + 2 * (4096 * 4096 + 4096) + 4096 * 1000 + 1000
    assert size(nets.E(1000, cfg.features, cfg.width), jnp.zeros((1, 256, 256, 3))) == e
    assert (cfg.iterations, cfg.rate, cfg.prior, cfg.condition, cfg.noise, cfg.most) == (200, 1, 1e-5, 1, 1e-17, 30)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 19, 3)])
def test_pictures_of_any_size(shape):
    """G draws of E's features what has the picture's size, however many blocks there are."""
    key, x = jax.random.key(0), jnp.zeros((2, *shape))
    (_, h, logits), _ = jax.eval_shape(nets.E(4, 6, 1).init_with_output, key, x)
    assert h.shape == (2, 6) and logits.shape == (2, 4)
    for blocks in (0, 9):
        made, _ = jax.eval_shape(nets.G(shape, 6, 1, blocks).init_with_output, key, h)
        assert made.shape == x.shape


def test_what_has_no_labels(monkeypatch):
    """It is refused in a line; the judge is the set's classifier, which is no player."""
    bare = dataclasses.replace(data.load("digits"), name="bare", fields={"x": data.load("digits").fields["x"]})
    monkeypatch.setitem(data.DATASETS, "bare", lambda name: bare)
    with pytest.raises(UserError, match="bare has no classes"):
        ppgn.setup(dataclasses.replace(CFG, dataset="bare"))
    assert ppgn.setup(ppgn.PRESETS["tiny"]).classifiers == (data.load("digits"),)
