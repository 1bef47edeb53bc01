"""WGAN-GP's step against Algorithm 1 of the paper in plain loops."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import wgan_gp
from gan_jax.game import rng

CFG = dataclasses.replace(wgan_gp.PRESETS["default"], batch_size=2, width=8, critic_steps=2, penalty=2.0, lr=1e-2)


def net(params, x):
    """A ReLU perceptron of the parameters of `nets.mlp`, layer by layer: x [c] -> [out]."""
    layers = [params["MLP_0"][f"Dense_{i}"] for i in range(4)]
    for layer in layers[:-1]:
        x = jnp.where((x := x @ layer["kernel"] + layer["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def adam(player, grads, lr=CFG.lr, b1=CFG.b1, b2=CFG.b2):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
    move = lambda p, m, v: p - lr * m / (1 - b1 ** (t + 1)) / (jnp.sqrt(v / (1 - b2 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


def paper(state, xs, target):
    """Algorithm 1, row by row: n critic updates with new data and noise each, then one of G."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    g, d = ((p.params, zeros(p), zeros(p), 0) for p in (state.g, state.d))
    for t, batch in enumerate(xs):
        z_key, gp_key = (rng.at(state.key, t, name) for name in ("z", "penalty"))
        zs = [jax.random.normal(jax.random.fold_in(z_key, i), (2, CFG.z_dim)) for i in range(CFG.critic_steps + 1)]
        for i in range(CFG.critic_steps):
            epsilon = jax.random.uniform(jax.random.fold_in(gp_key, i), (2, 1))

            def loss(w, i=i, epsilon=epsilon, batch=batch, zs=zs):
                total = 0.0
                for row in range(2):
                    x, fake = batch[row * CFG.critic_steps + i], net(g[0], zs[i][row])
                    slope = jax.grad(lambda v: net(w, v)[0])(epsilon[row, 0] * x + (1 - epsilon[row, 0]) * fake)
                    penalty = (jnp.sqrt(slope[0] ** 2 + slope[1] ** 2) - target) ** 2
                    total += net(w, fake)[0] - net(w, x)[0] + CFG.penalty * penalty
                return total / 2

            d = adam(d, jax.grad(loss)(d[0]))
        g = adam(g, jax.grad(lambda theta, zs=zs, d=d: -sum(net(d[0], net(theta, z))[0] for z in zs[-1]) / 2)(g[0]))
    return g[0], d[0]


def test_step_is_the_paper_s():
    """Two steps equal Algorithm 1 in float64; with another target norm they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(wgan_gp.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(2, 4, 2)), state
        step = jax.jit(functools.partial(wgan_gp.step, CFG))
        for x in xs:
            now, _ = step(now, {"x": x})
        close = functools.partial(chex.assert_trees_all_close, (now.g.params, now.d.params), rtol=1e-9, atol=1e-12)
        algorithm = jax.jit(paper)
        close(algorithm(state, xs, 1.0))
        with pytest.raises(AssertionError):
            close(algorithm(state, xs, 0.0))
