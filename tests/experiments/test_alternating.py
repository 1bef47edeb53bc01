"""The game in turns against Algorithm 1 of Goodfellow et al. in plain loops."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import alternating
from gan_jax.game import rng

CFG = dataclasses.replace(
    alternating.PRESETS["default"], batch_size=2, width=4, z_dim=3, d_steps=2, g_steps=2, g_lr=2e-2, d_lr=1e-2, ema=0.9
)


def net(params, x):
    """A ReLU perceptron of the parameters of `nets.mlp`: x [c] -> [out]."""
    layers = [params["MLP_0"][f"Dense_{i}"] for i in range(3)]
    for layer in layers[:-1]:
        x = jnp.where((x := x @ layer["kernel"] + layer["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def adam(player, grads, lr):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    move = lambda p, m, v: p - lr * m / (1 - CFG.b1 ** (t + 1)) / (jnp.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


def paper(cfg, state, xs, simultaneous):
    """Algorithm 1, row by row: D's updates, then G's against the D that came of them."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    g, d = ((p.params, zeros(p), zeros(p), 0) for p in (state.g, state.d))
    average = g[0]
    p_of = lambda w, x: 1 / (1 + jnp.exp(-net(w, x)[0]))
    for t, batch in enumerate(xs):
        key, before = rng.at(state.key, t, "z"), d
        zs = [jax.random.normal(jax.random.fold_in(key, i), (2, cfg.z_dim)) for i in range(cfg.d_steps + cfg.g_steps)]
        for i in range(cfg.d_steps):
            rows = [(batch[row * cfg.d_steps + i], net(g[0], zs[i][row])) for row in range(2)]
            loss = lambda w, rows=rows: -sum(jnp.log(p_of(w, x)) + jnp.log(1 - p_of(w, fake)) for x, fake in rows) / 2
            d = adam(d, jax.grad(loss)(d[0]), cfg.d_lr)
        if t >= cfg.head_start:
            for z in zs[cfg.d_steps :]:
                w = jax.tree.map(functools.partial(jnp.where, simultaneous), before[0], d[0])
                loss = lambda theta, z=z, w=w: -sum(jnp.log(p_of(w, net(theta, row))) for row in z) / 2
                g = adam(g, jax.grad(loss)(g[0]), cfg.g_lr)
        average = jax.tree.map(lambda a, b: cfg.ema * a + (1 - cfg.ema) * b, average, g[0])
    return g[0], d[0], average


@pytest.mark.parametrize("head_start", [0, 1])
def test_step_is_the_paper_s(head_start):
    """Two turns equal Algorithm 1 in float64, with and without a head start; against the D before its turn, not."""
    cfg = dataclasses.replace(CFG, head_start=head_start)
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(alternating.init, cfg))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(2, 4, 2)), state
        step = jax.jit(functools.partial(alternating.step, cfg))
        for x in xs:
            now, metrics = step(now, {"x": x})
        close = functools.partial(
            chex.assert_trees_all_close, (now.g.params, now.d.params, now.g_ema), rtol=1e-9, atol=1e-12
        )
        algorithm = jax.jit(functools.partial(paper, cfg))
        close(algorithm(state, xs, False))
        assert 0 < metrics["p/fake"] < 1 and 0 < metrics["p/real"] < 1
        with pytest.raises(AssertionError):
            close(algorithm(state, xs, True))
