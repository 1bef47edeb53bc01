"""BiGAN's step against its algorithm in plain loops, ALI's encoder, and 1-NN in codes that are known."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.codes import bigan
from gan_jax.game import rng

CFG = dataclasses.replace(
    bigan.PRESETS["ring"], batch_size=2, width=8, z_dim=2, lr=1e-2, decay_from=1, weight_decay=0.1
)


def layers(params):
    return [params[f"Dense_{i}"] for i in range(len(params))]


def dense(layer, x):
    return x @ layer["kernel"] + layer["bias"]


def G(params, z):
    a, b, c = layers(params)
    return dense(c, jnp.maximum(dense(b, jnp.maximum(dense(a, z), 0)), 0))


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


def E(params, x, noise):
    a, b, c, *spread = layers(params)
    h = leaky(dense(b, leaky(dense(a, x))))
    if spread:
        return dense(c, h) + jnp.sqrt(jnp.exp(dense(spread[0], h))) * noise
    return 2 / (1 + jnp.exp(-dense(c, h))) - 1


def D(params, x, z):
    a, b, c = layers(params)
    logit = dense(c, leaky(dense(b, jnp.concatenate([leaky(dense(a, x)), z]))))[0]
    return 1 / (1 + jnp.exp(-logit))


def adam(player, grads, b1=CFG.b1, b2=0.999):
    """(params, m, v, t) after one step of Adam downhill, with weight decay and a rate that falls from step 1 on."""
    params, m, v, t = player
    grads = jax.tree.map(lambda g, p: g + CFG.weight_decay * p if p.ndim == 2 else g, grads, params)
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
    lr = CFG.lr * 0.01 ** (max(0, t - CFG.decay_from) / CFG.decay_from)
    move = lambda p, m, v: p - lr * m / (1 - b1 ** (t + 1)) / (jnp.sqrt(v / (1 - b2 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


def paper(state, xs, cfg, swapped):
    """D ascends log D(x, E(x)) + log(1 - D(G(z), z)); G and E ascend the same with D's answers swapped."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    g, e, d = ((p.params, zeros(p), zeros(p), 0) for p in (state.g, state.e, state.d))
    for t, x in enumerate(xs):
        zs = bigan.prior(cfg, rng.at(state.key, t, "z"), 2)
        noise = jax.random.normal(rng.at(state.key, t, "noise"), zs.shape)

        def value(theta, phi, w, swap, x=x, zs=zs, noise=noise):
            total = 0.0
            for row in range(2):
                real, fake = D(w, x[row], E(phi, x[row], noise[row])), D(w, G(theta, zs[row]), zs[row])
                real, fake = jnp.where(swap, 1 - real, real), jnp.where(swap, 1 - fake, fake)
                total += jnp.log(real) + jnp.log(1 - fake)
            return -total / 2

        now = g[0], e[0], d[0]
        moves = [jax.grad(value, i)(*now, swap) for i, swap in enumerate((True, swapped, False))]
        g, e, d = (adam(player, grads) for player, grads in zip((g, e, d), moves, strict=True))
    return g[0], e[0], d[0]


@pytest.mark.parametrize("stochastic", [False, True])
def test_step_is_the_paper_s(stochastic):
    """Three steps, one at a fallen rate, equal the loops in float64; with an E that helps D they would not."""
    cfg = dataclasses.replace(CFG, stochastic=stochastic)
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(bigan.init, cfg))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now, step = (
            np.random.default_rng(0).normal(size=(3, 2, 2)),
            state,
            jax.jit(functools.partial(bigan.step, cfg)),
        )
        for x in xs:
            now, _ = step(now, {"x": x})
        players = now.g.params, now.e.params, now.d.params
        close = functools.partial(chex.assert_trees_all_close, players, rtol=1e-9, atol=1e-12)
        loops = jax.jit(functools.partial(paper, cfg=cfg))
        close(loops(state, xs, swapped=True))
        with pytest.raises(AssertionError):
            close(loops(state, xs, swapped=False))


def test_the_encoder():
    """BiGAN's codes lie in the uniform prior's cube and don't look at the noise; ALI's have its mean where it is 0."""
    x, noise = jax.random.normal(jax.random.key(0), (5, 4, 4, 1)), jax.random.normal(jax.random.key(1), (5, 3))
    for stochastic in (False, True):
        E = bigan.bigan.E(3, width=8, stochastic=stochastic)
        variables = jax.jit(E.init)(jax.random.key(2), 9 * x, noise)
        a, b, c = (E.apply(variables, 9 * x, k * noise, train=False)[0] for k in (0, 1, -1))
        np.testing.assert_allclose(a, (b + c) / 2, atol=1e-5)
        assert stochastic or ((a == b).all() and np.abs(a).max() < 1)
        assert not stochastic or np.abs(b - a).min() > 0


def test_accuracy_is_that_of_the_nearest_code(monkeypatch):
    """By the code's first number alone the nearest labels are known."""
    cfg = dataclasses.replace(bigan.PRESETS["images"], width=8, z_dim=2)
    state = jax.jit(functools.partial(bigan.init, cfg))(jax.random.key(0))
    monkeypatch.setattr(
        bigan, "encode", lambda cfg, state, raw: (jnp.zeros((len(raw), 2)), jnp.stack([raw[:, 0, 0, 0] / 255.0] * 2, 1))
    )
    at = lambda values: np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    train = {"x": at([0, 50, 100, 200]), "y": np.array([0, 1, 2, 3], np.int32)}
    test = {"x": at([20, 30, 74, 76, 180] * 4), "y": np.array([0, 1, 1, 1, 3] * 4, np.int32)}
    found = jax.jit(functools.partial(bigan.measure, cfg))(state, jax.random.key(0), train, test)
    np.testing.assert_allclose(found["accuracy"], 4 / 5)
    assert found["reconstruction"].x.shape == (2, 16, 8, 8, 1)
    np.testing.assert_allclose(found["reconstruction"].x[0, 0], 20 / 127.5 - 1, rtol=1e-5)
