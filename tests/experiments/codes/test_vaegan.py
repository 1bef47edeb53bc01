"""VAE/GAN's step against Algorithm 1 of the paper in plain loops, and its errors of reconstruction."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.codes import vaegan
from gan_jax.game import rng

CFG = dataclasses.replace(
    vaegan.PRESETS["default"], dataset="ring8", batch_size=3, width=8, z_dim=2, gamma=0.3, lr=1e-2
)


def net(params, x, layers):
    """A ReLU perceptron [c] -> (out, last hidden layer)."""
    for p in layers[:-1]:
        x = jnp.where((x := x @ p["kernel"] + p["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"], x


def encoder(p, x):
    out, _ = net(p, x, [p["Trunk_0"]["Dense_0"], p["Trunk_0"]["Dense_1"], p["Dense_0"]])
    return out[: CFG.z_dim], jnp.exp(out[CFG.z_dim :] / 2)


def generator(p, z):
    return net(p, z, [p["MLP_0"][f"Dense_{i}"] for i in range(3)])[0]


def discriminator(p, x):
    out, features = net(p, x, [p["Trunk_0"]["Dense_0"], p["Trunk_0"]["Dense_1"], p["Dense_0"]])
    return 1 / (1 + jnp.exp(-out[0])), features


def rmsprop(player, grads):
    """(params, nu) after one step of RMSProp downhill."""
    params, nu = player
    nu = jax.tree.map(lambda n, g: 0.9 * n + 0.1 * g * g, nu, grads)
    return jax.tree.map(lambda p, g, n: p - CFG.lr * g / jnp.sqrt(n + 1e-8), params, grads, nu), nu


def paper(state, xs, made_counts=1.0):
    """Algorithm 1: L_prior, L_llike, L_GAN, then the three updates; G's -L_GAN as the non-saturating terms."""
    e, g, d = ((p.params, jax.tree.map(jnp.zeros_like, p.params)) for p in (state.e, state.g, state.d))
    for t, batch in enumerate(xs):
        noise, prior = jax.random.normal(rng.at(state.key, t, "z"), (2, 3, CFG.z_dim))

        def terms(e, g, d):
            l_prior = l_like = l_gan = g_gan = 0.0
            for x, epsilon, z_p in zip(batch, noise, prior, strict=True):
                mean, std = encoder(e, x)
                l_prior += 0.5 * jnp.sum(std**2 + mean**2 - 1 - 2 * jnp.log(std))
                again, made = generator(g, mean + std * epsilon), generator(g, z_p)
                (real, f), (again_p, again_f), (made_p, _) = (discriminator(d, a) for a in (x, again, made))
                l_like += 0.5 * jnp.sum((f - again_f) ** 2)
                l_gan += jnp.log(real) + jnp.log(1 - again_p) + made_counts * jnp.log(1 - made_p)
                g_gan += -jnp.log(again_p) - jnp.log(made_p)
            return l_prior / 3, l_like / 3, l_gan / 3, g_gan / 3

        now = e[0], g[0], d[0]
        e_grads = jax.grad(lambda e: sum(terms(e, *now[1:])[:2]))(now[0])
        g_grads = jax.grad(lambda g: CFG.gamma * terms(now[0], g, now[2])[1] + terms(now[0], g, now[2])[3])(now[1])
        d_grads = jax.grad(lambda d: -terms(*now[:2], d)[2])(now[2])
        e, g, d = rmsprop(e, e_grads), rmsprop(g, g_grads), rmsprop(d, d_grads)
    return e[0], g[0], d[0]


def test_step_is_the_paper_s():
    """Two steps equal Algorithm 1 in float64; without the draws from the prior in L_GAN they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(vaegan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(2, 3, 2)), state
        step = jax.jit(functools.partial(vaegan.step, CFG))
        for x in xs:
            now, _ = step(now, {"x": x})
        found = now.e.params, now.g.params, now.d.params
        close = functools.partial(chex.assert_trees_all_close, found, rtol=1e-9, atol=1e-12)
        transcribed = jax.jit(paper)
        close(transcribed(state, xs))
        with pytest.raises(AssertionError):
            close(transcribed(state, xs, 0.0))


def test_without_a_gan_and_by_pixels_it_is_the_vae():
    """The preset `vae`: E and G descend KL + |x - x'|^2 / 2, whatever D is."""
    cfg = dataclasses.replace(CFG, compare="pixels", gamma=1.0, gan=0.0)
    state = jax.jit(functools.partial(vaegan.init, cfg))(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (3, 2))
    step = jax.jit(functools.partial(vaegan.step, cfg))
    one, metrics = step(state, {"x": x})
    other, _ = step(state._replace(d=jax.tree.map(lambda p: 2 * p, state.d)), {"x": x})
    chex.assert_trees_all_equal((one.e, one.g), (other.e, other.g))
    noise, _ = jax.random.normal(rng.at(state.key, 0, "z"), (2, 3, cfg.z_dim))
    rows = zip(x, noise, strict=True)
    again = [generator(state.g.params, (c := encoder(state.e.params, a))[0] + c[1] * n) for a, n in rows]
    np.testing.assert_allclose(metrics["distance"], 0.5 * ((jnp.stack(again) - x) ** 2).sum(1).mean(), rtol=1e-4)


def test_errors_of_reconstruction(monkeypatch):
    """A perfect reconstruction has no error; the mean as a reconstruction has one spread of error in features."""
    cfg = dataclasses.replace(CFG, dataset="digits", z_dim=4)
    state = jax.jit(functools.partial(vaegan.init, cfg))(jax.random.key(0))

    class Judge:
        features = staticmethod(lambda x: x.reshape(len(x), -1))
        __call__ = staticmethod(lambda x: x.reshape(len(x), -1)[:, :10])

    monkeypatch.setattr(vaegan.classifier, "load", lambda name: Judge())
    random = np.random.default_rng(0)
    test = {"x": random.integers(0, 256, (30, 8, 8, 1), np.uint8), "y": np.zeros(30, np.int32)}
    measure = lambda: jax.jit(lambda state, test: vaegan.measure(cfg, state, jax.random.key(0), None, test))(
        state, test
    )
    found = measure()
    assert found["reconstructions"].x.shape == (2, 16, 8, 8, 1) and found["test/pixels"] > 0
    mean = test["x"].astype(np.float32).mean(0, keepdims=True) / 127.5 - 1
    monkeypatch.setattr(vaegan.jax.lax, "map", lambda f, rows, batch_size: jnp.repeat(mean, 30, 0))
    np.testing.assert_allclose(measure()["test/features"], 1, rtol=1e-4)
    monkeypatch.setattr(vaegan.jax.lax, "map", lambda f, rows, batch_size: rows[0])
    perfect = measure()
    assert perfect["test/pixels"] == perfect["test/features"] == 0 and perfect["test/class kept"] == 1
