"""EBGAN's step against the paper's losses in plain loops, and the two terms in closed form."""

import dataclasses
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import ebgan
from gan_jax.game import rng
from gan_jax.nets import autoencoder

B, MARGIN = 3, 0.4  # samples begin with energies on both sides of it
CFG = dataclasses.replace(
    ebgan.PRESETS["ring"], batch_size=B, width=8, z_dim=3, code=4, margin=MARGIN / math.sqrt(2), pull_away=0.7,
    g_lr=1e-2, d_lr=2e-2,
)  # fmt: skip
G = oracle.with_norm(oracle.mlp)


@oracle.with_norm
def D(p, x):
    """(reconstruction, code)."""
    code = oracle.mlp(p["MLP_0"], x)
    return oracle.mlp(p["G_0"], code), code


def norm(v):
    return jnp.sqrt(sum(v[i] ** 2 for i in range(len(v))))


def energies(w, stats, x):
    return [norm(again - row) for again, row in zip(D(w, stats, x)[0][0], x, strict=True)]


@jax.jit
def paper(g, d, z, x, weight):
    """f_D and f_G with the pull-away term, row by row and pair by pair, both players from where they were."""

    def f_d(w):
        fake = energies(w, d.stats, G(g.params, g.stats, z)[0])
        rows = zip(energies(w, d.stats, x), fake, strict=True)
        return sum(real + jnp.maximum(0, MARGIN - fake) for real, fake in rows) / B, D(w, d.stats, x)[1]

    def f_g(theta):
        fake, stats = G(theta, g.stats, z)
        codes = D(d.params, d.stats, fake)[0][1]
        pairs = [(a, b) for i, a in enumerate(codes) for j, b in enumerate(codes) if i != j]
        pull_away = sum((a @ b / norm(a) / norm(b)) ** 2 for a, b in pairs) / (B * (B - 1))
        return sum(energies(d.params, d.stats, fake)) / B + weight * pull_away, stats

    adam = lambda player, loss, lr: oracle.moved(oracle.adam, player, loss, lr, CFG.b1)
    return adam(g, f_g, CFG.g_lr), adam(d, f_d, CFG.d_lr)


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal the loops in float64; without the pull-away term they would not."""
    oracle.normed(ebgan, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, B, 2))
        start, end, _ = oracle.played(ebgan, CFG, [{"x": x} for x in xs])
        z = rng.normal(rng.at(start.key, 0, "z"), (B, CFG.z_dim))
        at_first = energies(start.d.params, start.d.stats, G(start.g.params, start.g.stats, z)[0])
        assert min(at_first) < MARGIN < max(at_first)

        def theirs(weight):
            players = oracle.started(start.g, start.d)
            for t, x in enumerate(xs):
                players = paper(*players, rng.normal(rng.at(start.key, t, "z"), (B, CFG.z_dim)), x, weight)
            return list(players)

        oracle.same([end.g, end.d], theirs(CFG.pull_away))
        oracle.differ([end.g, end.d], theirs(0.0))


def test_pull_away_is_a_mean_squared_cosine():
    """1 for parallel and opposite codes of any length, 0 for orthogonal ones, cos^2 between; finite at 0."""
    pull_away = jax.jit(ebgan.pull_away)
    np.testing.assert_allclose(pull_away(np.float32([[1, 2], [3, 6], [-0.1, -0.2]])), 1, rtol=1e-6)
    np.testing.assert_allclose(pull_away(3 * np.eye(5, dtype=np.float32)), 0, atol=1e-6)
    np.testing.assert_allclose(pull_away(np.float32([[1, 0], [1, 1]])), 0.5, rtol=1e-6)
    assert np.isfinite(jax.jit(jax.grad(ebgan.pull_away))(np.zeros((3, 2), np.float32))).all()


def test_energy_is_a_norm():
    """The norm over all axes of a row; its gradient is the unit vector, and 0 at a perfect reconstruction."""
    x = jnp.zeros((2, 1, 2, 1))
    far = jnp.array([3.0, 4.0, 0.0, 0.0]).reshape(2, 1, 2, 1)
    np.testing.assert_allclose(ebgan.energy(x, far), [5, 0], atol=2e-6)
    slope = jax.grad(lambda y: ebgan.energy(x, y).sum())(far)
    np.testing.assert_allclose(slope.ravel(), [0.6, 0.8, 0, 0], rtol=1e-6)


def test_samples_beyond_the_margin_leave_d_alone():
    """D raises the energy of samples to the margin and no further: with margin 0 only the data move it."""
    cfg = dataclasses.replace(CFG, margin=0.0)
    state = ebgan.init(cfg, jax.random.key(0))
    after = [
        jax.jit(functools.partial(ebgan.step, cfg))(s, {"x": jnp.ones((3, 2))})[0].d.params
        for s in (state, state._replace(key=jax.random.key(1)))
    ]
    chex.assert_trees_all_equal(*after)


@pytest.mark.parametrize("shape", [(7, 12, 3), (28, 28, 1), (2,)])
def test_autoencoders_keep_the_shape(shape):
    """Reconstructions have the shape of x, in [-1, 1] where it is an image; codes have the width asked for."""
    net = autoencoder.MLP(5, 8) if len(shape) == 1 else autoencoder.Conv(5, 8)
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    (again, code), _ = jax.eval_shape(functools.partial(net.init_with_output), jax.random.key(0), x)
    assert again.shape == (2, *shape) and code.shape == (2, 5)
