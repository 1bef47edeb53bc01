"""Multi-scale prediction: its step in plain formulas, its nets' sizes, and what continues a clip."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.video import multiscale
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.nets import multiscale as nets

B, T, SIDE, C = 2, 4, 8, 1
CFG = dataclasses.replace(
    multiscale.PRESETS["tiny"],
    dataset="small",
    width=4,
    seen=2,
    p=2,
    gradient=0.7,
    adversarial=0.3,
    g_lr=0.01,
    d_lr=0.02,
)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
jit = functools.partial(jax.jit, compiler_options=QUICK)


def shown(monkeypatch, shape=(T, SIDE, SIDE, C)):
    """Let any name be that of a set of clips of this shape."""
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, {"x": data.Field(shape, "video")}))


def conv(p, x, padding):
    y = jax.lax.conv_general_dilated(x, p["kernel"], (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + p["bias"].reshape(1, 1, 1, -1)


def relu(x):
    return jnp.where(x > 0, x, 0)


def coarse(x):
    """The mean of each four pixels of x [b, h, w, c]."""
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def fine(x):
    """Twice as many pixels, each of which lies a quarter of the way to the next one: 3/4 and 1/4 of both; 0 outside."""
    for axis in (1, 2):
        n = x.shape[axis]
        wide = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])
        of = lambda i, wide=wide, axis=axis, n=n: jax.lax.slice_in_dim(wide, i, i + n, axis=axis)
        pair = jnp.stack([(of(0) + 3 * of(1)) / 4, (3 * of(1) + of(2)) / 4], axis + 1)
        x = pair.reshape(*(2 * m if a == axis else m for a, m in enumerate(x.shape)))
    return x


def frames_of(before):
    """The frames [b, t, h, w, c] side by side as channels, the first one first."""
    return jnp.concatenate([before[:, t] for t in range(before.shape[1])], 3)


def G(p, before):
    """The coarse net, then the fine one, which corrects: four layers each, ReLU between them, tanh at the end."""
    small = jnp.stack([coarse(before[:, t]) for t in range(before.shape[1])], 1)
    layers = [p[f"Conv_{i}"] for i in range(8)]
    x = frames_of(small)
    for layer in layers[:3]:
        x = relu(conv(layer, x, "SAME"))
    first = jnp.tanh(conv(layers[3], x, "SAME"))
    x = jnp.concatenate([frames_of(before), fine(first)], 3)
    for layer in layers[4:7]:
        x = relu(conv(layer, x, "SAME"))
    return first, fine(first) + jnp.tanh(conv(layers[7], x, "SAME"))


def D(p, before, made):
    """The scores of both scales: layers without a border, maxima of four, dense layers."""
    small = jnp.stack([coarse(before[:, t]) for t in range(before.shape[1])], 1)
    convs, dense = itertools.count(), itertools.count()
    scores = []
    for seen, x, n in ((small, made[0], 1), (before, made[1], 3)):
        x = jnp.concatenate([frames_of(seen), x], 3)
        for _ in range(n):
            x = relu(conv(p[f"Conv_{next(convs)}"], x, "VALID"))
        x = jnp.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]).max(0).reshape(len(x), -1)
        for _ in range(2):
            x = relu(oracle.dense(p[f"Dense_{next(dense)}"], x))
        scores.append(oracle.dense(p[f"Dense_{next(dense)}"], x)[:, 0])
    return scores


def edges(x, y):
    """The mean of ||dx| - |dy|| over neighbours, of both directions together."""
    down = jnp.abs(jnp.abs(x[:, 1:] - x[:, :-1]) - jnp.abs(y[:, 1:] - y[:, :-1])).mean()
    right = jnp.abs(jnp.abs(x[:, :, 1:] - x[:, :, :-1]) - jnp.abs(y[:, :, 1:] - y[:, :, :-1])).mean()
    return down + right


@jit
def updated(g, d, before, after, adversarial):
    """G by the three losses of both scales, D by the cross entropy of both."""
    log, truths = lambda s: jnp.log(oracle.sigmoid(s)), (coarse(after), after)
    fake = G(g.params, before)

    def g_loss(w):
        made = G(w, before)
        near = sum(((a - b) ** 2).mean() + CFG.gradient * edges(a, b) for a, b in zip(made, truths, strict=True)) / 2
        return near - adversarial * sum(log(s).mean() for s in D(d.params, before, made)), {}

    def d_loss(w):
        right = [log(s).mean() for s in D(w, before, truths)] + [log(-s).mean() for s in D(w, before, fake)]
        return -sum(right), {}

    return oracle.moved(oracle.adam, g, g_loss, CFG.g_lr), oracle.moved(oracle.adam, d, d_loss, CFG.d_lr)


def test_step_is_the_paper_s(monkeypatch):
    """Three steps equal the paper's in float64; were D's gradient cut off from G, they would not."""
    shown(monkeypatch)
    init, step = (jit(functools.partial(f, CFG)) for f in (multiscale.init, multiscale.step))
    with jax.enable_x64(True):
        end = start = oracle.double(init(jax.random.key(3)))
        players = other = oracle.started(start.g, start.d)
        for t, x in enumerate(np.random.default_rng(0).uniform(-1, 1, (3, B, T, SIDE, SIDE, C))):
            end, _ = step(end, {"x": x})
            key = rng.at(start.key, t, "window")
            at = np.asarray(jax.random.randint(key, (B,), 0, T - CFG.seen, jnp.int32))
            parts = np.stack([clip[i : i + 3] for clip, i in zip(x, at, strict=True)])
            players = updated(*players, parts[:, :2], parts[:, 2], CFG.adversarial)
            other = updated(*other, parts[:, :2], parts[:, 2], 0.0)
        oracle.same([end.g, end.d], list(players))
        oracle.differ([end.g, end.d], list(other))


def test_the_published_nets(monkeypatch):
    """The maps, kernels and dense layers of the paper's table, counted scale by scale, for frames of 32x32 in colour."""
    shown(monkeypatch, (16, 32, 32, 3))
    cfg = multiscale.PRESETS["paper"]
    assert (cfg.seen, cfg.scales, cfg.gradient, cfg.adversarial) == (4, 4, 1, 0.05)
    state = jax.eval_shape(functools.partial(multiscale.init, cfg), jax.random.key(0))
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p.params))
    layers = lambda maps, kernels: sum(
        k * k * a * b + b for k, (a, b) in zip(kernels, itertools.pairwise(maps), strict=True)
    )
    g = layers((12, 128, 256, 128, 3), (3, 3, 3, 3)) + layers((15, 128, 256, 128, 3), (5, 3, 3, 5))
    deep = 15, 128, 256, 512, 256, 128, 3
    g += layers(deep, (5, 3, 3, 3, 3, 5)) + layers(deep, (7, 5, 5, 5, 5, 7))
    dense = lambda *units: sum(a * b + b for a, b in itertools.pairwise(units))
    d = layers((15, 64), (3,)) + dense(64, 512, 256, 1)  # 4 -> 2 -> 1 pixel
    d += layers((15, 64, 128, 128), (3, 3, 3)) + dense(128, 1024, 512, 1)  # 8 -> 2 -> 1
    d += layers((15, 128, 256, 256), (5, 5, 5)) + dense(4 * 256, 1024, 512, 1)  # 16 -> 4 -> 2
    d += layers((15, 128, 256, 512, 128), (7, 7, 5, 5)) + dense(36 * 128, 1024, 512, 1)  # 32 -> 12 -> 6
    assert (count(state.g), count(state.d)) == (g, d)


def test_each_frame_is_foretold_of_those_before_it(monkeypatch):
    """Of a G that continues a straight line, whole clips; the first frames are data."""
    monkeypatch.setattr(multiscale, "predicted", lambda cfg, state, x: 2 * x[:, -1] - x[:, -2])
    first = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 2, 1, 2, 2, 1)).astype(np.float32)
    line = first[0] + np.arange(6, dtype=np.float32).reshape(1, 6, 1, 1, 1) * first[1]
    x = np.concatenate([line[:, :2], np.full((2, 4, 2, 2, 1), 9, np.float32)], 1)
    np.testing.assert_allclose(multiscale.continued(CFG, None, x), line, atol=1e-6)


def test_what_is_measured_of_a_copy(monkeypatch):
    """A G that copies is as near as copying; of 4 frames of a clip the first 3 are a window."""
    shown(monkeypatch)
    source = data.load("")
    monkeypatch.setattr(data, "load", lambda name: dataclasses.replace(source, test=source))
    monkeypatch.setattr(multiscale, "predicted", lambda cfg, state, x: x[:, -1])
    test = {"x": np.random.default_rng(0).integers(0, 256, (7, T, SIDE, SIDE, C)).astype(np.uint8)}
    found = multiscale.measure(CFG, None, jax.random.key(0), {}, test)
    for name in ("psnr", "ssim", "sharpness", "moving"):
        assert found[name] == found[f"copied/{name}"] and np.isfinite(found[name])
    v = test["x"] / 255
    expected = np.mean([-10 * np.log10(((clip[1] - clip[2]) ** 2).mean()) for clip in v])
    assert found["psnr"] == pytest.approx(expected, rel=1e-4)
    assert found["clips"].x.shape == (2, 6, T, SIDE, SIDE, C)
    assert multiscale.measure(CFG, None, jax.random.key(0), {}, {}) == {}


def test_scales():
    """A frame's means of 4 and of 16 pixels, the coarsest first; a difference of edges, not of shades."""
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    four, two, one = nets.pyramid(x, 3)[::-1]
    np.testing.assert_array_equal(four, x)
    np.testing.assert_array_equal(two[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(one.ravel(), [7.5])
    assert nets.gradient_difference(x, -x + 3)[0] == 0 and nets.gradient_difference(x, 0 * x)[0] == 5


@pytest.mark.parametrize("shape", [(2, 16, 16, 1), (8, 15, 16, 1)])
def test_clips_that_do_not_do(monkeypatch, shape):
    """Too few frames for one to be foretold, or sides that can't be halved: two lines, before a net is made."""
    monkeypatch.setattr(data, "load", lambda name: data.Source("short", {"x": data.Field(shape, "video")}))
    with pytest.raises(UserError, match=r"short has clips of the shape .*more than 2 frames.*\n.*--size"):
        multiscale.setup(multiscale.PRESETS["tiny"])
