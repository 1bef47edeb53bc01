"""Denoising feature matching's three updates against their formulas row by row, and the published nets."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments import feature_denoising
from gan_jax.game import rng
from gan_jax.nets import denoiser

B = 4
CFG = dataclasses.replace(
    feature_denoising.PRESETS["default"], dataset="ring8", batch_size=B, denoising=0.7, adversarial=0.3, matching=0.2,
    noise=0.5, z_dim=2, width=4, r_width=4, r_depth=2, g_lr=1e-2, d_lr=2e-2, r_lr=3e-2,
)  # fmt: skip
G = oracle.with_norm(oracle.mlp)


def both(params, x):
    """D's score and the last of its two hidden layers."""
    f = x
    for i in range(2):
        f = oracle.dense(params["Trunk_0"][f"Dense_{i}"], f)
        f = jnp.where(f > 0, f, 0)
    return oracle.dense(params["Dense_0"], f)[:, 0], f


D = oracle.with_norm(both)


def r(params, stats, f):
    """Two hidden layers with batch norm and a linear one, and the new statistics."""
    new, h = {}, f
    for i in range(2):
        name = f"BatchNorm_{i}"
        h, new[name] = oracle.batch_norm(params[name], stats["batch_stats"][name], h @ params[f"Dense_{i}"]["kernel"])
        h = jnp.where(h > 0, h, 0)
    return oracle.dense(params["Dense_2"], h), {"batch_stats": new}


@functools.partial(jax.jit, static_argnums=6)
def paper(g, d, p, z, noise, x, fixed):
    """G towards r's answer, D as ever, r on data; all from where they are."""
    f_data = D(d.params, d.stats, x)[0][1]

    def g_loss(theta):
        fake, new = G(theta, g.stats, z)
        score, f = D(d.params, d.stats, fake)[0]
        target = r(p.params, p.stats, f)[0]
        target = jax.lax.stop_gradient(target) if fixed else target
        total = sum(((f[i] - target[i]) ** 2).mean() for i in range(B)) / B * CFG.denoising
        total -= sum(jnp.log(oracle.sigmoid(s)) for s in score) / B * CFG.adversarial
        return total + ((f_data.mean(0) - f.mean(0)) ** 2).mean() * CFG.matching, new

    def d_loss(w):
        (real, _), new = D(w, d.stats, x)
        fake = D(w, d.stats, G(g.params, g.stats, z)[0])[0][0]
        return -(jnp.log(oracle.sigmoid(real)) + jnp.log(1 - oracle.sigmoid(fake))).mean(), new

    def r_loss(phi):
        again, new = r(phi, p.stats, f_data + CFG.noise * noise)
        return sum(((f_data[i] - again[i]) ** 2).mean() for i in range(B)) / B, new

    of = ((g, g_loss, CFG.g_lr), (d, d_loss, CFG.d_lr), (p, r_loss, CFG.r_lr))
    return [oracle.moved(oracle.adam, player, loss, lr, b1=CFG.b1) for player, loss, lr in of]


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal the formulas in float64, statistics too; with a gradient through r's answer they would not."""
    oracle.normed(feature_denoising, monkeypatch, 0, 1)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, B, 2))
        start, end, _ = oracle.played(feature_denoising, CFG, [{"x": x} for x in xs])

        def theirs(fixed):
            players = oracle.started(start.g, start.d, start.r)
            for t, x in enumerate(xs):
                noise = rng.normal(rng.at(start.key, t, "noise"), (B, CFG.width))
                z = rng.normal(rng.at(start.key, t, "z"), (B, CFG.z_dim))
                players = paper(*players, z, noise, x, fixed)
            return players

        oracle.same([end.g, end.d, end.r], theirs(True), rtol=1e-7, atol=1e-10)
        oracle.differ([end.g, end.d, end.r], theirs(False), rtol=1e-7, atol=1e-10)


def test_the_published_sizes(monkeypatch):
    """r for ImageNet has ten layers of 2,048; D and G of 32x32 have half of DCGAN's width: counted layer by layer."""
    monkeypatch.setattr(feature_denoising.data, "load", lambda name: type("Set", (), {"shape": (32, 32, 3)}))
    init = functools.partial(feature_denoising.init, feature_denoising.PRESETS["paper"])
    state = jax.eval_shape(init, jax.random.key(0))
    size = lambda player: sum(p.size for p in jax.tree.leaves(player.params))
    levels, norms, f = 16 * (32 * 64 + 64 * 128), 2 * (64 + 128), 4 * 4 * 128
    assert size(state.d) == 16 * 3 * 32 + 32 + levels + norms + f + 1
    assert size(state.g) == 100 * f + 2 * 128 + levels + 2 * (64 + 32) + 16 * 32 * 3 + 3
    assert size(state.r) == 10 * (2048 * 2048 + 2 * 2048) + f * 2048 + f
    assert state.r.params["Dense_10"]["kernel"].shape == (2048, f)


def test_a_denoiser_keeps_the_width_of_features():
    """Whatever it has inside, without hidden layers too."""
    for depth in (0, 2):
        out = jax.eval_shape(denoiser.R(5, depth).init_with_output, jax.random.key(0), jnp.zeros((2, 3)))[0]
        assert out.shape == (2, 3)
