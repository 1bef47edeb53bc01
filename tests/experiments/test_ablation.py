"""Each way of the ablation against its own plain loop; "unrolled" is `unrolled.py`, "plain" is `vanilla.py`."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import ablation, unrolled, vanilla
from gan_jax import rng

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


def played(way, state, xs):
    """(G's, D's, the averaged G's parameters) after a step on each of xs [t, n, c], as the docs of `way` say."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    g, d = ((p.params, zeros(p), zeros(p), 0) for p in (state.g, state.d))
    average, history = state.g.params, []
    for t, rows in enumerate(xs):
        n = 1 + K * (way in FRESH)
        minibatch = [rows[i::n] for i in range(n)]
        z = jax.random.normal(rng.at(state.key, t, "z"), (n, B, CFG.z_dim))

        def d_grads(g_params, d_params, i, z=z, minibatch=minibatch):
            return jax.grad(lambda d_params: -value(g_params, d_params, z[i], minibatch[i]))(d_params)

        def looked_ahead(g_params, d, d_grads=d_grads):
            if way == "fresh_adam":
                d = (d[0], *(jax.tree.map(jnp.zeros_like, d[0]),) * 2, 0)
            for k in range(K):
                grads = d_grads(g_params, d[0], 1 + k if way in FRESH else 0)
                if way == "sgd":
                    d = (jax.tree.map(lambda p, g: p - CFG.sgd_lr * g, d[0], grads), *d[1:])
                else:
                    d = adam(d, grads, CFG.d_lr)
            return d

        before = d
        if way == "alternating":
            d = adam(d, d_grads(g[0], d[0], 0), CFG.d_lr)
        if way == "extra_steps":
            d = looked_ahead(g[0], d)
        history.append(d[0])

        def surrogate(g_params, d=d, minibatch=minibatch, z=z, looked_ahead=looked_ahead, g=g, t=t):
            if way in ("unrolled", "sgd", "fresh_adam", "resampled", "alternating"):
                seen = looked_ahead(g_params, d)[0]
            elif way == "first_order":
                seen = looked_ahead(g[0], d)[0]
            elif way == "averaged":  # weights 1, a, a^2, ... of D now, a step ago, ..., the first one taking the rest
                a, last = CFG.age / (CFG.age + 1), len(history) - 1
                weights = [(1 - a) * a ** (last - i) if i else a**last for i in range(last + 1)]
                seen = jax.tree.map(lambda *ps: sum(w * p for w, p in zip(weights, ps, strict=True)), *history)
            else:
                seen = history[t - t % (CFG.age + 1)] if way == "delayed" else d[0]
            return value(g_params, seen, z[0], minibatch[0])

        g_grads = jax.grad(surrogate)(g[0])
        if way != "alternating":
            d = adam(d, d_grads(g[0], d[0], 0), CFG.d_lr)
        assert before is not d
        g = adam(g, g_grads, CFG.g_lr)
        average = jax.tree.map(lambda a, p: CFG.ema * a + (1 - CFG.ema) * p, average, g[0])
    return g[0], d[0], average


def stepped(module, cfg, xs):
    """(first state, last state, metrics) of a step of the experiment on each of xs [t, n, ...]."""
    start = state = double(jax.jit(functools.partial(module.init, cfg))(jax.random.key(0)))
    step = jax.jit(functools.partial(module.step, cfg))
    for x in xs:
        state, metrics = step(state, {"x": x})
    return start, state, metrics


def data_of(way, steps=4):
    return np.random.default_rng(0).normal(size=(steps, B * (1 + K * (way in FRESH)), 2))


@pytest.mark.parametrize("way", ablation.WAYS)
def test_each_way_is_what_it_says(way):
    """Four steps equal the loops in float64."""
    with jax.enable_x64(True):
        start, end, _ = stepped(ablation, dataclasses.replace(CFG, way=way), data_of(way))
        expected = jax.jit(functools.partial(played, way))(start, data_of(way))
        chex.assert_trees_all_close((end.g.params, end.d.params, end.g_ema[0]), expected, rtol=1e-9, atol=1e-12)


def test_ways_differ():
    """No two ways move G alike; with nothing to look ahead, or no past to look at, G moves as in the plain game."""
    with jax.enable_x64(True):

        def moved(way, **changes):
            xs = data_of(way) if changes.get("unroll") != 0 else data_of("plain")
            return jax.flatten_util.ravel_pytree(
                stepped(ablation, dataclasses.replace(CFG, way=way, **changes), xs)[1].g.params
            )[0]

        ends = [moved(way) for way in ablation.WAYS]
        assert min(np.abs(a - b).max() for i, a in enumerate(ends) for b in ends[:i]) > 1e-6
        for way in sorted(set(ablation.WAYS) - {"alternating"}):
            at_once = moved(way, age=0) if way in ("averaged", "delayed") else moved(way, unroll=0)
            np.testing.assert_allclose(at_once, ends[-1], rtol=1e-9)


def same(now, then):
    """Check that two experiments' states hold the same players, to float64's rounding."""
    chex.assert_trees_all_close((now.g, now.d), (then.g, then.d), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("preset, nets", [("default", "auto"), ("images", "auto"), ("stacked_quarter", "stacked")])
def test_unrolled_is_unrolled(preset, nets):
    """The way "unrolled" is the step of `unrolled.py`, with all three families of nets, batch statistics included."""
    with jax.enable_x64(True):
        given = {"batch_size": B, "z_dim": 3, "unroll": K, "dataset": "ring8" if preset == "default" else "digits"}
        given |= {"width": 4, "nets": nets}
        cfgs = [dataclasses.replace(m.PRESETS[preset], **given) for m in (ablation, unrolled)]
        shape = (2,) if preset == "default" else (8, 8, 1)
        xs = np.random.default_rng(0).uniform(-1, 1, size=(2, B, *shape))
        runs = [stepped(m, cfg, xs) for m, cfg in zip((ablation, unrolled), cfgs, strict=True)]
        same(runs[0][1], runs[1][1])
        chex.assert_trees_all_close(runs[0][1].g_ema, runs[1][1].g_ema, rtol=1e-12, atol=1e-14)
        chex.assert_trees_all_close(runs[0][2], runs[1][2], rtol=1e-12)
        same(*(stepped(m, dataclasses.replace(c, unroll=0, **w), xs)[1] for m, c, w in zip((ablation, unrolled), cfgs, ({"way": "plain"}, {}), strict=True)))  # fmt: skip


def test_plain_is_the_original_gan():
    """With the loss and the depth of `vanilla.py`, and one rate, "plain" moves as it does."""
    with jax.enable_x64(True):
        cfg = dataclasses.replace(CFG, way="plain", loss="non_saturating", g_lr=1e-2, d_lr=1e-2, d_scale=1.0)
        of = vanilla.Config("ring8", batch_size=B, width=8, z_dim=3, lr=1e-2)
        state, xs = stepped(ablation, cfg, [])[0], data_of("plain")
        shallow = lambda cfg, build=vanilla.build: (build(cfg)[0], ablation.build(CFG)[1], build(cfg)[2])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(vanilla, "build", shallow)  # there D has two hidden layers
            _, then, _ = stepped(vanilla, of, xs)
        del state
        _, now, _ = stepped(ablation, cfg, xs)
        chex.assert_trees_all_close((now.g.params, now.d.params), (then.g.params, then.d.params), rtol=1e-9, atol=1e-12)
