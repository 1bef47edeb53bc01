"""GP-GAN's step against the authors' losses in plain loops, its nets against their table of layers, and its errors."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.restoration import blending
from gan_jax import UserError, data
from gan_jax.nets import blending as nets

N = 2  # updates of the critic
CFG = dataclasses.replace(blending.PRESETS["tiny"], batch_size=3, critic_steps=N, l2=0.8, g_lr=1e-2, d_lr=2e-2, b1=0.5)


def conv(kernel, x):
    """A convolution of stride 2 with one pixel of 0 around."""
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def unconv(kernel, x):
    """Its transpose: every number of x adds the kernel to where it would be read from."""
    b, n, m, _ = x.shape
    wide = jax.ShapeDtypeStruct((b, 2 * n, 2 * m, kernel.shape[3]), x.dtype)
    return jax.linear_transpose(lambda y: conv(kernel.swapaxes(2, 3), y), wide)(x)[0]


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


def G(p, stats, x):
    """8x8 in one level: convolution, code with a norm, a 4x4 map with a norm, transposed convolution."""
    x = leaky(conv(p["Conv_0"]["kernel"], x)).reshape(len(x), -1)
    x, one = oracle.batch_norm(p["BatchNorm_0"], stats["BatchNorm_0"], x @ p["Dense_0"]["kernel"])
    x = (leaky(x) @ p["Dense_1"]["kernel"]).reshape(-1, 4, 4, CFG.width)
    x, two = oracle.batch_norm(p["BatchNorm_1"], stats["BatchNorm_1"], x)
    made = jnp.tanh(unconv(p["ConvTranspose_0"]["kernel"], jnp.maximum(x, 0)))
    return made, {"batch_stats": {"BatchNorm_0": one, "BatchNorm_1": two}}


def D(p, x):
    x = leaky(conv(p["Conv_0"]["kernel"], x)).reshape(len(x), -1)
    return (x @ p["Dense_0"]["kernel"])[:, 0]


@jax.jit
def paper(g, d, a, x, l2):
    """The authors' updater: n critic updates on new composites, each one clipped, then G by l2 and the critic."""
    means = lambda v: jnp.stack([v[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]).mean(0)
    a, x = means(a), means(x)
    for i in range(N):
        fake, _ = G(g.params, g.stats["batch_stats"], a[i :: N + 1])
        loss = lambda w, i=i, fake=fake: (D(w, fake).mean() - D(w, x[i :: N + 1]).mean(), {})
        d = oracle.moved(oracle.adam, d, loss, CFG.d_lr, CFG.b1)
        d = d._replace(params=jax.tree.map(lambda w: jnp.minimum(jnp.maximum(w, -CFG.clip), CFG.clip), d.params))

    def g_loss(w):
        made, stats = G(w, g.stats["batch_stats"], a[N :: N + 1])
        return l2 * ((made - x[N :: N + 1]) ** 2).mean() - (1 - l2) * D(d.params, made).mean(), stats

    return oracle.moved(oracle.adam, g, g_loss, CFG.g_lr, CFG.b1), d


def test_step_is_the_authors():
    """Two steps equal theirs in float64, statistics and all; without the critic they would not."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        shape = 3 * (N + 1), 16, 16, 1
        batches = [{name: rng.uniform(-1, 1, shape) for name in ("source", "x")} for _ in range(2)]
        start, end, _ = oracle.played(blending, CFG, batches)

        def theirs(l2):
            players = oracle.started(start.g, start.d)
            for batch in batches:
                players = paper(*players, batch["source"], batch["x"], l2)
            return list(players)

        oracle.same([end.g, end.d], theirs(CFG.l2))
        oracle.differ([end.g, end.d], theirs(1.0))
        assert max(float(jnp.abs(w).max()) for w in jax.tree.leaves(end.d.params)) == CFG.clip


def parameters(net, x):
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), x)["params"]))


def test_published_sizes():
    """Of 64x64: the authors' layers, one by one, kernels and two numbers of each norm a channel."""
    cfg, x = blending.PRESETS["paper"], jnp.zeros((2, 64, 64, 3))
    pair = lambda c, o: 16 * c * o
    down = pair(3, 64) + sum(pair(c, 2 * c) + 2 * 2 * c for c in (64, 128, 256))
    up = sum(pair(2 * c, c) + 2 * c for c in (256, 128, 64)) + pair(64, 3)
    code = pair(512, 4000) + 2 * 4000 + pair(4000, 512) + 2 * 512
    assert parameters(nets.G(cfg.width, cfg.bottleneck), x) == down + code + up == 71_058_880
    assert parameters(nets.D(cfg.width), x) == down + pair(512, 1)


def test_other_sizes():
    """Pictures of any sides come out at these, in [-1, 1]; the critic gives one number each."""
    x = 100 * jax.random.normal(jax.random.key(0), (2, 12, 30, 2))
    made, _ = jax.jit(nets.G(2, 4).init_with_output)(jax.random.key(1), x)
    assert made.shape == x.shape and 0.001 < np.abs(made).max() <= 1
    assert jax.eval_shape(nets.D(2).init_with_output, jax.random.key(2), x)[0].shape == (2,)


def test_errors_are_those_of_the_box():
    """An even shift costs colour and, at the rim alone, gradients; outside nothing counts."""
    mask = np.zeros((2, 16, 16, 1), np.float32)
    mask[:, :8, 8:] = 1
    x = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    found = blending.errors(x + 0.3 * mask + 0 * x, x, mask)
    assert found["colour"] == pytest.approx(0.3, rel=1e-5)
    # of eight pairs in each line that touch the box one leaves it, downwards as to the left
    assert found["gradient"] == pytest.approx(0.3 * 8 / 64, rel=1e-4)
    away = blending.errors(x + 0.3 * (1 - mask), x, mask)
    assert away["colour"] == pytest.approx(0, abs=1e-6) and away["gradient"] == pytest.approx(0.3 * 8 / 64, rel=1e-4)


def test_gradients_are_those_of_both_pictures_and_colours_those_of_g(monkeypatch):
    """A plain picture pasted into a rough one stays plain, the other rough, and both are as bright as G says."""
    rough = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 16, 16, 1)).astype(np.float32)
    mask = np.zeros_like(rough)
    mask[:, 4:12, 4:12] = 1
    plain = np.full_like(rough, -0.9)
    batch = {"x": rough, "other": plain, "mask": mask, "source": np.where(mask, plain, rough)}
    monkeypatch.setattr(blending, "forward", lambda *of, **_: (0 * of[3] + 0.2, None))
    state = blending.State(0, None, *[blending.Player({}, {}, None)] * 2)
    made, found = jax.jit(functools.partial(blending.blended, CFG, state))(batch)
    assert made.shape == (2, 8, 8, 1)
    inside, outside = found[:, 6:10, 6:10], found[:, 2:14, :2]
    assert np.std(inside) < 0.05 * np.std(outside) and np.std(outside) > 0.1
    np.testing.assert_allclose([inside.mean(), found.mean()], 0.2, atol=0.02)


def test_measures(tmp_path):
    """Errors of four ways, and a picture of the first eight composites in each, beside the truth."""
    cfg = dataclasses.replace(blending.PRESETS["tiny"], steps=1)
    state = jax.jit(functools.partial(blending.init, cfg))(jax.random.key(0))
    test = jax.tree.map(jnp.asarray, data.resident(data.load(cfg.dataset).test))
    found = jax.jit(functools.partial(blending.measure, cfg))(state, jax.random.key(1), {}, test)
    ways = "pasted", "poisson", "g", "ours"
    assert set(found) == {f"{what}/{way}" for what in ("colour", "gradient") for way in ways} | {"test"}
    assert found["test"].x.shape == (5, 8, 16, 16, 1)
    source = data.pasted(data.load(cfg.dataset), cfg.part, cfg.light).test
    batch = source.make(jax.tree.map(lambda a: a[:32], test), jax.random.key(2), 0, 32)
    for what, error in blending.errors(batch["source"], batch["x"], batch["mask"]).items():
        assert found[f"{what}/pasted"] == pytest.approx(float(error), rel=1e-5)
    np.testing.assert_array_equal(found["test"].x[-1], batch["x"][:8])


@pytest.mark.parametrize("factor", [3, 4, 32])
def test_sizes_that_do_not_divide(factor):
    """No power of 2, or too little left for G."""
    with pytest.raises(UserError, match=f"--factor is {factor}: it must be a power of 2"):
        blending.composites(dataclasses.replace(CFG, factor=factor))
