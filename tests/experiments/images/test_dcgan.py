"""DCGAN's step, convolutions and batch norm and all, against plain loops; the pictures that it measures."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.images import dcgan
from gan_jax import data
from gan_jax.game import rng

CFG = dataclasses.replace(dcgan.PRESETS["default"], dataset="tiny", batch_size=4, width=2, z_dim=3, lr=1e-2)
SIZES = 9, 5, 3  # two levels, so that D has a batch norm


@pytest.fixture
def tiny(monkeypatch):
    """A set of 9x9 images."""
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, {"x": data.Field((9, 9, 1), "image")}))


def conv(p, x):
    """A 4x4 convolution of stride 2, pixel by pixel of the kernel: one is left out on one side, two on the other."""
    n, x = -(-x.shape[1] // 2), jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))
    at = lambda i, j: x[:, i : i + 2 * n : 2, j : j + 2 * n : 2][:, :n, :n] @ p["kernel"][i, j]
    return sum(at(i, j) for i in range(4) for j in range(4)) + p.get("bias", jnp.zeros(1)).reshape(1, 1, 1, -1)


def conv_transpose(p, y, size):
    """Its adjoint: every pixel of y puts a kernel into the picture."""
    b, n, _, _ = y.shape
    x = jnp.zeros((b, 2 * n + 2, 2 * n + 2, p["kernel"].shape[3]))
    for i in range(4):
        for j in range(4):
            x = x.at[:, i : i + 2 * n : 2, j : j + 2 * n : 2].add(y @ p["kernel"][i, j])
    return x[:, 1 : 1 + size, 1 : 1 + size] + p.get("bias", jnp.zeros(1)).reshape(1, 1, 1, -1)


def norms(params, stats, new):
    """Return name of a batch norm, x -> x normalised; its new statistics are put into `new`."""

    def of(name, x):
        x, new[name] = oracle.batch_norm(params[name], stats["batch_stats"][name], x)
        return x

    return of


def G(p, stats, z):
    """Dense, batch norm, ReLU; up, batch norm, ReLU; up, tanh. With the new statistics."""
    norm = norms(p, stats, new := {})
    x = (z @ p["Dense_0"]["kernel"]).reshape(-1, SIZES[2], SIZES[2], 4)
    x = jnp.maximum(norm("BatchNorm_0", x), 0)
    x = jnp.maximum(norm("BatchNorm_1", conv_transpose(p["ConvTranspose_0"], x, SIZES[1])), 0)
    return jnp.tanh(conv_transpose(p["ConvTranspose_1"], x, SIZES[0])), {"batch_stats": new}


def D(p, stats, x):
    """Down, leaky ReLU; down, batch norm, leaky ReLU; dense. With the new statistics."""
    norm, leaky = norms(p, stats, new := {}), lambda x: jnp.where(x > 0, x, 0.2 * x)
    x = leaky(conv(p["Conv_0"], x))
    x = leaky(norm("BatchNorm_0", conv(p["Conv_1"], x)))
    return oracle.dense(p["Dense_0"], x.reshape(len(x), -1))[:, 0], {"batch_stats": new}


@jax.jit
def paper(g, d, x, z, lead):
    """D ascends on reals and fakes, then G on a D that is `lead` of its way ahead: 1, or 0 for the planted deviation."""
    log_sigmoid = lambda s: jnp.log(oracle.sigmoid(s))

    def d_loss(w):
        (real, stats), (made, _) = D(w, d.stats, x), D(w, d.stats, G(g.params, g.stats, z)[0])
        return -(log_sigmoid(real) + log_sigmoid(-made)).mean(), stats

    new = oracle.moved(oracle.adam, d, d_loss, CFG.lr, CFG.b1)
    met = jax.tree.map(lambda new, old: jnp.where(lead, new, old), new.params, d.params)

    def g_loss(theta):
        fake, stats = G(theta, g.stats, z)
        return -log_sigmoid(D(met, d.stats, fake)[0]).mean(), stats

    return oracle.moved(oracle.adam, g, g_loss, CFG.lr, CFG.b1), new


@pytest.mark.long
def test_step_is_the_paper_s(tiny):
    """Two steps equal the paper in float64, statistics too; with both nets moved at once they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (2, 4, 9, 9, 1))
        start, end, _ = oracle.played(dcgan, CFG, [{"x": x} for x in xs])

        def theirs(lead):
            players = oracle.started(start.g, start.d)
            for t, x in enumerate(xs):
                z = rng.uniform(rng.at(start.key, t, "z"), (4, CFG.z_dim), minval=-1)
                players = paper(*players, x, z, lead)
            return list(players)

        oracle.same([end.g, end.d], theirs(1))
        oracle.differ([end.g, end.d], theirs(0))


def test_pictures(tiny):
    """Walks end where they should, a - b + c stands beside its exemplars, filters fill [-1, 1]."""
    cfg = dataclasses.replace(CFG, width=16)
    state = jax.jit(functools.partial(dcgan.init, cfg))(jax.random.key(0))
    shown = jax.jit(functools.partial(dcgan.measure, cfg))(state, jax.random.key(1), None, None)
    shown["arithmetic"] = shown["arithmetic"].x
    assert {k: v.shape for k, v in shown.items()} == {
        "walks": (8, 10, 9, 9, 1),
        "arithmetic": (8, 13, 9, 9, 1),
        "filters": (1, 16, 4, 4, 1),
    }
    ends = dcgan.generate(cfg, state, dcgan.latent(cfg, jax.random.key(1), 256)[:16])
    chex.assert_trees_all_close(shown["arithmetic"][:2, :9:3].reshape(-1, 9, 9, 1), ends[:6], atol=1e-5)
    chex.assert_trees_all_close(shown["walks"][:, [0, -1]], jnp.stack([ends[:8], ends[8:]], 1), atol=1e-5)
    assert np.abs(shown["filters"]).max((2, 3, 4)) == pytest.approx(1)
