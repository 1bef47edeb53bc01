"""The VAE's step against Algorithm 1 of the paper in plain loops, and the parts of the bound against their definitions."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.codes import vae
from gan_jax.game import rng

CFG = dataclasses.replace(vae.PRESETS["default"], dataset="digits", batch_size=2, width=8, z_dim=3, lr=1e-2)


def net(params, x):
    return oracle.mlp(params, x, 1, act=jnp.tanh)


@jax.jit
def paper(e, g, noise, batch, half):
    """Algorithm 1 with L = 1: equation (10) for each row, with the Bernoulli of appendix C.1."""

    def loss(params):
        total = 0.0
        for x, epsilon in zip(batch, noise, strict=True):
            ink = (x.ravel() + 1) / 2
            out = net(params[0], ink)
            mean, std = out[: CFG.z_dim], jnp.exp(half * out[CFG.z_dim :])
            minus_kl = 0.5 * sum(1 + jnp.log(s**2) - u**2 - s**2 for u, s in zip(mean, std, strict=True))
            p = oracle.sigmoid(net(params[1], mean + std * epsilon))
            total += minus_kl + jnp.sum(ink * jnp.log(p) + (1 - ink) * jnp.log(1 - p))
        return -total / 2

    return [
        oracle.adam(p, grads, CFG.lr) for p, grads in zip((e, g), jax.grad(loss)((e.params, g.params)), strict=True)
    ]


def test_step_is_the_paper_s():
    """Two steps equal Algorithm 1 in float64; with the variance taken for the deviation they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (2, 2, 8, 8, 1))
        start, end, _ = oracle.played(vae, CFG, [{"x": x} for x in xs])

        def theirs(half):
            players = oracle.started(start.e, start.g)
            for t, x in enumerate(xs):
                players = paper(*players, rng.normal(rng.at(start.key, t, "z"), (2, CFG.z_dim)), x, half)
            return players

        oracle.same([end.e, end.g], theirs(0.5))
        oracle.differ([end.e, end.g], theirs(1.0))


@pytest.mark.parametrize("dataset", ["digits", "ring8"])
def test_the_bound_is_below_the_likelihood_and_its_kl_is_the_integral(dataset):
    """Over many draws of z, E log q(z|x) / p(z) is the KL, and log p(x) by importance lies above the bound."""
    cfg = dataclasses.replace(CFG, dataset=dataset, x_std=0.5)
    state = jax.jit(functools.partial(vae.init, cfg))(jax.random.key(1))
    E, G, _ = vae.build(cfg)
    e_params = jax.tree.map(lambda p: 20 * p, state.e.params)  # away from the prior
    x = jnp.tile(jax.random.uniform(jax.random.key(2), (1, *G.shape), minval=-1), (50_000, *[1] * len(G.shape)))
    minus_elbo, kl, _ = jax.jit(functools.partial(vae.bound, cfg))(e_params, state.g.params, x, jax.random.key(3))
    zero = jnp.zeros(cfg.z_dim)  # the prior's mean

    def log_density(z, m, s):
        return jax.scipy.stats.norm.logpdf((z - m[None]) / s[None]).sum(1) - jnp.log(s).sum()

    @jax.jit
    def by_importance(e_params, g_params, x):
        mean, log_var = (a[0] for a in E.apply({"params": e_params}, x[:1]))
        z = mean[None] + jnp.exp(log_var / 2)[None] * jax.random.normal(jax.random.key(4), (50_000, cfg.z_dim))
        log_ratio = log_density(z, zero, zero + 1) - log_density(z, mean, jnp.exp(log_var / 2))  # log p(z) / q(z|x)
        weights = log_ratio + vae.log_likelihood(cfg, G.apply({"params": g_params}, z), x)
        return log_ratio.mean(), jax.nn.logsumexp(weights) - np.log(50_000)

    log_ratio, log_p = by_importance(e_params, state.g.params, x)
    np.testing.assert_allclose(-log_ratio, kl[0], atol=0.02)
    assert -minus_elbo.mean() < log_p < -minus_elbo.mean() + 5


def test_the_likelihood_is_that_of_bernoulli_pixels():
    """Black and white pixels have the probability that `expected` says; the likelihood is linear in between."""
    out = jax.random.normal(jax.random.key(0), (4, 3, 3, 1))
    x = jnp.sign(jax.random.normal(jax.random.key(1), (4, 3, 3, 1)))
    p = (vae.expected(out) + 1) / 2  # of white
    np.testing.assert_allclose(
        vae.log_likelihood(CFG, out, x), jnp.log(jnp.where(x > 0, p, 1 - p)).sum((1, 2, 3)), rtol=1e-5
    )
    mixed = 0.25 * vae.log_likelihood(CFG, out, x) + 0.75 * vae.log_likelihood(CFG, out, -x)
    np.testing.assert_allclose(vae.log_likelihood(CFG, out, 0.25 * x - 0.75 * x), mixed, rtol=1e-5)


def test_measure_is_the_mean_bound_of_the_test_split():
    """The bound over the split is that of `bound`; pictures pair an image with what came back."""
    state = vae.init(CFG, jax.random.key(0))
    test = {"x": np.random.default_rng(0).integers(0, 256, (600, 8, 8, 1), np.uint8)}
    found = jax.jit(functools.partial(vae.measure, CFG))(state, jax.random.key(1), {}, test)
    x = test["x"] / np.float32(127.5) - 1
    minus_elbo, kl, out = vae.bound(CFG, state.e.params, state.g.params, x, jax.random.key(2))
    np.testing.assert_allclose(found["test/elbo"], -minus_elbo.mean(), rtol=2e-2)
    np.testing.assert_allclose(found["test/kl"], kl.mean(), rtol=1e-4)
    np.testing.assert_allclose(found["test/pixels"], ((vae.expected(out) - x) ** 2).mean(), rtol=2e-2)
    assert found["reconstructions"].x.shape == (2, 16, 8, 8, 1)
    np.testing.assert_allclose(found["reconstructions"].x[0], x[:16], atol=1e-6)
