"""The mode-regularised GAN's step against its three losses in plain loops, and what it measures."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import mrgan, unrolled_modes
from gan_jax.game import rng

CFG = dataclasses.replace(
    mrgan.PRESETS["default"], batch_size=2, width=8, e_width=8, d_width=8, z_dim=2, lambda1=0.7, lambda2=0.3,
    g_lr=1e-2, e_lr=2e-2, d_lr=3e-2,
)  # fmt: skip


def net(layers, x):
    """A ReLU perceptron [c] -> [out]."""
    for p in layers[:-1]:
        x = jnp.where((x := x @ p["kernel"] + p["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def perceptron(p, x):
    return net([p["MLP_0"][f"Dense_{i}"] for i in range(3)], x)


def encoder(p, x):
    return net([p["trunk"]["Dense_0"], p["trunk"]["Dense_1"], p["MLP_0"]["Dense_0"]], x)


def adam(player, grads, lr, b1=CFG.b1, b2=CFG.b2):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
    move = lambda p, m, v: p - lr * m / (1 - b1 ** (t + 1)) / (jnp.sqrt(v / (1 - b2 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


@functools.partial(jax.jit, static_argnames="sign")
def paper(players, xs, zs, sign):
    """T_G = -log D(G(z)) + T_E; T_E = lambda1 d(x, G(E(x))) - lambda2 log D(G(E(x))); D's as ever; the three updates."""

    def terms(theta, phi, w):
        t_g = t_e = t_d = 0.0
        D = lambda x: 1 / (1 + jnp.exp(-perceptron(w, x)[0]))
        for x, z in zip(xs, zs, strict=True):
            fake, again = perceptron(theta, z), perceptron(theta, encoder(phi, x))
            regulariser = CFG.lambda1 * ((x[0] - again[0]) ** 2 + (x[1] - again[1]) ** 2) / 2
            regulariser += -sign * CFG.lambda2 * jnp.log(D(again))
            t_g, t_e = t_g - jnp.log(D(fake)) + regulariser, t_e + regulariser
            t_d += -jnp.log(D(x)) - jnp.log(1 - D(fake))
        return t_g / len(xs), t_e / len(xs), t_d / len(xs)

    now = [player[0] for player in players]
    grads = [jax.grad(lambda *now, i=i: terms(*now)[i], i)(*now) for i in range(3)]
    return [adam(*of) for of in zip(players, grads, (CFG.g_lr, CFG.e_lr, CFG.d_lr), strict=True)]


def test_step_is_the_paper_s():
    """Two steps equal the loops in float64; with the sign of the last term as printed they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(mrgan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(2, 2, 2)), state
        zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
        right = wrong = [(p.params, zeros(p), zeros(p), 0) for p in (state.g, state.e, state.d)]
        step = jax.jit(functools.partial(mrgan.step, CFG))
        for t, x in enumerate(xs):
            z = jax.random.normal(rng.at(state.key, t, "z"), (2, CFG.z_dim))
            now, right, wrong = step(now, {"x": x})[0], paper(right, x, z, 1), paper(wrong, x, z, -1)
        close = functools.partial(chex.assert_trees_all_close, rtol=1e-9, atol=1e-12)
        found = now.g.params, now.e.params, now.d.params
        close(found, tuple(player[0] for player in right))
        with pytest.raises(AssertionError):
            close(found, tuple(player[0] for player in wrong))


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
