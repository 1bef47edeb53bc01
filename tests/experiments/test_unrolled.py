"""Unrolled GAN's step against the paper's algorithm box in plain loops, and against a hand-written pmap."""

import dataclasses
import functools
import json
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax
from experiments import unrolled
from gan_jax import UserError, data
from gan_jax.game import losses, rng
from gan_jax.run import sharding
from gan_jax.run.fit import scan_fit

CFG = dataclasses.replace(
    unrolled.PRESETS["paper"], batch_size=8, width=8, z_dim=4, unroll=3, g_lr=1e-2, d_lr=2e-2, ema=0.9
)


def net(params, x, scale=1.0):
    """A ReLU perceptron of the parameters of `nets.mlp`, layer by layer."""
    layers = [params["MLP_0"][f"Dense_{i}"] for i in range(len(params["MLP_0"]))]
    x = x * scale
    for i, layer in enumerate(layers):
        x = x @ layer["kernel"] + layer["bias"][None]
        x = jnp.where(x > 0, x, 0) if i < len(layers) - 1 else x
    return x


def value(g_params, d_params, z, x):
    """f = mean log D(x) + mean log(1 - D(G(z))), as the paper writes it: [] (D ascends, G descends)."""
    sigmoid = lambda s: 1 / (1 + jnp.exp(-s))
    real, fake = (sigmoid(net(d_params, v, CFG.d_scale)) for v in (x, net(g_params, z)))
    return jnp.log(real).mean() + jnp.log(1 - fake).mean()


def adam(params, grads, m, v, t, lr, b1=0.5, b2=0.999):
    """One step of Adam (Kingma and Ba 2015) downhill, with the root's epsilon inside: (params, m, v)."""
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, v, grads)
    move = lambda p, m, v: p - lr * (m / (1 - b1**t)) / (jnp.sqrt(v / (1 - b2**t) + 1e-16) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v


def paper(state, xs, average=lambda grads: grads, noise=None):
    """The algorithm box: for each minibatch, K ascents of D unrolled by hand, G's gradient through all, one ascent of D."""
    (g, _, (g_adam, _)), (d, _, (d_adam, _)) = state.g, state.d
    zs = [jax.random.normal(rng.at(state.key, t, "z"), (len(x), CFG.z_dim)) for t, x in enumerate(xs)]

    def turn(before, now):  # one program for all minibatches
        g, d, mean = before
        t, x, z = now
        d_grads = lambda g_params, d_params: average(
            jax.grad(lambda d_params: -value(g_params, d_params, z, x))(d_params)
        )

        def surrogate(g_params):
            ahead = d
            for k in range(CFG.unroll):
                ahead = adam(ahead[0], d_grads(g_params, ahead[0]), ahead[1], ahead[2], t + 1 + k, CFG.d_lr)
            return value(g_params, ahead[0], z, x)

        g_grads = average(jax.grad(surrogate)(g[0]))
        d_now = d_grads(g[0], d[0])
        g = adam(g[0], g_grads, g[1], g[2], t + 1, CFG.g_lr)
        d = adam(d[0], d_now, d[1], d[2], t + 1, CFG.d_lr)
        mean = jax.tree.map(lambda a, p: CFG.ema * a + (1 - CFG.ema) * p, mean, g[0])
        return (g, d, mean), None

    start = (g, g_adam.mu, g_adam.nu), (d, d_adam.mu, d_adam.nu), state.g_ema[0]
    now = jnp.arange(len(xs)), xs, jnp.stack(zs) if noise is None else noise
    (g, d, mean), _ = jax.lax.scan(turn, start, now)
    return g[0], d[0], mean


def double(tree):
    """The tree with its floats in float64."""
    to = lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a
    return jax.tree.map(to, tree)


def test_step_is_the_paper_s():
    """Three steps equal the algorithm box in plain loops; with the gradient stopped they would not."""
    with jax.enable_x64(True):
        state = double(jax.jit(functools.partial(unrolled.init, CFG))(jax.random.key(0)))
        xs = np.random.default_rng(0).normal(size=(3, 8, 2))
        expected = jax.jit(paper)(state, xs)

        def run(cfg):
            now, step = state, jax.jit(functools.partial(unrolled.step, cfg))
            for x in xs:
                now, _ = step(now, {"x": x})
            return now.g.params, now.d.params, now.g_ema[0]

        chex.assert_trees_all_close(run(CFG), expected, rtol=1e-9, atol=1e-12)
        for wrong in ({"unroll": 0}, {"unroll": 2}):
            with pytest.raises(AssertionError):
                chex.assert_trees_all_close(run(dataclasses.replace(CFG, **wrong)), expected, rtol=1e-9, atol=1e-12)


def test_sharded_step_equals_pmap():
    """Two steps over a mesh of four devices equal `jax.pmap` with a pmean on every gradient, those ahead included."""
    with jax.enable_x64(True):
        state = double(jax.jit(functools.partial(unrolled.init, CFG))(jax.random.key(0)))
        xs = np.random.default_rng(1).normal(size=(2, 8, 2))
        noise = jnp.stack([jax.random.normal(rng.at(state.key, t, "z"), (8, CFG.z_dim)) for t in range(2)])
        by_device = lambda a: a.reshape(2, 4, 2, -1).swapaxes(0, 1)  # [device, step, row, ...]
        mean = lambda grads: jax.lax.pmean(grads, "data")
        one = jax.pmap(lambda x, z: paper(state, x, mean, z), axis_name="data", out_axes=None)
        expected = one(by_device(xs), by_device(noise))

        mesh = sharding.make(8)
        step = jax.jit(lambda s, x: unrolled.step(CFG, s, sharding.split(mesh, {"x": x}))[0])
        now = jax.device_put(state, sharding.replicated(mesh))
        for x in xs:
            now = step(now, x)
        chex.assert_trees_all_close((now.g.params, now.d.params, now.g_ema[0]), expected, rtol=1e-9, atol=1e-12)


def test_zero_updates_ahead_is_the_plain_gan():
    """K = 0: G's gradient is that of the game at the present D."""
    cfg = dataclasses.replace(CFG, unroll=0)
    state = jax.jit(functools.partial(unrolled.init, cfg))(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    z = jax.random.normal(rng.at(state.key, 0, "z"), (8, cfg.z_dim))
    after, metrics = jax.jit(functools.partial(unrolled.step, cfg))(state, {"x": x})

    @jax.jit
    def plain(g, d):
        expected, grads = jax.value_and_grad(value)(g, d, z, x)
        return expected, adam(g, grads, *jax.tree.map(jnp.zeros_like, (grads, grads)), 1, cfg.g_lr)

    expected, g = plain(state.g.params, state.d.params)
    np.testing.assert_allclose(metrics["loss/g"], expected, rtol=1e-5)
    chex.assert_trees_all_close(after.g.params, g[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", losses.PAIRS)
def test_every_loss_trains(loss):
    """A step with each loss, one of them on images, is finite and moves both players."""
    cfg = dataclasses.replace(CFG, loss=loss, dataset="digits" if loss == "minimax" else "ring8", unroll=1)
    x = jnp.ones((8, *data.load(cfg.dataset).shape)) / 2
    state = jax.jit(lambda: unrolled.init(cfg, jax.random.key(0)))()
    after, metrics = jax.jit(lambda s: unrolled.step(cfg, s, {"x": x}))(state)
    assert all(np.isfinite(m) for m in metrics.values())
    for a, b in ((state.g, after.g), (state.d, after.d)):
        assert any(not np.array_equal(p, q) for p, q in zip(*map(jax.tree.leaves, (a.params, b.params)), strict=True))


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """Return a function that gives the folder of a run of before, when one file had all nets, with these fields too."""
    flags = ["--batch-size=8", "--width=8", "--unroll=2", "--steps=2", "--eval-every=0", "--log-every=2"]
    run = tmp_path_factory.mktemp("runs") / "run"
    unrolled.main([*flags, f"--out={run}"])

    def aged(**fields):
        folder = tmp_path_factory.mktemp("before") / "run"
        shutil.copytree(run, folder)
        saved = json.loads((folder / "config.json").read_text())
        saved["config"] |= {"nets": "auto", "d_width": 2, "std": False, "pack": 1} | fields
        (folder / "config.json").write_text(json.dumps(saved))
        return folder

    return aged


def test_a_run_of_before_on_these_nets_goes_on(before):
    """Fields that are gone, with the values that this file still has, don't matter."""
    state, _ = unrolled.main(["--resume", f"--out={before()}", "--steps=4"])
    assert state.step == 4 and gan_jax.load(before()).state.step == 2


@pytest.mark.parametrize("field", [{"nets": "stacked"}, {"nets": "lstm"}, {"pack": 2}, {"lost": 1}], ids=str)
def test_a_run_of_before_on_other_nets_is_refused(before, field):
    """It is not resumed as something else, from the command line or a notebook, nor loaded: the field is named."""
    ((name, value),) = field.items()
    folder = before(**field)
    refused = functools.partial(pytest.raises, UserError, match=f"^.*config.json: {name} is {value!r}, and .* any more")
    for flags in ([], ["--preset=default"]):
        with refused():
            unrolled.main(["--resume", f"--out={folder}", "--steps=4", *flags])
    with refused():
        gan_jax.fit(unrolled, gan_jax.load(before()).cfg, out=str(folder), resume=True, steps=4)
    with refused():
        gan_jax.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_ring_is_covered_where_the_plain_gan_collapses(preset):
    """Over 4 seeds: 8 of 8 modes with the preset's K by step 10,000, at most 2 with K = 0."""
    from gan_jax.metrics import coverage

    def modes(unroll, seed):
        cfg = dataclasses.replace(unrolled.PRESETS[preset], unroll=unroll)
        source, key = data.load(cfg.dataset), jax.random.key(seed)
        batch_at = lambda i: data.batch(source, {}, key, i, cfg.batch_size)
        step = lambda state, batch: unrolled.step(cfg, state, batch)
        state, _ = jax.jit(lambda: scan_fit(step, unrolled.init(cfg, key), batch_at, 10_000))()
        x = unrolled.sample(cfg, state, jax.random.key(1), 2500)
        return int(coverage(x, *source.modes)["modes"])

    assert [modes(unrolled.PRESETS[preset].unroll, s) for s in range(4)] == [8] * 4
    assert preset != "paper" or max(modes(0, s) for s in range(4)) <= 2
