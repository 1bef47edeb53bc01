"""VEEGAN's step against Algorithm 1 of the paper in plain loops."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import unrolled_modes, veegan
from gan_jax.game import rng

CFG = dataclasses.replace(
    veegan.PRESETS["default"], batch_size=2, width=8, f_width=8, d_width=8, pair_width=8, z_dim=2, weight=0.7,
    noise=0.5, g_lr=1e-2, f_lr=2e-2, d_lr=3e-2,
)  # fmt: skip


def net(layers, x):
    """A ReLU perceptron [c] -> [out]."""
    for p in layers[:-1]:
        x = jnp.where((x := x @ p["kernel"] + p["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def generator(p, z):
    return net([p["MLP_0"][f"Dense_{i}"] for i in range(3)], z)


def reconstructor(p, x):
    return net([p["trunk"]["Dense_0"], p["trunk"]["Dense_1"], p["MLP_0"]["Dense_0"]], x)


def discriminator(p, z, x):
    """The paper's sign: high for pairs of G."""
    features = net([p["trunk"]["Dense_0"], p["trunk"]["Dense_1"], {"kernel": jnp.eye(8), "bias": 0.0}], x)
    return -net([p["MLP_0"]["Dense_0"], p["MLP_0"]["Dense_1"]], jnp.concatenate([features, z]))[0]


def adam(player, grads, lr, b1=CFG.b1, b2=CFG.b2):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
    move = lambda p, m, v: p - lr * m / (1 - b1 ** (t + 1)) / (jnp.sqrt(v / (1 - b2 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


@functools.partial(jax.jit, static_argnames="g_sees_distance")
def paper(players, xs, zs, noise, g_sees_distance):
    """Algorithm 1, row by row: the gradients of gamma (G), theta (F) and omega (D), then the three updates."""

    def sums(gamma, theta, omega):
        ratio = distance = logistic = 0.0
        sigma = lambda s: 1 / (1 + jnp.exp(-s))
        for x, z, epsilon in zip(xs, zs, noise, strict=True):
            x_g, z_g = generator(gamma, z), reconstructor(theta, x) + CFG.noise * epsilon
            guess = reconstructor(theta, x_g)
            distance += CFG.weight * ((z[0] - guess[0]) ** 2 + (z[1] - guess[1]) ** 2)
            ratio += discriminator(omega, z, x_g)
            logistic -= jnp.log(sigma(discriminator(omega, z, x_g)))
            logistic -= jnp.log(1 - sigma(discriminator(omega, z_g, x)))
        return (ratio + g_sees_distance * distance) / len(xs), distance / len(xs), logistic / len(xs)

    now = [player[0] for player in players]
    grads = [jax.grad(lambda *now, i=i: sums(*now)[i], i)(*now) for i in range(3)]
    return [adam(*of) for of in zip(players, grads, (CFG.g_lr, CFG.f_lr, CFG.d_lr), strict=True)]


def test_step_is_the_paper_s():
    """Two steps equal Algorithm 1 in float64; with a G that does not see the distance they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(veegan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(2, 2, 2)), state
        zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
        right = wrong = [(p.params, zeros(p), zeros(p), 0) for p in (state.g, state.f, state.d)]
        step = jax.jit(functools.partial(veegan.step, CFG))
        for t, x in enumerate(xs):
            z, noise = jax.random.normal(rng.at(state.key, t, "z"), (2, 2, CFG.z_dim))
            now, right, wrong = step(now, {"x": x})[0], paper(right, x, z, noise, 1), paper(wrong, x, z, noise, 0)
        close = functools.partial(chex.assert_trees_all_close, rtol=1e-9, atol=1e-12)
        found = now.g.params, now.f.params, now.d.params
        close(found, tuple(player[0] for player in right))
        with pytest.raises(AssertionError):
            close(found, tuple(player[0] for player in wrong))


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
