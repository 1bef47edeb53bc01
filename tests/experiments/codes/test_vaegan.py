"""VAE/GAN's step against Algorithm 1 of the paper in plain loops, and its errors of reconstruction."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments.codes import vaegan
from gan_jax.game import rng

CFG = dataclasses.replace(
    vaegan.PRESETS["default"], dataset="ring8", batch_size=3, width=8, z_dim=2, gamma=0.3, lr=1e-2
)


def trunk(p, x):
    """The last hidden layer."""
    return jnp.maximum(oracle.perceptron([p["Trunk_0"]["Dense_0"], p["Trunk_0"]["Dense_1"]], x), 0)


def encoder(p, x):
    out = oracle.dense(p["Dense_0"], trunk(p, x))
    return out[..., : CFG.z_dim], jnp.exp(out[..., CFG.z_dim :] / 2)


def discriminator(p, x):
    return oracle.sigmoid(oracle.dense(p["Dense_0"], trunk(p, x))[:, 0]), trunk(p, x)


E, G, D = (oracle.with_norm(net) for net in (encoder, oracle.mlp, discriminator))


@jax.jit
def paper(e, g, d, noise, prior, batch, made_counts):
    """Algorithm 1: L_prior, L_llike, L_GAN, then the three updates; G's -L_GAN as the non-saturating terms."""

    def terms(phi, theta, w):
        (mean, std), e_stats = E(phi, e.stats, batch)
        again, g_stats = G(theta, g.stats, mean + std * noise)
        made, g_stats = G(theta, g_stats, prior)
        ((real, f), d_stats), ((again_p, again_f), _), ((made_p, _), _) = (
            D(w, d.stats, x) for x in (batch, again, made)
        )
        l_prior = l_like = l_gan = g_gan = 0.0
        for i in range(3):
            l_prior += 0.5 * jnp.sum(std[i] ** 2 + mean[i] ** 2 - 1 - 2 * jnp.log(std[i]))
            l_like += 0.5 * jnp.sum((f[i] - again_f[i]) ** 2)
            l_gan += jnp.log(real[i]) + jnp.log(1 - again_p[i]) + made_counts * jnp.log(1 - made_p[i])
            g_gan += -jnp.log(again_p[i]) - jnp.log(made_p[i])
        of_e, of_g = (l_prior + l_like) / 3, (CFG.gamma * l_like + g_gan) / 3
        return (of_e, e_stats), (of_g, g_stats), (-l_gan / 3, d_stats)

    now, rmsprop = (e.params, g.params, d.params), functools.partial(oracle.rmsprop, eps=0.0, eps_root=1e-8)
    of = lambda i: lambda p: terms(*now[:i], p, *now[i + 1 :])[i]
    return [oracle.moved(rmsprop, player, of(i), CFG.lr) for i, player in enumerate((e, g, d))]


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal Algorithm 1 in float64; without the draws from the prior in L_GAN they would not."""
    oracle.normed(vaegan, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 3, 2))
        start, end, _ = oracle.played(vaegan, CFG, [{"x": x} for x in xs])

        def theirs(made_counts):
            players = oracle.started(start.e, start.g, start.d)
            for t, x in enumerate(xs):
                noise, prior = rng.normal(rng.at(start.key, t, "z"), (2, 3, CFG.z_dim))
                players = paper(*players, noise, prior, x, made_counts)
            return players

        oracle.same([end.e, end.g, end.d], theirs(1.0))
        oracle.differ([end.e, end.g, end.d], theirs(0.0))


def test_without_a_gan_and_by_pixels_it_is_the_vae():
    """The preset `vae`: E and G descend KL + |x - x'|^2 / 2, whatever D is."""
    cfg = dataclasses.replace(CFG, compare="pixels", gamma=1.0, gan=0.0)
    state = jax.jit(functools.partial(vaegan.init, cfg))(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (3, 2))
    step = jax.jit(functools.partial(vaegan.step, cfg))
    one, metrics = step(state, {"x": x})
    other, _ = step(state._replace(d=jax.tree.map(lambda p: 2 * p, state.d)), {"x": x})
    chex.assert_trees_all_equal((one.e, one.g), (other.e, other.g))
    noise, _ = rng.normal(rng.at(state.key, 0, "z"), (2, 3, cfg.z_dim))
    rows = zip(x, noise, strict=True)
    again = [oracle.mlp(state.g.params, (c := encoder(state.e.params, a))[0] + c[1] * n) for a, n in rows]
    np.testing.assert_allclose(metrics["distance/x"], 0.5 * ((jnp.stack(again) - x) ** 2).sum(1).mean(), rtol=1e-4)


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
