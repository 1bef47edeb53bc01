"""Each way of the ablation against its own plain loop; "unrolled" is `unrolled.py`, "plain" is `vanilla.py`."""

import dataclasses
import functools
import itertools

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import ablation, unrolled, vanilla
from gan_jax.game import rng

B, K = 4, 2
CFG = dataclasses.replace(
    ablation.PRESETS["default"], batch_size=B, unroll=K, width=8, z_dim=3, age=2, sgd_lr=0.5, g_lr=1e-2, d_lr=2e-2,
    ema=0.9,
)  # fmt: skip
FRESH = {"extra_steps", "resampled"}


net = oracle.with_norm(oracle.mlp)


@oracle.with_norm
def D(params, x):
    return oracle.sigmoid(oracle.mlp(params, x * CFG.d_scale, 1))[:, 0]


@functools.partial(jax.jit, static_argnames="way")
def one_step(way, key, g, d, rows, t, past):
    """(g, d) after step t as the words beside `way` say, written out; past: the parameters of D that G faces, if any."""
    n = 1 + K * (way in FRESH)
    minibatch = [rows[i::n] for i in range(n)]
    z = rng.normal(rng.at(key, t, "z"), (n, B, CFG.z_dim))
    adam = functools.partial(oracle.adam, b1=0.5, eps_root=1e-16)

    def value(theta, w, i):
        """f = mean log D(x) + mean log(1 - D(G(z))): []; and the statistics of G on noise, of D on data."""
        (fake, g_stats), (real, d_stats) = net(theta, g.stats, z[i]), D(w, d.stats, minibatch[i])
        gain = sum(jnp.log(r) + jnp.log(1 - f) for r, f in zip(real, D(w, d.stats, fake)[0], strict=True))
        return gain / B, g_stats, d_stats

    def d_move(theta, w, i):
        grads, stats = jax.grad(lambda w: (-(of := value(theta, w, i))[0], of[2]), has_aux=True)(w)
        return grads, stats

    def looked_ahead(theta, d):
        if way == "fresh_adam":
            d = d._replace(m=jax.tree.map(jnp.zeros_like, d.m), v=jax.tree.map(jnp.zeros_like, d.v), t=0 * d.t)
        for k in range(K):
            grads, _ = d_move(theta, d.params, 1 + k if way in FRESH else 0)
            d = oracle.sgd(d, grads, CFG.sgd_lr) if way == "sgd" else adam(d, grads, CFG.d_lr)
        return d

    def d_update(d):
        grads, stats = d_move(g.params, d.params, 0)
        return adam(d, grads, CFG.d_lr, stats=stats)

    first = d_update(d) if way == "alternating" else d
    first = looked_ahead(g.params, first) if way == "extra_steps" else first

    def surrogate(theta):
        if way in ("unrolled", "sgd", "fresh_adam", "resampled", "alternating"):
            seen = looked_ahead(theta, first).params
        elif way == "first_order":
            seen = looked_ahead(g.params, first).params
        else:
            seen = past if way in ("averaged", "delayed") else first.params
        gain, stats, _ = value(theta, seen, 0)
        return gain, stats

    new = oracle.moved(adam, g, surrogate, CFG.g_lr)
    return new, first if way == "alternating" else d_update(first)


def played(way, state, xs):
    """(G, D, the averaged G) after a step on each of xs [t, n, c]."""
    (g, d), average, history = oracle.started(state.g, state.d), state.g_ema, []
    a = CFG.age / (CFG.age + 1)
    for t, rows in enumerate(xs):
        history.append(d.params)
        if way == "averaged":  # weights 1, a, a^2, ... of D now, a step ago, ...; what is missing has the first one
            weights = [a ** (t - i) * (1 - a if i else 1) for i in range(t + 1)]
            past = jax.tree.map(lambda *ps: sum(w * p for w, p in zip(weights, ps, strict=True)), *history)
        else:
            past = history[t // (CFG.age + 1) * (CFG.age + 1)]
        g, d = one_step(way, state.key, g, d, rows, t, past)
        average = oracle.averaged(average, (g.params, g.stats), CFG.ema)
    return g, d, average


@functools.cache
def moved(way, **changes):
    """The states before and after three steps of a way."""
    cfg = dataclasses.replace(CFG, way=way, **changes)
    with pytest.MonkeyPatch.context() as patch:
        oracle.normed(ablation, patch)
        return oracle.played(ablation, cfg, [{"x": x} for x in data_of(way, cfg.unroll)])[:2]


def data_of(way, k=K):
    return np.random.default_rng(0).normal(size=(3, B * (1 + k * (way in FRESH)), 2))


DEAR = {"fresh_adam", "resampled", "extra_steps", "sgd"}  # "unrolled" and "alternating" do most of what they do, too


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.slow) if way in DEAR else way for way in ablation.WAYS]
)
def test_each_way_is_what_it_says(way):
    """Three steps equal the loops in float64."""
    with jax.enable_x64(True):
        start, end = moved(way)
        oracle.same((end.g, end.d, end.g_ema), played(way, start, data_of(way)))


@pytest.mark.slow
def test_ways_differ():
    """No two ways move G alike; with nothing to look ahead, or no past to look at, G moves as in the plain game."""
    with jax.enable_x64(True):
        flat = lambda states: jax.flatten_util.ravel_pytree(states[1].g.params)[0]
        ends = {way: flat(moved(way)) for way in ablation.WAYS}
        assert all(np.abs(ends[a] - ends[b]).max() > 1e-6 for a, b in itertools.combinations(ends, 2))
        for way, nothing in {"extra_steps": {"unroll": 0}, "averaged": {"age": 0}, "delayed": {"age": 0}}.items():
            np.testing.assert_allclose(flat(moved(way, **nothing)), ends["plain"], rtol=1e-9)


@pytest.mark.parametrize("preset", [pytest.param("default", marks=pytest.mark.slow), "images"])
def test_unrolled_is_unrolled(preset):
    """The way "unrolled" is the step of `unrolled.py`, batch statistics and metrics included."""
    with jax.enable_x64(True):
        given = {"batch_size": B, "z_dim": 3, "unroll": K, "dataset": "digits" if preset == "images" else "ring8"}
        shape, ends = (8, 8, 1) if preset == "images" else (2,), []
        xs = np.random.default_rng(0).uniform(-1, 1, size=(2, B, *shape))
        for module in (ablation, unrolled):
            cfg = dataclasses.replace(module.PRESETS[preset], width=4, **given)
            _, end, metrics = oracle.played(module, cfg, [{"x": x} for x in xs])
            ends.append((end.g, end.d, end.g_ema, metrics))
        chex.assert_trees_all_close(*ends, rtol=1e-12, atol=1e-14)


def test_plain_is_the_original_gan(monkeypatch):
    """With the loss of `vanilla.py`, its D and its Adam those of here, and one rate, "plain" moves as it does."""
    with jax.enable_x64(True):
        cfg = dataclasses.replace(CFG, way="plain", loss="non_saturating", d_lr=CFG.g_lr, d_scale=1.0)
        of = vanilla.Config("ring8", batch_size=B, width=8, z_dim=3, lr=CFG.g_lr)
        monkeypatch.setattr(vanilla, "build", lambda _: ablation.build(cfg)[:3])
        batches = [{"x": x} for x in data_of("plain")]
        ends = [oracle.played(m, c, batches)[1] for m, c in ((ablation, cfg), (vanilla, of))]
        chex.assert_trees_all_close(*((s.g.params, s.d.params) for s in ends), rtol=1e-9, atol=1e-12)
