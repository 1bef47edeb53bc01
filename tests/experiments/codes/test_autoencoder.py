"""The (denoising) autoencoder's step in plain loops, and what is measured against its definition."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.codes import autoencoder
from gan_jax.game import rng
from gan_jax.nets import codes

CFG = dataclasses.replace(autoencoder.PRESETS["tiny"], z_dim=2, widths=(3, 4), batch_size=2, hide=0.4, ema=0.8, lr=1e-2)


def net(params, x, **of):
    return oracle.perceptron([params[f"Dense_{i}"] for i in range(3)], x, **of)


@functools.partial(jax.jit, static_argnums=4)
def paper(e, g, seen, x, logistic):
    """Cross-entropy of each image, of which E sees some pixels; returns the codes too."""
    act = oracle.sigmoid if logistic else None

    def loss(params):
        ink = lambda x: (x.ravel() + 1) / 2
        z = [net(params[0], ink(one), act=act) for one in seen]
        total = 0.0
        for code, one in zip(z, x, strict=True):
            p = oracle.sigmoid(net(params[1], code, act=act))
            total -= jnp.sum(ink(one) * jnp.log(p) + (1 - ink(one)) * jnp.log(1 - p))
        return total / 2, z

    grads, z = jax.grad(loss, has_aux=True)((e.params, g.params))
    return *(oracle.adam(p, grad, CFG.lr) for p, grad in zip((e, g), grads, strict=True)), z


@pytest.mark.parametrize("logistic", [False, pytest.param(True, marks=pytest.mark.long)])
def test_step_is_the_paper_s(logistic):
    """Two steps in float64, with the moments of the codes; if E saw all pixels they would be others."""
    cfg = dataclasses.replace(CFG, logistic=logistic)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (2, 2, 8, 8, 1))
        start, end, _ = oracle.played(autoencoder, cfg, [{"x": x} for x in xs])

        def theirs(hide):
            players, mean, square = oracle.started(start.e, start.g), start.mean, start.square
            for t, x in enumerate(xs):
                black = rng.uniform(rng.at(start.key, t, "hide"), x.shape) < hide
                e, g, z = paper(*players, np.where(black, -1, x), x, logistic)
                players = e, g
                mean = 0.8 * mean + 0.2 * (z[0] + z[1]) / 2
                square = 0.8 * square + 0.2 * sum(jnp.outer(code, code) for code in z) / 2
            return [*players, mean, square]

        oracle.same([end.e, end.g, end.mean, end.square], theirs(0.4))
        oracle.differ([end.e, end.g], theirs(0.0)[:2])


def test_the_paper_s_nets():
    """2,837,314 weights by the table 784-1000-500-250-30 and back."""
    cfg = autoencoder.PRESETS["paper"]
    nets = (codes.E(cfg.z_dim, cfg.widths), jnp.zeros((1, 784))), (codes.G((28, 28, 1), cfg.widths), jnp.zeros((1, 30)))
    sizes = [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    table = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    count = sum(
        leaf.size for net, x in nets for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), x))
    )
    assert count == table == 2_837_314 and cfg.logistic


def test_samples_have_the_codes_moments(monkeypatch):
    """What G is given has the mean and covariance of the codes, whichever way these lie."""
    cfg, seen = dataclasses.replace(CFG, z_dim=3), {}
    state = jax.jit(functools.partial(autoencoder.init, cfg))(jax.random.key(0))
    root = np.float32([[2, 0, 0], [1, 0.5, 0], [-1, 0.3, 0.1]])
    mean, cov = np.float32([1, -2, 3]), root @ root.T
    state = state._replace(mean=jnp.asarray(mean), square=jnp.asarray(cov + np.outer(mean, mean)))
    monkeypatch.setattr(
        autoencoder, "forward", lambda G, p, s, code: (seen.setdefault("code", code).reshape(-1, 3, 1, 1), s)
    )
    autoencoder.sample(cfg, state, jax.random.key(1), 20_000)
    np.testing.assert_allclose(seen["code"].mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(seen["code"].T), cov, atol=0.15)


def test_what_is_measured():
    """Errors are sums over pixels in [0, 1]; PCA is that of the singular vectors; each label has its own codes."""
    state = jax.jit(functools.partial(autoencoder.init, CFG))(jax.random.key(0))
    generator = np.random.default_rng(0)
    train, test = ({"x": generator.integers(0, 256, (n, 8, 8, 1), np.uint8)} for n in (90, 40))
    test["y"] = np.arange(40) % 8  # none of 8 and 9
    found = jax.jit(functools.partial(autoencoder.measure, CFG))(state, jax.random.key(1), train, test)
    x, known = (a["x"].reshape(-1, 64) / 255 for a in (test, train))
    z = np.asarray(net(state.e.params, x))
    error = lambda of: ((of - x) ** 2).sum(1).mean()
    mean = known.mean(0)
    axes = np.linalg.svd(known - mean[None])[2][:2]
    expected = {"test/mean": mean[None], "test/pca": (x - mean[None]) @ axes.T @ axes + mean[None]}
    expected["test/squared"] = np.asarray(oracle.sigmoid(net(state.g.params, z)))
    hidden = np.where(rng.uniform(jax.random.key(1), (40, 8, 8, 1)) < CFG.test_hide, 0, x.reshape(40, 8, 8, 1))
    expected["test/hidden"] = np.asarray(
        oracle.sigmoid(net(state.g.params, net(state.e.params, hidden.reshape(40, 64))))
    )
    for name, of in expected.items():
        np.testing.assert_allclose(found[name], error(of), rtol=1e-4)
    assert found["images"].x.shape == (5, 12, 8, 8, 1)
    points, off = np.asarray(found["codes"].x), z - z.mean(0)[None]
    plane = off @ np.linalg.eigh(off.T @ off)[1][:, ::-1]
    for y in range(8):
        near = np.abs(np.abs(points[y])[:, None] - np.abs(plane[test["y"] == y])[None]).max(2)
        assert near.min(1).max() < 1e-4 and near.min(0).max() < 1e-4  # all of this label, and none of another
    assert (points[8:] == 0).all() and points.shape == (10, 40, 2)
