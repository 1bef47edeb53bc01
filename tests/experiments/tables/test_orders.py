"""eCommerceGAN's step against plain loops, with and without a product that is asked for; its nets' sizes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.tables import orders
from gan_jax.data.shopping import sections
from gan_jax.game import rng

B, N = 3, 2
CFG = dataclasses.replace(
    orders.PRESETS["tiny"], batch_size=B, critic_steps=N, alpha=0.6, penalty=0.7, width=8, lr=0.01
)
PRODUCT = slice(3, 6)  # after the customer's three numbers


def net(params, x):
    return oracle.perceptron([params[f"Dense_{i}"] for i in range(3)], x)


def drawn(g, z, asked):
    return jnp.tanh(net(g, jnp.concatenate([z, asked])))


@jax.jit
def judged(g, d, reals, zs, ts, asks):
    """The critic after an update, a row at a time."""
    fakes = [drawn(g.params, z, real[PRODUCT] * asks) for z, real in zip(zs, reals, strict=True)]

    def loss(w):
        value = 0.0
        for real, fake, t in zip(reals, fakes, ts, strict=True):
            slope = jax.grad(lambda x: net(w, x)[0])(t * real + (1 - t) * fake)
            value += net(w, fake)[0] - net(w, real)[0] + CFG.penalty * (jnp.sqrt((slope**2).sum()) - 1) ** 2
        return value / B, {}

    return oracle.moved(oracle.adam, d, loss, CFG.lr, CFG.b1)


@jax.jit
def made(g, d, reals, zs, asks, alpha):
    """G after an update, against the critic as it is then."""

    def loss(params):
        value = 0.0
        for z, real in zip(zs, reals, strict=True):
            fake = drawn(params, z, real[PRODUCT] * asks)
            value += -net(d.params, fake)[0] + alpha * ((fake[PRODUCT] - real[PRODUCT]) ** 2).sum()
        return value / B, {}

    return oracle.moved(oracle.adam, g, loss, CFG.lr, CFG.b1)


def paper(start, xs, alpha=CFG.alpha, asks=1.0):
    """Each step N updates of the critic, each on rows and noise of its own, then one of G."""
    g, d = oracle.started(start.g, start.d)
    for step, x in enumerate(xs):
        noise = lambda name, i, size: rng.normal(jax.random.fold_in(rng.at(start.key, step, name), i), (B, size))
        for i in range(N):
            ts = rng.uniform(jax.random.fold_in(rng.at(start.key, step, "penalty"), i), (B, 1))
            d = judged(g, d, x[i::N], noise("z", i, CFG.z_dim), ts, asks)
        g = made(g, d, x[N - 1 :: N], noise("z", N, CFG.z_dim), asks, alpha)
    return [g, d]


def test_step_is_the_paper_s():
    """Three steps with a product asked for equal the loops in float64; without the product's distance they would not."""
    assert sections(3, 3)["product"] == PRODUCT
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (3, N * B, 15))
        start, end, metrics = oracle.played(orders, CFG, [{"x": x} for x in xs])
        oracle.same([end.g, end.d], paper(start, xs))
        oracle.differ([end.g, end.d], paper(start, xs, alpha=0.0))
        assert metrics["product"] > 0


@pytest.mark.long
def test_without_a_product():
    """G sees noise alone, and loses nothing by the product that it draws."""
    cfg = dataclasses.replace(CFG, conditional=False)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (2, N * B, 15))
        start, end, metrics = oracle.played(orders, cfg, [{"x": x} for x in xs])
        wide = lambda p: p | {"Dense_0": p["Dense_0"] | {"kernel": jnp.pad(p["Dense_0"]["kernel"], ((0, 3), (0, 0)))}}
        g, d = paper(start._replace(g=start.g._replace(params=wide(start.g.params))), xs, 0.0, 0.0)
        assert not g.params["Dense_0"]["kernel"][CFG.z_dim :].any() and "product" not in metrics
        own = g.params | {"Dense_0": g.params["Dense_0"] | {"kernel": g.params["Dense_0"]["kernel"][: CFG.z_dim]}}
        oracle.same([end.g, end.d], [g._replace(params=own), d])


def test_the_published_nets(monkeypatch):
    """96 numbers (224 with a product), 64, 128, 265, and 265, 128, 64, 1; the paper has 264, since without quantity."""
    source = orders.data.Source("theirs", {"x": orders.data.Field((265,), "row")})
    monkeypatch.setattr(orders, "source_of", lambda cfg: source)
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p.params))
    for conditional, z in ((False, 96), (True, 224)):
        cfg = dataclasses.replace(orders.PRESETS["paper"], conditional=conditional)
        state = jax.eval_shape(functools.partial(orders.init, cfg), jax.random.key(0))
        assert count(state.g) == z * 64 + 64 + 64 * 128 + 128 + 128 * 265 + 265
        assert count(state.d) == 265 * 128 + 128 + 128 * 64 + 64 + 64 + 1
    assert (cfg.batch_size, cfg.critic_steps, cfg.alpha, cfg.b1) == (128, 5, 0.75, 0.6)
    assert (
        cfg.steps == round(15 * 5e6 / (128 * 5)) and sum(s.stop - s.start for s in sections(128, 128).values()) == 265
    )
