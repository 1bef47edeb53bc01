"""CatGAN's step against the paper's objectives in plain loops, and its clusters against labels."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments.labels import catgan
from gan_jax.game import rng

CFG = dataclasses.replace(
    catgan.PRESETS["default"], dataset="digits", batch_size=3, clusters=4, width=2, z_dim=3, g_lr=1e-2, d_lr=2e-2
)


def dense(p, x):
    """x [b, i] by columns of length scale."""
    length = jnp.sqrt(jnp.sum(p["v"] ** 2, 0))
    return p["scale"][None] * (x @ p["v"]) / length[None] + p["bias"][None]


def generate(p, stats, z):
    """Batch norm and softplus twice, then pixels by a sigmoid, in [-1, 1]; and the new statistics."""
    new = {}
    for name in ("BatchNorm_0", "BatchNorm_1"):
        h = z @ p[name.replace("BatchNorm", "Dense")]["kernel"]
        h, new[name] = oracle.batch_norm(p[name], stats["batch_stats"][name], h)
        z = jnp.log(1 + jnp.exp(h))
    return 2 / (1 + jnp.exp(-dense(p["NormedDense_0"], z))) - 1, {"batch_stats": new}


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


@jax.jit
def paper(g, d, z_d, z_g, noise, x, marginal):
    """Equations (7) and (8): D ascends its objective, then G descends its own."""

    def d_loss(p):
        real = classify(p, x, noise["real"])
        fake = classify(p, generate(g.params, g.stats, z_d)[0], noise["fake"])
        return -(entropy(sum(real) / 3) - sum(map(entropy, real)) / 3 + sum(map(entropy, fake)) / 3), {}

    d = oracle.moved(oracle.adam, d, d_loss, CFG.d_lr, CFG.b1)

    def g_loss(p):
        made, stats = generate(p, g.stats, z_g)
        fake = classify(d.params, made, noise["fake again"])
        return -marginal * entropy(sum(fake) / 3) + sum(map(entropy, fake)) / 3, stats

    return oracle.moved(oracle.adam, g, g_loss, CFG.g_lr, CFG.b1), d


def test_step_is_the_paper_s():
    """Two steps equal the paper's in float64; with G's marginal entropy at another weight they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, 8, 1))
        start, end, _ = oracle.played(catgan, CFG, [{"x": x} for x in xs])

        def theirs(marginal):
            players = oracle.started(start.g, start.d)
            for t, x in enumerate(xs):
                z = rng.uniform(rng.at(start.key, t, "z"), (2, 3, CFG.z_dim))
                drawn = lambda name, t=t: jax.random.normal(rng.at(start.key, t, name), (3, 64 + 9 * CFG.width))
                noise = {name: drawn(name) for name in ("real", "fake", "fake again")}
                players = paper(*players, *z, noise, x, marginal)
            return list(players)

        oracle.same([end.g, end.d], theirs(1.0))
        oracle.differ([end.g, end.d], theirs(0.99))


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
