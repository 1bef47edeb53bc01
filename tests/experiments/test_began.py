"""BEGAN's step against the paper's objective in plain loops, its balance, and the end of a run that has converged."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import began
from gan_jax.game import rng
from gan_jax.nets import autoencoder

CFG = dataclasses.replace(
    began.PRESETS["ring"], batch_size=2, width=8, z_dim=3, code=4, gamma=0.5, lambda_k=0.3, lr=1e-2
)


def net(params, x):
    """A ReLU perceptron of the parameters of `nets.mlp.MLP`, layer by layer: x [c] -> [out]."""
    layers = [params[f"Dense_{i}"] for i in range(3)]
    for layer in layers[:-1]:
        x = jnp.where((x := x @ layer["kernel"] + layer["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def adam(player, grads, t):
    """(params, m, v) after step t of Adam downhill."""
    params, m, v = player
    m = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    move = lambda p, m, v: p - CFG.lr * m / (1 - CFG.b1**t) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v


def paper(state, xs, gamma):
    """L_D, L_G and the move of k, row by row: two noises, D and G and k all from where they were."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    (g, d), k = ((p.params, zeros(p), zeros(p)) for p in (state.g, state.d)), state.k
    G = lambda theta, z: net(theta["MLP_0"], z)

    def L(w, v):
        again = net(w["G_0"]["MLP_0"], net(w["MLP_0"], v))
        return (jnp.abs(v[0] - again[0]) + jnp.abs(v[1] - again[1])) / 2

    for t, x in enumerate(xs):
        z_d, z_g = (
            jax.random.uniform(rng.at(state.key, t, name), (2, CFG.z_dim), minval=-1) for name in ("z_d", "z_g")
        )
        l_x = lambda w, x=x: sum(L(w, row) for row in x) / 2
        l_z = lambda w, theta, z: sum(L(w, G(theta, row)) for row in z) / 2
        d_grads = jax.grad(lambda w, k=k, g=g, z=z_d, l_x=l_x: l_x(w) - k * l_z(w, g[0], z))(d[0])
        g_grads = jax.grad(lambda theta, d=d, z=z_g: l_z(d[0], theta, z))(g[0])
        k = jnp.maximum(0, jnp.minimum(1, k + CFG.lambda_k * (gamma * l_x(d[0]) - l_z(d[0], g[0], z_g))))
        g, d = adam(g, g_grads, t + 1), adam(d, d_grads, t + 1)
    return g[0], d[0], k


def started(cfg, k):
    state = jax.jit(functools.partial(began.init, cfg))(jax.random.key(0))
    return state._replace(k=jnp.float32(k))


def test_step_is_the_paper_s():
    """Two steps equal the loops in float64; with another gamma they would not."""
    with jax.enable_x64(True):
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, started(CFG, 0.5))
        xs, now = np.random.default_rng(0).normal(size=(2, 2, 2)), state
        step = jax.jit(functools.partial(began.step, CFG))
        for x in xs:
            now, _ = step(now, {"x": x})
        close = functools.partial(
            chex.assert_trees_all_close, (now.g.params, now.d.params, now.k), rtol=1e-9, atol=1e-12
        )
        algorithm = jax.jit(paper)
        close(algorithm(state, xs, CFG.gamma))
        assert 0 < now.k < 1
        with pytest.raises(AssertionError):
            close(algorithm(state, xs, 0.6))


def test_k_moves_towards_the_balance_and_stays_between_0_and_1():
    """k rises while samples are easier than gamma asks, falls while they are harder, and never leaves [0, 1]."""
    step = jax.jit(began.step, static_argnums=0)
    far = {"x": jnp.full((2, 2), 50.0)}  # data that D reconstructs badly
    up = dataclasses.replace(CFG, lambda_k=1e-3)
    after, metrics = step(up, started(CFG, 0.5), far)
    assert 0.5 < after.k < 1 and metrics["k"] == after.k
    np.testing.assert_allclose(after.k - 0.5, 1e-3 * (0.5 * metrics["error/real"] - metrics["loss/g"]), rtol=1e-3)
    assert step(dataclasses.replace(CFG, lambda_k=1e3), started(CFG, 0.5), far)[0].k == 1
    down = dataclasses.replace(CFG, lambda_k=1e3, gamma=0.0)
    assert step(down, started(CFG, 0.5), far)[0].k == 0


def test_convergence_is_the_error_plus_the_imbalance():
    """M is L(x) in perfect balance, and more by what is missing to it."""
    _, metrics = jax.jit(functools.partial(began.step, CFG))(started(CFG, 0.2), {"x": jnp.ones((2, 2))})
    missing = abs(0.5 * metrics["error/real"] - metrics["loss/g"])
    np.testing.assert_allclose(metrics["convergence"], metrics["error/real"] + missing, rtol=1e-6)


def test_a_run_ends_where_it_has_converged(tmp_path):
    """With a threshold above M the first row ends the run; with 0 it goes on to its last step."""
    flags = ["--preset=ring", "--batch-size=8", "--width=8", "--steps=6", "--log-every=2", "--eval-every=0"]
    ended, results = began.main([*flags, "--stop-below=1e6", f"--out={tmp_path / 'short'}"])
    assert ended.step == 2 and results["steps"] == 2
    whole, _ = began.main([*flags, f"--out={tmp_path / 'whole'}"])
    assert whole.step == 6


def test_nets_without_batch_norm_pass_their_input_on():
    """At the start different images have different reconstructions, and different latents different samples."""
    x = jax.random.uniform(jax.random.key(0), (4, 28, 28, 1), minval=-1)
    out = lambda net: jax.jit(lambda x: net.init_with_output(jax.random.key(1), x)[0])
    again, _ = out(autoencoder.Conv(16, 8, norm=False))(x)
    fake = out(autoencoder.Decoder((28, 28, 1), 8))(x[:, 0, :16, 0])
    assert again.std(0).mean() > 0.05 and fake.std(0).mean() > 0.05


def test_images_are_not_bounded_by_the_nets():
    """Where a tanh is saturated no gradient comes through: G turned black and stayed so. Samples are cut off."""
    z = 100 * jax.random.normal(jax.random.key(0), (4, 16))
    x, _ = autoencoder.Decoder((28, 28, 1), 8).init_with_output(jax.random.key(1), z)
    (again, _), _ = autoencoder.Conv(16, 8, norm=False).init_with_output(jax.random.key(1), x)
    assert min(abs(x).max(), abs(again).max()) > 2
