"""EBGAN's step against the paper's losses in plain loops, and the two terms in closed form."""

import dataclasses
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import ebgan
from gan_jax.game import rng
from gan_jax.nets import autoencoder

MARGIN = 0.2  # samples begin with energies of 0.22, 0.11 and 0.17: on both sides of it
CFG = dataclasses.replace(
    ebgan.PRESETS["ring"], batch_size=3, width=8, z_dim=3, code=4, margin=MARGIN / math.sqrt(2), pull_away=0.7,
    g_lr=1e-2, d_lr=2e-2,
)  # fmt: skip


def net(params, x):
    """A ReLU perceptron of the parameters of `nets.mlp.MLP`, layer by layer: x [c] -> [out]."""
    layers = [params[f"Dense_{i}"] for i in range(3)]
    for layer in layers[:-1]:
        x = jnp.where((x := x @ layer["kernel"] + layer["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def adam(player, grads, t, lr):
    """(params, m, v) after step t of Adam downhill."""
    params, m, v = player
    m = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    move = lambda p, m, v: p - lr * m / (1 - CFG.b1**t) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v


def norm(v):
    return jnp.sqrt(sum(v[i] ** 2 for i in range(len(v))))


def paper(state, xs, weight):
    """f_D and f_G with the pull-away term, row by row and pair by pair, both players from where they were."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    g, d = ((p.params, zeros(p), zeros(p)) for p in (state.g, state.d))
    G = lambda theta, z: net(theta["MLP_0"], z)
    encode = lambda w, x: net(w["MLP_0"], x)
    energy = lambda w, x: norm(net(w["G_0"]["MLP_0"], encode(w, x)) - x)
    for t, x in enumerate(xs):
        z = jax.random.normal(rng.at(state.key, t, "z"), (3, CFG.z_dim))

        def f_d(w, x=x, z=z, g=g):
            return sum(energy(w, x[i]) + jnp.maximum(0, MARGIN - energy(w, G(g[0], z[i]))) for i in range(3)) / 3

        def f_g(theta, z=z, d=d):
            fake = [G(theta, z[i]) for i in range(3)]
            codes = [encode(d[0], x) for x in fake]
            pairs = [(a, b) for i, a in enumerate(codes) for j, b in enumerate(codes) if i != j]
            pull_away = sum((a @ b / norm(a) / norm(b)) ** 2 for a, b in pairs) / (3 * 2)
            return sum(energy(d[0], x) for x in fake) / 3 + weight * pull_away

        g, d = (adam(p, jax.grad(f)(p[0]), t + 1, lr) for p, f, lr in ((g, f_g, CFG.g_lr), (d, f_d, CFG.d_lr)))
    return g[0], d[0]


def test_step_is_the_paper_s():
    """Two steps equal the loops in float64; without the pull-away term they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(ebgan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(2, 3, 2)), state
        step = jax.jit(functools.partial(ebgan.step, CFG))
        for x in xs:
            now, _ = step(now, {"x": x})
        close = functools.partial(chex.assert_trees_all_close, (now.g.params, now.d.params), rtol=1e-9, atol=1e-12)
        algorithm = jax.jit(paper)
        close(algorithm(state, xs, CFG.pull_away))
        with pytest.raises(AssertionError):
            close(algorithm(state, xs, 0.0))


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
