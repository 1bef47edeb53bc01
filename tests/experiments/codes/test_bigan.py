"""BiGAN's step against its algorithm in plain loops, ALI's encoder, and 1-NN in codes that are known."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.codes import bigan
from gan_jax.game import rng

B = 3
CFG = dataclasses.replace(
    bigan.PRESETS["ring"], batch_size=B, width=8, z_dim=2, lr=1e-2, decay_from=1, weight_decay=0.1
)
leaky = lambda x: jnp.where(x > 0, x, 0.2 * x)
layers = lambda p: [p[f"Dense_{i}"] for i in range(len(p))]


@oracle.with_norm
def G(p, z):
    a, b, c = layers(p)
    h = jnp.maximum(oracle.dense(a, z), 0)
    return oracle.dense(c, jnp.maximum(oracle.dense(b, jnp.concatenate([h, z], 1)), 0))


@oracle.with_norm
def E(p, x, noise):
    a, b, c, *spread = layers(p)
    h = leaky(oracle.perceptron([a, b], x, slope=0.2))
    if spread:
        return oracle.dense(c, h) + jnp.sqrt(jnp.exp(oracle.dense(spread[0], h))) * noise
    return 2 / (1 + jnp.exp(-oracle.dense(c, h))) - 1


@oracle.with_norm
def D(p, x, z):
    a, b, c = layers(p)
    pair = jnp.concatenate([leaky(oracle.dense(a, x)), z], 1)
    return oracle.sigmoid(oracle.perceptron([b, c], pair, slope=0.2)[:, 0])


def adam(player, grads, stats):
    """Adam with weight decay, at a rate that falls from step 1 on."""
    grads = jax.tree.map(lambda g, p: g + CFG.weight_decay * p if p.ndim == 2 else g, grads, player.params)
    lr = CFG.lr * 0.01 ** jnp.maximum(0.0, player.t * (1 / CFG.decay_from) - 1)
    return oracle.adam(player, grads, lr, CFG.b1, stats=stats)


@jax.jit
def paper(g, e, d, z, noise, x, swapped):
    """D ascends log D(x, E(x)) + log(1 - D(G(z), z)); G and E ascend the same with D's answers swapped."""

    def value(theta, phi, w, swap):
        (fake, g_stats), (code, e_stats) = G(theta, g.stats, z), E(phi, e.stats, x, noise)
        (real, d_stats), (made, _) = D(w, d.stats, x, code), D(w, d.stats, fake, z)
        total = 0.0
        for r, m in zip(real, made, strict=True):
            r, m = jnp.where(swap, 1 - r, r), jnp.where(swap, 1 - m, m)
            total += jnp.log(r) + jnp.log(1 - m)
        return -total / B, (g_stats, e_stats, d_stats)

    now, players = (g.params, e.params, d.params), []
    for i, (player, swap) in enumerate(((g, True), (e, swapped), (d, False))):
        grads, stats = jax.grad(value, i, has_aux=True)(*now, swap)
        players.append(adam(player, grads, stats[i]))
    return players


@pytest.mark.parametrize("stochastic", [False, True])
def test_step_is_the_paper_s(stochastic, monkeypatch):
    """Three steps, one at a fallen rate, equal the loops in float64; with an E that helps D they would not."""
    oracle.normed(bigan, monkeypatch)
    cfg = dataclasses.replace(CFG, stochastic=stochastic)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(3, B, 2))
        start, end, _ = oracle.played(bigan, cfg, [{"x": x} for x in xs])

        def theirs(swapped):
            players = oracle.started(start.g, start.e, start.d)
            for t, x in enumerate(xs):
                z = bigan.latent(cfg, rng.at(start.key, t, "z"), B)
                players = paper(*players, z, rng.normal(rng.at(start.key, t, "noise"), z.shape), x, swapped)
            return players

        oracle.same([end.g, end.e, end.d], theirs(True))
        oracle.differ([end.g, end.e, end.d], theirs(False))


def test_the_published_size():
    """The authors' nets of MNIST: no bias, no gain; z enters G at both hidden layers, D at the second; D begins at 0."""
    G, E, D, _ = bigan.build(bigan.PRESETS["paper"])
    x, z = jnp.zeros((2, 28, 28, 1)), jnp.zeros((2, 50))
    of = lambda net, *given: jax.eval_shape(net.init, jax.random.key(0), *given)["params"]
    count = lambda net, *given: sum(a.size for a in jax.tree.leaves(of(net, *given)))
    assert count(G, z) == 50 * 1024 + (1024 + 50) * 1024 + 1024 * 784
    assert count(E, x, z) == 784 * 1024 + 1024 * 1024 + 1024 * 50
    assert count(D, x, z) == 784 * 1024 + (1024 + 50) * 1024 + 1024
    params = jax.jit(D.init)(jax.random.key(0), x, z)["params"]
    assert [float(np.abs(params[f"Dense_{i}"]["kernel"]).max()) > 0 for i in range(3)] == [True, True, False]


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
