"""The rules on two nets: ExtraAdam in plain loops, simultaneous moves as the original GAN's, and all of them train."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import dynamics, vanilla
from gan_jax.game import rng

CFG = dataclasses.replace(dynamics.PRESETS["default"], batch_size=4, width=8, z_dim=2, g_lr=1e-2, d_lr=3e-2)


def trained(cfg, xs):
    """The state after a step on each of xs [n, b, c]; every float of it is a float64 under enable_x64."""
    state = jax.jit(functools.partial(dynamics.init, cfg))(jax.random.key(0))
    state = jax.tree.map(lambda a: a.astype(xs.dtype) if a.dtype == jnp.float32 else a, state)
    step = jax.jit(functools.partial(dynamics.step, cfg))
    start = state
    for x in xs:
        state, metrics = step(state, {"x": x})
    return start, state, metrics


def net(params, x):
    """A ReLU perceptron of the parameters of `nets.mlp`: x [c] -> [out]."""
    layers = [params["MLP_0"][f"Dense_{i}"] for i in range(3)]
    for layer in layers[:-1]:
        x = jnp.where((x := x @ layer["kernel"] + layer["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def paper(state, xs, again):
    """ExtraAdam: a half step and, from the old place by the gradient there, a whole one; Adam's moments see both."""
    players = [p.params for p in (state.g, state.d)]
    m, v = ([jax.tree.map(jnp.zeros_like, p) for p in players] for _ in range(2))
    count, rates = 0, (CFG.g_lr, CFG.d_lr)
    sigmoid = lambda a: 1 / (1 + jnp.exp(-a))
    for t, x in enumerate(xs):
        z = jax.random.normal(rng.at(state.key, t, "z"), (4, CFG.z_dim))

        def g_loss(g, d, z=z):
            return -sum(jnp.log(sigmoid(net(d, net(g, one))[0])) for one in z) / 4

        def d_loss(g, d, z=z, x=x):
            gain = [jnp.log(sigmoid(net(d, a)[0])) + jnp.log(1 - sigmoid(net(d, net(g, b))[0])) for a, b in zip(x, z, strict=True)]  # fmt: skip
            return -sum(gain) / 4

        at = players
        for _ in range(2):
            count += 1
            grads = jax.grad(g_loss, 0)(*at), jax.grad(d_loss, 1)(*at)
            new = []
            for i, (p, grad) in enumerate(zip(players, grads, strict=True)):
                m[i] = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, m[i], grad)
                v[i] = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v[i], grad)
                a, b = 1 - CFG.b1**count, 1 - 0.999**count
                new.append(jax.tree.map(lambda p, m, v: p - rates[i] * m / a / (jnp.sqrt(v / b) + 1e-8), p, m[i], v[i]))
            at = jax.tree.map(functools.partial(jnp.where, again), new, at)
        players = new
    return players


def test_step_is_the_paper_s():
    """Two steps equal the loops in float64; without the look ahead they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 4, 2))
        start, end, _ = trained(CFG, xs)
        close = functools.partial(chex.assert_trees_all_close, [end.g.params, end.d.params], rtol=1e-8, atol=1e-11)
        algorithm = jax.jit(paper)
        close(algorithm(start, xs, True))
        with pytest.raises(AssertionError):
            close(algorithm(start, xs, False))


def test_simultaneous_is_the_original_gan():
    """With one rate for both, the moves are those of `vanilla.py`."""
    cfg = dataclasses.replace(CFG, method="simultaneous", d_lr=1e-2)
    of = vanilla.Config("ring8", batch_size=4, width=8, z_dim=2, lr=1e-2)
    xs = np.random.default_rng(0).normal(size=(2, 4, 2)).astype(np.float32)
    _, end, _ = trained(cfg, xs)
    init, step = (jax.jit(functools.partial(f, of)) for f in (vanilla.init, vanilla.step))
    state = init(jax.random.key(0))
    for x in xs:
        state, _ = step(state, {"x": x})
    chex.assert_trees_all_close((end.g.params, end.d.params), (state.g.params, state.d.params), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", dynamics.METHODS)
def test_every_method_trains(method):
    """Both players move, and all stays finite."""
    cfg = dataclasses.replace(CFG, method=method, strength=0.3, period=2)
    start, end, metrics = trained(cfg, np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32))
    assert all(np.isfinite(a).all() for a in jax.tree.leaves((end.g, end.d, metrics)))
    for player in ("g", "d"):
        with pytest.raises(AssertionError):
            chex.assert_trees_all_close(getattr(start, player).params, getattr(end, player).params)
