"""CatGAN's step against the paper's objectives in plain loops, and its clusters against labels."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.labels import catgan
from gan_jax.game import rng

CFG = dataclasses.replace(
    catgan.PRESETS["default"], dataset="digits", batch_size=3, clusters=4, width=2, z_dim=3, g_lr=1e-2, d_lr=2e-2
)


def dense(p, x):
    """x [b, i] by columns of length scale."""
    length = jnp.sqrt(jnp.sum(p["v"] ** 2, 0))
    return p["scale"][None] * (x @ p["v"]) / length[None] + p["bias"][None]


def generate(p, z):
    """Batch norm and softplus twice, then pixels by a sigmoid, in [-1, 1]."""
    for i in range(2):
        h = z @ p[f"Dense_{i}"]["kernel"]
        h = (h - h.mean(0)[None]) / jnp.sqrt(h.var(0) + 1e-5)[None] + p[f"BatchNorm_{i}"]["bias"][None]
        z = jnp.log(1 + jnp.exp(h))
    return 2 / (1 + jnp.exp(-dense(p["NormedDense_0"], z))) - 1


def classify(p, x, noise):
    """p(y|x) [b, K] as the exponentials over their sum."""
    x = (x.reshape(len(x), -1) + 1) / 2
    for i in range(6):
        std = CFG.noise if i else CFG.x_noise
        x, noise = x + std * noise[:, : x.shape[1]], noise[:, x.shape[1] :]
        x = dense(p[f"NormedDense_{i}"], x)
        x = jnp.where(x > 0, x, 0) if i < 5 else x
    return jnp.exp(x) / jnp.exp(x).sum(1, keepdims=True)


def entropy(p):
    """-sum p log p of one distribution [K]."""
    return -sum(q * jnp.log(q) for q in p)


def adam(player, grads, lr):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    move = lambda p, m, v: p - lr * m / (1 - CFG.b1 ** (t + 1)) / (jnp.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


def paper(state, xs, noise, marginal=1.0):
    """Equations (7) and (8): D ascends its objective, then G descends its own."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    g, d = ((p.params, zeros(p), zeros(p), 0) for p in (state.g, state.d))
    for t, x in enumerate(xs):
        z_d, z_g = noise[t, "z"]

        def d_loss(p):
            real = classify(p, x, noise[t, "real"])
            fake = classify(p, generate(g[0], z_d), noise[t, "fake"])
            mean = sum(real) / 3
            return -(entropy(mean) - sum(map(entropy, real)) / 3 + sum(map(entropy, fake)) / 3)

        d = adam(d, jax.grad(d_loss)(d[0]), CFG.d_lr)

        def g_loss(p, d=d):
            fake = classify(d[0], generate(p, z_g), noise[t, "fake again"])
            return -marginal * entropy(sum(fake) / 3) + sum(map(entropy, fake)) / 3

        g = adam(g, jax.grad(g_loss)(g[0]), CFG.g_lr)
    return g[0], d[0]


def test_step_is_the_paper_s():
    """Two steps equal the paper's in float64; with G's marginal entropy at another weight they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(catgan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now, noise = np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, 8, 1)), state, {}
        step = jax.jit(functools.partial(catgan.step, CFG))
        for t, x in enumerate(xs):
            now, _ = step(now, {"x": x})
            noise[t, "z"] = jax.random.uniform(rng.at(state.key, t, "z"), (2, 3, CFG.z_dim))
            for name in ("real", "fake", "fake again"):
                noise[t, name] = jax.random.normal(rng.at(state.key, t, name), (3, 64 + 9 * CFG.width))
        close = functools.partial(chex.assert_trees_all_close, (now.g.params, now.d.params), rtol=1e-9, atol=1e-12)
        transcribed = jax.jit(paper)
        close(transcribed(state, xs, noise))
        with pytest.raises(AssertionError):
            close(transcribed(state, xs, noise, 0.99))


def test_entropies():
    """Sure rows of all categories: 0 and log K; equal rows: the same twice; categories out of use do no harm."""
    entropies = jax.jit(catgan.entropies)
    np.testing.assert_allclose(entropies(np.float32(300 * np.eye(4))), (0, np.log(4)), rtol=1e-6)
    rows = np.log(np.float32([[0.5, 0.25, 0.25, 1e-30]] * 4))
    np.testing.assert_allclose(entropies(rows), [1.5 * np.log(2)] * 2, rtol=1e-6)
    grads = jax.jit(jax.grad(lambda x: sum(catgan.entropies(x))))(np.float32([[200, -200]]))
    assert np.isfinite(grads).all()


def test_the_error_is_that_of_each_cluster_s_most_frequent_class(monkeypatch):
    """A D that sees the brightness alone: its clusters are named by the train split, judged on the test split."""
    state = jax.jit(functools.partial(catgan.init, CFG))(jax.random.key(0))
    monkeypatch.setattr(
        catgan, "forward", lambda D, p, s, x, key, train: ((jax.nn.one_hot((x[:, 0, 0, 0] > 0) * 3, 4), x), s)
    )
    dark, bright = np.zeros((20, 8, 8, 1), np.uint8), np.full((20, 8, 8, 1), 255, np.uint8)
    train = {"x": np.concatenate([dark, bright]), "y": np.array([7] * 15 + [1] * 5 + [2] * 11 + [7] * 9)}
    test = {"x": np.concatenate([dark, bright]), "y": np.array([7] * 19 + [2] + [2] * 15 + [7] * 5)}
    found = catgan.measure(CFG, state, None, train, test)
    np.testing.assert_allclose(found["test/error"], 6 / 40, rtol=1e-6)
    assert found["clusters used"] == 2 and found["clusters"].shape == (4, 10, 8, 8, 1)
    assert (found["clusters"][3] == 1).all() and (found["clusters"][0] == -1).all()
