"""Unrolled GAN's step against the paper's algorithm box in plain loops, and against a hand-written pmap."""

import dataclasses
import functools
import json
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
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


adam = functools.partial(oracle.adam, b1=0.5, eps_root=1e-16)
net = lambda params, x, scale=1.0: oracle.mlp(params, x * scale, len(params["MLP_0"]) - 1)


def value(g_params, d_params, z, x):
    """f = mean log D(x) + mean log(1 - D(G(z))), as the paper writes it: [] (D ascends, G descends)."""
    real, fake = (oracle.sigmoid(net(d_params, v, CFG.d_scale)) for v in (x, net(g_params, z)))
    return jnp.log(real).mean() + jnp.log(1 - fake).mean()


def paper(state, xs, average=lambda grads: grads, noise=None):
    """The algorithm box: for each minibatch, K ascents of D unrolled by hand, G's gradient through all, one ascent of D."""
    zs = [rng.normal(rng.at(state.key, t, "z"), (len(x), CFG.z_dim)) for t, x in enumerate(xs)]

    def turn(before, now):  # one program for all minibatches
        (g, d, mean), (x, z) = before, now
        d_grads = lambda g_params, d_params: average(
            jax.grad(lambda d_params: -value(g_params, d_params, z, x))(d_params)
        )

        def surrogate(g_params):
            ahead = d
            for _ in range(CFG.unroll):
                ahead = adam(ahead, d_grads(g_params, ahead.params), CFG.d_lr)
            return value(g_params, ahead.params, z, x)

        g_grads = average(jax.grad(surrogate)(g.params))
        d = adam(d, d_grads(g.params, d.params), CFG.d_lr)
        g = adam(g, g_grads, CFG.g_lr)
        return (g, d, oracle.averaged(mean, g.params, CFG.ema)), None

    start = *oracle.started(state.g, state.d), state.g_ema[0]
    (g, d, mean), _ = jax.lax.scan(turn, start, (xs, jnp.stack(zs) if noise is None else noise))
    return g.params, d.params, mean


def test_step_is_the_paper_s():
    """Three steps equal the algorithm box in plain loops; with the gradient stopped they would not."""
    with jax.enable_x64(True):
        state = oracle.double(jax.jit(functools.partial(unrolled.init, CFG))(jax.random.key(0)))
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


@jax.jit
def normed(g, d, mean, z, x, of_fakes):
    """The algorithm box with batch norm in both nets; of_fakes: D keeps the statistics of fakes, the planted deviation."""
    score = lambda w, x: oracle.with_norm(lambda p, x: net(p, x, CFG.d_scale))(w, d.stats, x)

    def d_loss(w, fake):
        (real, kept), (made, others) = score(w, x), score(w, fake)
        loss = -(jnp.log(oracle.sigmoid(real)).mean() + jnp.log(1 - oracle.sigmoid(made)).mean())
        return loss, jax.tree.map(lambda a, b: jnp.where(of_fakes, b, a), kept, others)

    def g_loss(theta):
        (fake, stats), ahead = oracle.with_norm(net)(theta, g.stats, z), d
        for _ in range(CFG.unroll):
            ahead = oracle.moved(adam, ahead, lambda w: d_loss(w, fake), CFG.d_lr)
        return -d_loss(ahead.params, fake)[0], stats

    fake, _ = oracle.with_norm(net)(g.params, g.stats, z)
    new_g = oracle.moved(adam, g, g_loss, CFG.g_lr)
    new_d = oracle.moved(adam, d, lambda w: d_loss(w, fake), CFG.d_lr)
    return new_g, new_d, oracle.averaged(mean, (new_g.params, new_g.stats), CFG.ema)


def test_statistics_are_those_of_the_algorithm(monkeypatch):
    """Of G, of its average, and of D, which keeps those of data and none of its future's; of fakes they would differ."""
    oracle.normed(unrolled, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 8, 2))
        start, end, _ = oracle.played(unrolled, CFG, [{"x": x} for x in xs])

        def theirs(of_fakes):
            parts = *oracle.started(start.g, start.d), start.g_ema
            for t, x in enumerate(xs):
                parts = normed(*parts, rng.normal(rng.at(start.key, t, "z"), (8, CFG.z_dim)), x, of_fakes)
            return parts

        oracle.same((end.g, end.d, end.g_ema), theirs(False))
        oracle.differ((end.g, end.d, end.g_ema), theirs(True))


@pytest.mark.long
def test_sharded_step_equals_pmap():
    """Two steps over a mesh of four devices equal `jax.pmap` with a pmean on every gradient, those ahead included."""
    with jax.enable_x64(True):
        state = oracle.double(jax.jit(functools.partial(unrolled.init, CFG))(jax.random.key(0)))
        xs = np.random.default_rng(1).normal(size=(2, 8, 2))
        noise = jnp.stack([rng.normal(rng.at(state.key, t, "z"), (8, CFG.z_dim)) for t in range(2)])
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
    z = rng.normal(rng.at(state.key, 0, "z"), (8, cfg.z_dim))
    after, metrics = jax.jit(functools.partial(unrolled.step, cfg))(state, {"x": x})

    @jax.jit
    def plain(g, d):
        expected, grads = jax.value_and_grad(value)(g, d, z, x)
        return expected, adam(oracle.started(state.g), grads, cfg.g_lr)

    expected, g = plain(state.g.params, state.d.params)
    np.testing.assert_allclose(metrics["loss/g"], expected, rtol=1e-5)
    chex.assert_trees_all_close(after.g.params, g.params, rtol=1e-4, atol=1e-6)


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


@pytest.mark.long
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
