"""VEEGAN's step against Algorithm 1 of the paper in plain loops."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import unrolled_modes, veegan
from gan_jax.game import rng

B = 3
CFG = dataclasses.replace(
    veegan.PRESETS["default"], batch_size=B, width=8, f_width=8, d_width=8, pair_width=8, z_dim=2, weight=0.7,
    noise=0.5, g_lr=1e-2, f_lr=2e-2, d_lr=3e-2, falls=0.0,
)  # fmt: skip
G = oracle.with_norm(oracle.mlp)
F = oracle.with_norm(
    lambda p, x: oracle.perceptron([p["trunk"]["Dense_0"], p["trunk"]["Dense_1"], p["MLP_0"]["Dense_0"]], x)
)


@oracle.with_norm
def D(p, x, z):
    """The paper's sign: high for pairs of G."""
    features = jnp.maximum(oracle.perceptron([p["trunk"]["Dense_0"], p["trunk"]["Dense_1"]], x), 0)
    return -oracle.mlp(p, jnp.concatenate([features, z], 1), 1)[:, 0]


@jax.jit
def paper(g, f, d, z, noise, x, g_sees_distance):
    """Algorithm 1, row by row: the gradients of gamma (G), theta (F) and omega (D), then the three updates."""

    def sums(gamma, theta, omega):
        (x_g, g_stats), (z_g, f_stats) = G(gamma, g.stats, z), F(theta, f.stats, x)
        (of_real, d_stats), (of_g, _) = D(omega, d.stats, x, z_g + CFG.noise * noise), D(omega, d.stats, x_g, z)
        ratio = distance = logistic = 0.0
        for row, guess, real, made in zip(z, F(theta, f.stats, x_g)[0], of_real, of_g, strict=True):
            distance += CFG.weight * ((row[0] - guess[0]) ** 2 + (row[1] - guess[1]) ** 2)
            ratio += made
            logistic -= jnp.log(oracle.sigmoid(made)) + jnp.log(1 - oracle.sigmoid(real))
        return ((ratio + g_sees_distance * distance) / B, g_stats), (distance / B, f_stats), (logistic / B, d_stats)

    now, adam = (g.params, f.params, d.params), functools.partial(oracle.adam, b1=CFG.b1, b2=CFG.b2)
    of = lambda i: lambda p: sums(*now[:i], p, *now[i + 1 :])[i]
    players = zip((g, f, d), (CFG.g_lr, CFG.f_lr, CFG.d_lr), strict=True)
    return [oracle.moved(adam, player, of(i), lr) for i, (player, lr) in enumerate(players)]


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal Algorithm 1 in float64; with a G that does not see the distance they would not."""
    oracle.normed(veegan, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, B, 2))
        start, end, _ = oracle.played(veegan, CFG, [{"x": x} for x in xs])

        def theirs(g_sees_distance):
            players = oracle.started(start.g, start.f, start.d)
            for t, x in enumerate(xs):
                z, noise = rng.normal(rng.at(start.key, t, "z"), (2, B, CFG.z_dim))
                players = paper(*players, z, noise, x, g_sees_distance)
            return players

        oracle.same([end.g, end.f, end.d], theirs(1))
        oracle.differ([end.g, end.f, end.d], theirs(0))


def test_the_rates_go_down_to_0():
    """Constant for half of the steps, then a straight line: those of G, F and D, each from its own."""
    *_, g_tx, f_tx, d_tx = veegan.build(dataclasses.replace(CFG, steps=20, falls=0.5))
    for tx, lr in ((g_tx, CFG.g_lr), (f_tx, CFG.f_lr), (d_tx, CFG.d_lr)):
        one, moves = {"w": jnp.ones(())}, []
        state = tx.init(one)
        for _ in range(20):
            move, state = tx.update(one, state)
            moves.append(-float(move["w"]) / lr)
        np.testing.assert_allclose(moves[:11], 1, rtol=1e-4)
        np.testing.assert_allclose(moves[10:], 1 - np.arange(10) / 10, atol=1e-4)


def test_the_error_of_reconstruction(monkeypatch):
    """It is the mean squared difference in [-1, 1]; what is shown are the images and theirs."""
    cfg = dataclasses.replace(veegan.PRESETS["images"], width=4, f_width=4, d_width=4, z_dim=2)
    state = jax.jit(functools.partial(veegan.init, cfg))(jax.random.key(0))
    test = {"x": np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8)}
    monkeypatch.setattr(veegan.jax.lax, "map", lambda f, x, batch_size: np.concatenate([x[:1] + 1, x[1:]]))
    found = veegan.measure(cfg, state, jax.random.key(0), None, test)
    np.testing.assert_allclose(found["test/distance"], 1 / 20, rtol=1e-5)
    shown, again = found["reconstructions"].x
    np.testing.assert_allclose(shown, test["x"][:16] / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(again[1:], shown[1:])


@pytest.mark.parametrize("preset", ["quarter", "half"])
def test_stacked_presets_are_those_of_unrolled_modes(preset):
    """The same G, batch, rates and decays, and a D whose convolutions are those of unrolled_modes'."""
    ours, theirs = veegan.PRESETS[f"stacked_{preset}"], unrolled_modes.PRESETS[preset]
    same = ("dataset", "steps", "batch_size", "z_dim", "width", "d_width", "g_lr", "d_lr", "b1", "b2")
    assert all(getattr(ours, name) == getattr(theirs, name) for name in same)
