"""Each way of the ablation against its own plain loop; "unrolled" is `unrolled.py`, "plain" is `vanilla.py`."""

import dataclasses
import functools
import itertools

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import ablation, unrolled, vanilla
from gan_jax.game import rng

B, K = 4, 2
CFG = dataclasses.replace(
    ablation.PRESETS["default"], batch_size=B, unroll=K, width=8, z_dim=3, age=2, sgd_lr=0.5, g_lr=1e-2, d_lr=2e-2,
    ema=0.9,
)  # fmt: skip
FRESH = {"extra_steps", "resampled"}


def double(tree):
    """The tree with its floats in float64."""
    return jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, tree)


def net(params, x, scale=1.0):
    """A ReLU perceptron of the parameters of `nets.mlp`, layer by layer."""
    layers = [params["MLP_0"][f"Dense_{i}"] for i in range(len(params["MLP_0"]))]
    x = x * scale
    for i, layer in enumerate(layers):
        x = x @ layer["kernel"] + layer["bias"][None]
        x = jnp.where(x > 0, x, 0) if i < len(layers) - 1 else x
    return x


def value(g, d, z, x):
    """f = mean log D(x) + mean log(1 - D(G(z))): []."""
    sigmoid = lambda s: 1 / (1 + jnp.exp(-s))
    real, fake = (sigmoid(net(d, v, CFG.d_scale)) for v in (x, net(g, z)))
    return jnp.log(real).mean() + jnp.log(1 - fake).mean()


def adam(player, grads, lr):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: 0.5 * m + 0.5 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, grads)
    t = t + 1
    move = lambda p, m, v: p - lr * m / (1 - 0.5**t) / (jnp.sqrt(v / (1 - 0.999**t) + 1e-16) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t


def one_step(way, key, g, d, rows, t, past):
    """(g, d) after step t as the words beside `way` say, written out; past: the parameters of D that G faces, if any."""
    n = 1 + K * (way in FRESH)
    minibatch = [rows[i::n] for i in range(n)]
    z = jax.random.normal(rng.at(key, t, "z"), (n, B, CFG.z_dim))

    def d_grads(g_params, d_params, i):
        return jax.grad(lambda d_params: -value(g_params, d_params, z[i], minibatch[i]))(d_params)

    def looked_ahead(g_params, d):
        if way == "fresh_adam":
            d = (d[0], *(jax.tree.map(jnp.zeros_like, d[0]),) * 2, 0)
        for k in range(K):
            grads = d_grads(g_params, d[0], 1 + k if way in FRESH else 0)
            if way == "sgd":
                d = (jax.tree.map(lambda p, g: p - CFG.sgd_lr * g, d[0], grads), *d[1:])
            else:
                d = adam(d, grads, CFG.d_lr)
        return d

    if way == "alternating":
        d = adam(d, d_grads(g[0], d[0], 0), CFG.d_lr)
    if way == "extra_steps":
        d = looked_ahead(g[0], d)

    def surrogate(g_params):
        if way in ("unrolled", "sgd", "fresh_adam", "resampled", "alternating"):
            seen = looked_ahead(g_params, d)[0]
        elif way == "first_order":
            seen = looked_ahead(g[0], d)[0]
        else:
            seen = past if way in ("averaged", "delayed") else d[0]
        return value(g_params, seen, z[0], minibatch[0])

    g_grads = jax.grad(surrogate)(g[0])
    if way != "alternating":
        d = adam(d, d_grads(g[0], d[0], 0), CFG.d_lr)
    return adam(g, g_grads, CFG.g_lr), d


def played(way, state, xs):
    """(G's, D's, the averaged G's parameters) after a step on each of xs [t, n, c]."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    g, d = ((p.params, zeros(p), zeros(p), jnp.float64(0)) for p in (state.g, state.d))
    average, history, step = state.g.params, [], jax.jit(functools.partial(one_step, way, state.key))
    a = CFG.age / (CFG.age + 1)
    for t, rows in enumerate(xs):
        history.append(d[0])
        if way == "averaged":  # weights 1, a, a^2, ... of D now, a step ago, ...; what is missing has the first one
            weights = [a ** (t - i) * (1 - a if i else 1) for i in range(t + 1)]
            past = jax.tree.map(lambda *ps: sum(w * p for w, p in zip(weights, ps, strict=True)), *history)
        else:
            past = history[t // (CFG.age + 1) * (CFG.age + 1)]
        g, d = step(g, d, rows, t, past)
        average = jax.tree.map(lambda a, p: CFG.ema * a + (1 - CFG.ema) * p, average, g[0])
    return g[0], d[0], average


def stepped(module, cfg, state, xs):
    """The last state and metrics of a step of the experiment on each of xs [t, n, ...]."""
    step = jax.jit(functools.partial(module.step, cfg))
    for x in xs:
        state, metrics = step(state, {"x": x})
    return state, metrics


def begun(module, cfg):
    """The experiment's first state, in float64."""
    return double(jax.jit(functools.partial(module.init, cfg))(jax.random.key(0)))


start = functools.cache(lambda: begun(ablation, CFG))


@functools.cache
def moved(way, **changes):
    """The state after three steps of a way."""
    cfg = dataclasses.replace(CFG, way=way, **changes)
    return stepped(ablation, cfg, start(), data_of(way, cfg.unroll))[0]


def data_of(way, k=K):
    return np.random.default_rng(0).normal(size=(3, B * (1 + k * (way in FRESH)), 2))


@pytest.mark.parametrize("way", ablation.WAYS)
def test_each_way_is_what_it_says(way):
    """Three steps equal the loops in float64."""
    with jax.enable_x64(True):
        end, expected = moved(way), played(way, start(), data_of(way))
        chex.assert_trees_all_close((end.g.params, end.d.params, end.g_ema[0]), expected, rtol=1e-9, atol=1e-12)


def test_ways_differ():
    """No two ways move G alike; with nothing to look ahead, or no past to look at, G moves as in the plain game."""
    with jax.enable_x64(True):
        flat = lambda state: jax.flatten_util.ravel_pytree(state.g.params)[0]
        ends = {way: flat(moved(way)) for way in ablation.WAYS}
        assert all(np.abs(ends[a] - ends[b]).max() > 1e-6 for a, b in itertools.combinations(ends, 2))
        for way, nothing in {"extra_steps": {"unroll": 0}, "averaged": {"age": 0}, "delayed": {"age": 0}}.items():
            np.testing.assert_allclose(flat(moved(way, **nothing)), ends["plain"], rtol=1e-9)


@pytest.mark.parametrize("preset", ["default", "images"])
def test_unrolled_is_unrolled(preset):
    """The way "unrolled" is the step of `unrolled.py`, batch statistics and metrics included."""
    with jax.enable_x64(True):
        given = {"batch_size": B, "z_dim": 3, "unroll": K, "dataset": "digits" if preset == "images" else "ring8"}
        shape, ends = (8, 8, 1) if preset == "images" else (2,), []
        xs = np.random.default_rng(0).uniform(-1, 1, size=(2, B, *shape))
        for module in (ablation, unrolled):
            cfg = dataclasses.replace(module.PRESETS[preset], width=4, **given)
            end, metrics = stepped(module, cfg, begun(module, cfg), xs)
            ends.append((end.g, end.d, end.g_ema, metrics))
        chex.assert_trees_all_close(*ends, rtol=1e-12, atol=1e-14)


def test_plain_is_the_original_gan(monkeypatch):
    """With the loss of `vanilla.py`, its D and its Adam those of here, and one rate, "plain" moves as it does."""
    with jax.enable_x64(True):
        cfg = dataclasses.replace(CFG, way="plain", loss="non_saturating", d_lr=CFG.g_lr, d_scale=1.0)
        of = vanilla.Config("ring8", batch_size=B, width=8, z_dim=3, lr=CFG.g_lr)
        monkeypatch.setattr(vanilla, "build", lambda _: ablation.build(cfg)[:3])
        ends = [stepped(m, c, begun(m, c), data_of("plain"))[0] for m, c in ((ablation, cfg), (vanilla, of))]
        chex.assert_trees_all_close(*((s.g.params, s.d.params) for s in ends), rtol=1e-9, atol=1e-12)
