"""WGAN's step against Algorithm 1 of the paper in plain loops, and the clipping."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import wgan
from gan_jax.game import rng

CFG = dataclasses.replace(wgan.PRESETS["default"], batch_size=2, width=8, critic_steps=2, clip=0.3, lr=1e-2)


def net(params, x):
    """A ReLU perceptron of the parameters of `nets.mlp`, layer by layer: x [c] -> [out]."""
    layers = [params["MLP_0"][f"Dense_{i}"] for i in range(4)]
    for layer in layers[:-1]:
        x = jnp.where((x := x @ layer["kernel"] + layer["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def rmsprop(player, grads):
    """(params, v) after one step of RMSProp downhill."""
    params, v = player
    v = jax.tree.map(lambda v, g: CFG.decay * v + (1 - CFG.decay) * g**2, v, grads)
    return jax.tree.map(lambda p, v, g: p - CFG.lr * g / (jnp.sqrt(v) + 1e-8), params, v, grads), v


def paper(state, xs, c):
    """Algorithm 1, row by row: n critic updates with new data and noise, each one clipped, then one of G."""
    g, d = ((p.params, jax.tree.map(jnp.zeros_like, p.params)) for p in (state.g, state.d))
    for t, batch in enumerate(xs):
        key = rng.at(state.key, t, "z")
        zs = [jax.random.normal(jax.random.fold_in(key, i), (2, CFG.z_dim)) for i in range(CFG.critic_steps + 1)]
        for i in range(CFG.critic_steps):

            def value(w, i=i, g=g, batch=batch, zs=zs):
                rows = range(2)
                real = sum(net(w, batch[row * CFG.critic_steps + i])[0] for row in rows) / 2
                return real - sum(net(w, net(g[0], zs[i][row]))[0] for row in rows) / 2

            ascent = jax.tree.map(jnp.negative, jax.grad(value)(d[0]))
            w, v = rmsprop(d, ascent)
            d = jax.tree.map(lambda w: jnp.maximum(jnp.minimum(w, c), -c), w), v
        g = rmsprop(g, jax.grad(lambda theta, zs=zs, d=d: -sum(net(d[0], net(theta, z))[0] for z in zs[-1]) / 2)(g[0]))
    return g[0], d[0]


def test_step_is_the_paper_s():
    """Two steps equal Algorithm 1 in float64; without the clipping they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(wgan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(2, 4, 2)), state
        step = jax.jit(functools.partial(wgan.step, CFG))
        for x in xs:
            now, _ = step(now, {"x": x})
        close = functools.partial(chex.assert_trees_all_close, (now.g.params, now.d.params), rtol=1e-9, atol=1e-12)
        algorithm = jax.jit(paper)
        close(algorithm(state, xs, CFG.clip))
        with pytest.raises(AssertionError):
            close(algorithm(state, xs, np.inf))


def test_every_weight_of_the_critic_is_clipped():
    """No weight ever exceeds c, those of batch norm included; some reach it; G's are free."""
    cfg = dataclasses.replace(CFG, dataset="digits", clip=0.01)
    state = jax.jit(functools.partial(wgan.init, cfg))(jax.random.key(0))
    after, _ = jax.jit(functools.partial(wgan.step, cfg))(state, {"x": np.zeros((4, 8, 8, 1), np.float32)})
    for d in (state.d, after.d):
        assert max(float(jnp.abs(w).max()) for w in jax.tree.leaves(d.params)) == np.float32(0.01)
    assert max(float(jnp.abs(w).max()) for w in jax.tree.leaves(after.g.params)) > 0.01


def test_the_metric_estimates_a_distance():
    """A critic that is given time tells by the metric how far the data are from the samples."""
    cfg = dataclasses.replace(CFG, batch_size=64, critic_steps=50, width=64)
    state = jax.jit(functools.partial(wgan.init, cfg))(jax.random.key(0))
    step = jax.jit(functools.partial(wgan.step, cfg))
    x = wgan.sample(cfg, state, jax.random.key(1), 64 * 50)
    far, near, none = (float(step(state, {"x": x + shift})[1]["wasserstein"]) for shift in (4, 1, 0))
    assert far > 2 * near and near > 4 * abs(none)
