"""The mode-regularised GAN's step against its three losses in plain loops, and what it measures."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import mrgan, unrolled_modes
from gan_jax.game import rng

B = 3
CFG = dataclasses.replace(
    mrgan.PRESETS["default"], batch_size=B, width=8, e_width=8, d_width=8, z_dim=2, lambda1=0.7, lambda2=0.3,
    g_lr=1e-2, e_lr=2e-2, d_lr=3e-2,
)  # fmt: skip
net = oracle.with_norm(oracle.mlp)
E = oracle.with_norm(
    lambda p, x: oracle.perceptron([p["trunk"]["Dense_0"], p["trunk"]["Dense_1"], p["MLP_0"]["Dense_0"]], x)
)


@jax.jit
def paper(g, e, d, z, x, sign):
    """T_G = -log D(G(z)) + T_E; T_E = lambda1 d(x, G(E(x))) - lambda2 log D(G(E(x))); D's as ever; the three updates."""

    def terms(theta, phi, w):
        D = lambda x: oracle.sigmoid(net(w, d.stats, x)[0][:, 0])
        (fake, g_stats), (code, e_stats) = net(theta, g.stats, z), E(phi, e.stats, x)
        again, _ = net(theta, g.stats, code)
        t_g = t_e = t_d = 0.0
        for a, b, real, made, back in zip(x, again, D(x), D(fake), D(again), strict=True):
            regulariser = CFG.lambda1 * ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / 2
            regulariser += -sign * CFG.lambda2 * jnp.log(back)
            t_g, t_e = t_g - jnp.log(made) + regulariser, t_e + regulariser
            t_d += -jnp.log(real) - jnp.log(1 - made)
        return (t_g / B, g_stats), (t_e / B, e_stats), (t_d / B, net(w, d.stats, x)[1])

    now, adam = (g.params, e.params, d.params), functools.partial(oracle.adam, b1=CFG.b1, b2=CFG.b2)
    of = lambda i: lambda p: terms(*now[:i], p, *now[i + 1 :])[i]
    players = zip((g, e, d), (CFG.g_lr, CFG.e_lr, CFG.d_lr), strict=True)
    return [oracle.moved(adam, player, of(i), lr) for i, (player, lr) in enumerate(players)]


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal the loops in float64; with the sign of the last term as printed they would not."""
    oracle.normed(mrgan, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, B, 2))
        start, end, _ = oracle.played(mrgan, CFG, [{"x": x} for x in xs])

        def theirs(sign):
            players = oracle.started(start.g, start.e, start.d)
            for t, x in enumerate(xs):
                players = paper(*players, rng.normal(rng.at(start.key, t, "z"), (B, CFG.z_dim)), x, sign)
            return players

        oracle.same([end.g, end.e, end.d], theirs(1))
        oracle.differ([end.g, end.e, end.d], theirs(-1))


def test_without_the_regulariser_it_is_the_plain_gan():
    """Then G and D don't depend on E, which stays where it is."""
    cfg = dataclasses.replace(CFG, lambda1=0.0, lambda2=0.0)
    state = jax.jit(functools.partial(mrgan.init, cfg))(jax.random.key(0))
    x, step = jax.random.normal(jax.random.key(1), (3, 2)), jax.jit(functools.partial(mrgan.step, cfg))
    one, _ = step(state, {"x": x})
    other, _ = step(state._replace(e=jax.tree.map(lambda p: 2 * p, state.e)), {"x": x})
    chex.assert_trees_all_equal((one.g, one.d), (other.g, other.d))
    chex.assert_trees_all_equal(one.e.params, state.e.params)


def test_the_error_of_reconstruction(monkeypatch):
    """It is the mean squared difference in [-1, 1]; what is shown are the images and theirs."""
    cfg = dataclasses.replace(mrgan.PRESETS["images"], width=4, e_width=4, z_dim=2)
    state = jax.jit(functools.partial(mrgan.init, cfg))(jax.random.key(0))
    test = {"x": np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8)}
    monkeypatch.setattr(mrgan.jax.lax, "map", lambda f, x, batch_size: np.concatenate([x[:1] + 1, x[1:]]))
    found = mrgan.measure(cfg, state, jax.random.key(0), None, test)
    np.testing.assert_allclose(found["test/distance"], 1 / 20, rtol=1e-5)
    shown, again = found["reconstructions"].x
    np.testing.assert_allclose(shown, test["x"][:16] / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(again[1:], shown[1:])


@pytest.mark.parametrize("preset", ["quarter", "half"])
def test_stacked_presets_are_those_of_unrolled_modes(preset):
    """The same G and D, batch, rates and decays."""
    ours, theirs = mrgan.PRESETS[f"stacked_{preset}"], unrolled_modes.PRESETS[preset]
    same = ("dataset", "steps", "batch_size", "z_dim", "width", "d_width", "g_lr", "d_lr", "b1", "b2")
    assert all(getattr(ours, name) == getattr(theirs, name) for name in same)
