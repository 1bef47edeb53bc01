"""pix2pix's step against its losses and nets by the formulas; its nets' numbers; what it measures."""

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import pix2pix
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.nets import pix2pix as nets

TINY = dataclasses.replace(pix2pix.PRESETS["tiny"], batch_size=2, width=2, lr=1e-2)
WAYS = {
    "L1+cGAN": dataclasses.replace(TINY, l1=3.0),
    "GAN of pixels": dataclasses.replace(TINY, l1=0.0, adversarial=0.5, sees_input=False, layers=0),
}


def conv(kernel, x, stride):
    """A convolution, by JAX alone; one row of zeros around the pictures, unless the kernel is 1x1."""
    pads = [(1, 1) if len(kernel) > 1 else (0, 0)] * 2
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def widened(kernel, y):
    """Its adjoint with stride 2: every pixel of y paints a square of 4x4 on a picture of twice the sides."""
    big = jax.ShapeDtypeStruct((len(y), 2 * y.shape[1], 2 * y.shape[2], kernel.shape[-1]), y.dtype)
    return jax.linear_transpose(lambda x: conv(kernel.swapaxes(2, 3), x, 2), big)(y)[0]


def normed(p, x):
    each = lambda x: x.mean((1, 2), keepdims=True)
    row = lambda a: a.reshape(1, 1, 1, -1)
    return (x - each(x)) / jnp.sqrt(each((x - each(x)) ** 2) + 1e-5) * row(p["scale"]) + row(p["bias"])


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


def unet(p, x, kept):
    """Eight by eight: down to 4, 2 and 1, and up again; kept: what dropout leaves of the two decoder maps."""
    e1 = conv(p["Conv_0"]["kernel"], x, 2)
    e2 = normed(p["InstanceNorm_0"], conv(p["Conv_1"]["kernel"], leaky(e1), 2))
    e3 = conv(p["Conv_2"]["kernel"], leaky(e2), 2)
    d1 = normed(p["InstanceNorm_1"], widened(p["ConvTranspose_0"]["kernel"], jnp.maximum(e3, 0)))
    d1 = jnp.concatenate([2 * d1 * kept[0], e2], 3)
    d2 = normed(p["InstanceNorm_2"], widened(p["ConvTranspose_1"]["kernel"], jnp.maximum(d1, 0)))
    d2 = jnp.concatenate([2 * d2 * kept[1], e1], 3)
    return jnp.tanh(widened(p["ConvTranspose_2"]["kernel"], jnp.maximum(d2, 0)))


def scored(cfg, p, a, b):
    """The logits of a pair's patches: 2x2 of them, or a pixel each."""
    x = jnp.concatenate([a, b], 3) if cfg.sees_input else b
    x = leaky(conv(p["Conv_0"]["kernel"], x, 2 if cfg.layers else 1))
    x = leaky(normed(p["InstanceNorm_0"], conv(p["Conv_1"]["kernel"], x, 1)))
    return conv(p["Conv_2"]["kernel"], x, 1)


def paper(cfg, state, xs, fresh=True):
    """D's half of the cross-entropy on what G makes, then G's loss by the D that this left: the players, D's last loss."""
    g, d = oracle.started(state.g, state.d)
    says = lambda d, a, b: oracle.sigmoid(scored(cfg, d, a, b))

    def d_loss(d, a, b, fake):
        return -0.5 * (jnp.log(says(d, a, b)) + jnp.log(1 - says(d, a, fake))).mean()

    def g_loss(g, d, a, b, kept):
        fake = unet(g, a, kept)
        return -cfg.adversarial * jnp.log(says(d, a, fake)).mean() + cfg.l1 * abs(b - fake).mean()

    d_grad, g_grad, made = jax.jit(jax.value_and_grad(d_loss)), jax.jit(jax.grad(g_loss)), jax.jit(unet)
    for t, (a, b) in enumerate(xs):
        key, width = rng.at(state.key, t, "dropout"), 2 * cfg.width
        shapes = {2: (len(a), 2, 2, width), 1: (len(a), 4, 4, cfg.width)}
        kept = [jax.random.uniform(jax.random.fold_in(key, i), shape) >= 0.5 for i, shape in shapes.items()]
        before = d.params
        value, grads = d_grad(before, a, b, made(g.params, a, kept))
        d = oracle.adam(d, grads, cfg.lr, cfg.b1)
        g = oracle.adam(g, g_grad(g.params, d.params if fresh else before, a, b, kept), cfg.lr, cfg.b1)
    return [g, d], value


@pytest.mark.parametrize("way", WAYS)
def test_step_is_the_paper_s(way, monkeypatch):
    """Three steps equal the paper in float64; with G's loss by the D of before they would not.

    Weights begin larger: of what N(0, 0.02) lets through, Adam's epsilon would make rounding as large as gradients.
    """
    cfg = WAYS[way]
    monkeypatch.setitem(nets.plain, "kernel_init", nn.initializers.normal(0.3))
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (3, 2, 2, 8, 8, 1))
        start, end, metrics = oracle.played(pix2pix, cfg, [{"source": a, "x": b} for a, b in xs])
        ours = [end.g, end.d], metrics["loss/d"]
        oracle.same(ours, paper(cfg, start, xs))
        if way == "L1+cGAN":
            oracle.differ(ours[0], paper(cfg, start, xs, fresh=False)[0], rtol=1e-4)


# The nets


def shapes(net, *inputs):
    """Return (the shape of the net's output, {path: shape} of its parameters)."""
    out, variables = jax.eval_shape(functools.partial(net.init_with_output, jax.random.key(0)), *inputs)
    leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
    return out.shape, {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}


def test_the_published_nets():
    """The layer tables at 256x256: 54.4 and 2.77 million weights, 30x30 patches, a norm after all but four and two."""
    key, x = jax.random.key(0), jnp.zeros((1, 256, 256, 3))
    cfg = pix2pix.PRESETS["paper"]
    out, params = shapes(nets.G(3, cfg.width), x, key)
    down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    up = [(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 3)]
    kernels = [16 * a * b for a, b in [*itertools.pairwise(down), *up]]
    norms = [2 * c for c in [128, 256, 512, 512, 512, 512, *[512, 512, 512, 512, 256, 128, 64]]]
    assert out == x.shape and sum(map(np.prod, params.values())) == sum(kernels) + sum(norms) == 54_413_952
    assert sum("scale" in path for path in params) == len(norms)
    out, params = shapes(nets.D(cfg.layers, cfg.width), jnp.zeros((1, 256, 256, 6)))
    kernels = [16 * a * b for a, b in [(6, 64), (64, 128), (128, 256), (256, 512), (512, 1)]]
    norms = [2 * c for c in (128, 256, 512)]
    assert out == (1, 900) and sum(map(np.prod, params.values())) == sum(kernels) + sum(norms) == 2_768_640
    assert (cfg.l1, cfg.adversarial, cfg.batch_size, cfg.steps) == (100, 1, 1, 200 * 400)


@pytest.mark.parametrize("layers, patch", [(0, 1), (1, 16), (2, 34), (3, 70)])
def test_a_patch_has_its_size(layers, patch, monkeypatch):
    """Without the norm, which looks at the whole picture, a score in the middle depends on that many pixels a side."""
    monkeypatch.setattr(nets, "norm", lambda: lambda x: x)
    D, x = nets.D(layers, 1), jnp.ones((1, 96, 96, 1))
    params = jax.tree.map(jnp.ones_like, jax.eval_shape(D.init, jax.random.key(0), x))
    middle = lambda x: jnp.take(D.apply(params, x)[0], (n := int(D.apply(params, x).size ** 0.5)) * (n // 2) + n // 2)
    seen = np.asarray(jax.jit(jax.grad(middle))(x))[0, ..., 0] != 0
    assert seen.any(0).sum() == seen.any(1).sum() == patch


@pytest.mark.parametrize("shape", [(8, 8), (28, 19), (120, 160), (2, 1)])
def test_g_keeps_the_size(shape):
    """Whatever the sides are, down to one pixel and up again."""
    out, _ = shapes(nets.G(2, 4), jnp.zeros((2, *shape, 3)), jax.random.key(0))
    assert out == (2, *shape, 2) and nets.sizes(shape)[-1] == (1, 1)


def test_dropout_is_on_after_training_too():
    """Half of the numbers go, the others are doubled; another key gives another picture, train or not."""
    x = jnp.ones((100, 100))
    found, counts = np.unique(nets.dropout(jax.random.key(0), x), return_counts=True)
    assert found.tolist() == [0, 2] and abs(counts[0] - 5000) < 5 * 50
    G, x = nets.G(1, 4), jnp.ones((1, 16, 16, 1))
    params = jax.jit(G.init)(jax.random.key(0), x, jax.random.key(0))
    params = jax.tree.map(lambda a: 10 * a, params)
    draw = jax.jit(lambda key: [G.apply(params, x, key, train=train) for train in (True, False)])
    one, other = draw(jax.random.key(1)), draw(jax.random.key(2))
    np.testing.assert_array_equal(*one)
    assert np.abs(one[1] - other[1]).max() > 1e-3


# Pairs, and what is measured


def kept(monkeypatch, x, **others):
    """Let `data.load` give these pictures [n, h, w, c] uint8, which are held out too, and other fields."""
    arrays = {"x": x} | {name: a for name, (a, _) in others.items()}
    fields = {"x": data.Field(x.shape[1:], "image")} | {name: field for name, (_, field) in others.items()}
    pick = lambda key, i, b: jnp.arange(b)
    read = lambda indices: {k: a[np.asarray(indices)] for k, a in arrays.items()}
    test = data.Source("hand", fields, len(x), pick, read, lambda: arrays)
    monkeypatch.setattr(data, "load", lambda name: dataclasses.replace(test, test=test))


def test_pairs_are_found(monkeypatch):
    """The set's own source, then the map of labels in colours, then grey and colours; grey pictures alone are none."""
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    y = np.arange(192, dtype=np.int32).reshape(3, 8, 8) % 5
    labels = {"y": (y, data.Field((8, 8), "label", np.int32, 5))}
    sides = {"source": (x[..., :1], data.Field((8, 8, 1), "image"))}
    made = lambda: pix2pix.pairs(TINY).test.make(data.resident(data.load("")), jax.random.key(0), 0, 3)
    kept(monkeypatch, x, **labels, **sides)
    np.testing.assert_array_equal(pix2pix.ends(made())[0], data.decode({"x": x[..., :1]})["x"])
    kept(monkeypatch, x, **labels)
    a, b = pix2pix.ends(made())
    np.testing.assert_allclose(np.unique(np.asarray(a)[y == 3], axis=0), [[128 / 127.5 - 1, 128 / 127.5 - 1, -1]])
    np.testing.assert_array_equal(b, data.decode({"x": x})["x"])
    kept(monkeypatch, x)
    a, b = pix2pix.ends(made())
    np.testing.assert_allclose(np.concatenate([a, b], 3), data.to_lab(data.decode({"x": x})["x"]))
    np.testing.assert_allclose(pix2pix.picture(a, b), data.decode({"x": x})["x"], atol=1e-4)
    assert pix2pix.build(TINY)[0].channels == 2
    kept(monkeypatch, x[..., :1])
    with pytest.raises(UserError, match="hand has no pairs, and no colours to be found: say hand,source=FEATURE"):
        pix2pix.pairs(TINY)


def test_presets_find_their_sets(tfds_dir):
    """Input and output of each have the size and the channels that it says; the paper's steps are 200 epochs."""
    found = {}
    for name, cfg in pix2pix.PRESETS.items():
        fields = pix2pix.pairs(cfg).fields
        batch = {key: jax.ShapeDtypeStruct((1, *field.shape), field.dtype) for key, field in fields.items()}
        a, b = jax.eval_shape(pix2pix.ends, batch)
        found[name] = a.shape[1:], b.shape[3]
        assert pix2pix.build(cfg)[0].channels == b.shape[3]
    facades = {name: ((n, n, 3), 3) for name, n in {"default": 64, "128": 128, "paper": 256}.items()}
    others = {"labels": ((64, 64, 3), 3), "colour": ((32, 32, 1), 2), "tiny": ((8, 8, 1), 1)}
    assert found == facades | others
    paper = pix2pix.PRESETS["paper"]
    assert paper.steps * paper.batch_size == 200 * pix2pix.pairs(paper).n


def test_a_d_without_patches():
    """Two layers leave none of 8x8 pixels, and an empty mean would be no number."""
    with pytest.raises(UserError, match="--layers is 2: of 8x8 pixels D would have no patch left"):
        pix2pix.build(dataclasses.replace(TINY, layers=2))


@pytest.mark.parametrize("coloured", [False, True])
def test_the_distance_from_the_truth(coloured, monkeypatch):
    """With all weights 0 translations are mid-grey, so it is the mean of |b|; rows are the first pictures as they are."""
    x = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)
    source = {"source": (x[..., :1], data.Field((8, 8, 1), "image"))}
    kept(monkeypatch, x, **({} if coloured else source))
    shapes = jax.eval_shape(functools.partial(pix2pix.init, TINY), jax.random.key(0))
    state = shapes._replace(g=shapes.g._replace(params=jax.tree.map(lambda a: np.zeros(a.shape), shapes.g.params)))
    found = jax.jit(functools.partial(pix2pix.measure, TINY))(
        state, jax.random.key(0), {}, data.resident(data.load(""))
    )
    decoded = data.decode({"x": x})["x"]
    b = data.to_lab(decoded)[..., 1:] if coloured else decoded
    assert found["l1_test"] == pytest.approx(np.abs(b).mean(), rel=1e-5)
    inputs, ours, truth = found["test"].x
    np.testing.assert_allclose(truth, decoded[:8], atol=1e-4)
    if coloured:
        np.testing.assert_allclose(ours, inputs, atol=1e-5)
        assert np.ptp(inputs, -1).max() < 1e-3  # grey
    else:
        np.testing.assert_array_equal(inputs, np.broadcast_to(decoded[:8, ..., :1], inputs.shape))
        np.testing.assert_array_equal(ours, 0)
