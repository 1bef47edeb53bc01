"""LSGAN's step against the paper's objectives in plain loops, and what the code c stands for."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import lsgan
from gan_jax.game import rng

CFG = dataclasses.replace(lsgan.PRESETS["default"], batch_size=2, width=8, z_dim=3, c=0.5, lr=1e-2, ema=0.9)


def net(params, x):
    """A ReLU perceptron of the parameters of `nets.mlp`, layer by layer: x [c] -> [out]."""
    layers = [params["MLP_0"][f"Dense_{i}"] for i in range(3)]
    for layer in layers[:-1]:
        x = jnp.where((x := x @ layer["kernel"] + layer["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def adam(player, grads, t, eps):
    """(params, m, v) after step t of Adam downhill."""
    params, m, v = player
    m = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    move = lambda p, m, v: p - CFG.lr * m / (1 - CFG.b1**t) / (jnp.sqrt(v / (1 - 0.999**t)) + eps)
    return jax.tree.map(move, params, m, v), m, v


def paper(state, xs, a, b, c, scale):
    """The codes a, b, c, row by row, both players from where they were; with scale 2 the net says (D + 1) / 2."""
    D = lambda d, x: scale * net(d, x)[0] - (scale - 1)
    eps = 1e-8 * scale**2  # as much larger as the gradients are
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    g, d = ((p.params, zeros(p), zeros(p)) for p in (state.g, state.d))
    average = g[0]
    for t, x in enumerate(xs):
        z = jax.random.normal(rng.at(state.key, t, "z"), (2, CFG.z_dim))

        def d_value(w, x=x, z=z, g=g):
            return sum((D(w, x[i]) - b) ** 2 / 2 + (D(w, net(g[0], z[i])) - a) ** 2 / 2 for i in range(2)) / 2

        def g_value(theta, z=z, d=d):
            return sum((D(d[0], net(theta, z[i])) - c) ** 2 / 2 for i in range(2)) / 2

        g, d = adam(g, jax.grad(g_value)(g[0]), t + 1, eps), adam(d, jax.grad(d_value)(d[0]), t + 1, eps)
        average = jax.tree.map(lambda e, p: 0.9 * e + 0.1 * p, average, g[0])
    return g[0], d[0], average


def test_step_is_the_paper_s():
    """Two steps equal the loops in float64, in both ways to say chi^2; with G's other code they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(lsgan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(2, 2, 2)), state
        step = jax.jit(functools.partial(lsgan.step, CFG))
        for x in xs:
            now, _ = step(now, {"x": x})
        got = now.g.params, now.d.params, now.g_ema[0]
        algorithm = jax.jit(paper)
        close = functools.partial(chex.assert_trees_all_close, got, rtol=1e-9, atol=1e-12)
        close(algorithm(state, xs, 0.0, 1.0, 0.5, 1.0))
        with pytest.raises(AssertionError):
            close(algorithm(state, xs, 0.0, 1.0, 1.0, 1.0))
        close(algorithm(state, xs, -1.0, 1.0, 0.0, 2.0))


def test_c_is_where_g_rests():
    """Where D says c of every sample, G has no reason to move."""
    state = lsgan.init(CFG, jax.random.key(0))
    flat = jax.tree.map(jnp.zeros_like, state.d.params)
    flat["MLP_0"]["Dense_2"]["bias"] = jnp.full(1, 0.5)
    state = state._replace(d=state.d._replace(params=flat))
    after, metrics = jax.jit(functools.partial(lsgan.step, CFG))(state, {"x": jnp.ones((2, 2))})
    assert metrics["loss/g"] == 0 and metrics["loss/d"] == 0.25  # (1/2)^2 / 2 twice: the equilibrium
    chex.assert_trees_all_equal(after.g.params, state.g.params)
