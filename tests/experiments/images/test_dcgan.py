"""DCGAN's step, convolutions and batch norm and all, against plain loops; the pictures that it measures."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.images import dcgan
from gan_jax import data
from gan_jax.game import rng

CFG = dataclasses.replace(dcgan.PRESETS["default"], dataset="tiny", batch_size=4, width=2, z_dim=3, lr=1e-2)
SIZES = 9, 5, 3  # two levels, so that D has a batch norm


@pytest.fixture
def tiny(monkeypatch):
    """A set of 9x9 images."""
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, (9, 9, 1)))


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


def batch_norm(p, x):
    """Over batch and pixels, channel by channel."""
    mean = x.mean((0, 1, 2), keepdims=True)
    x = (x - mean) / jnp.sqrt(((x - mean) ** 2).mean((0, 1, 2), keepdims=True) + 1e-5)
    return x * p["scale"].reshape(1, 1, 1, -1) + p["bias"].reshape(1, 1, 1, -1)


def G(p, z):
    """Dense, batch norm, ReLU; up, batch norm, ReLU; up, tanh."""
    x = (z @ p["Dense_0"]["kernel"]).reshape(-1, SIZES[2], SIZES[2], 4)
    x = jnp.maximum(batch_norm(p["BatchNorm_0"], x), 0)
    x = jnp.maximum(batch_norm(p["BatchNorm_1"], conv_transpose(p["ConvTranspose_0"], x, SIZES[1])), 0)
    return jnp.tanh(conv_transpose(p["ConvTranspose_1"], x, SIZES[0]))


def D(p, x):
    """Down, leaky ReLU; down, batch norm, leaky ReLU; dense."""
    leaky = lambda x: jnp.where(x > 0, x, 0.2 * x)
    x = leaky(conv(p["Conv_0"], x))
    x = leaky(batch_norm(p["BatchNorm_0"], conv(p["Conv_1"], x)))
    return (x.reshape(len(x), -1) @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"].reshape(1, 1))[:, 0]


def adam(player, grads):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    move = lambda p, m, v: p - CFG.lr * m / (1 - CFG.b1 ** (t + 1)) / (jnp.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


@jax.jit
def paper(g, d, x, z, lead):
    """D ascends on reals and fakes, then G on a D that is `lead` of its way ahead: 1, or 0 for the planted deviation."""
    log_sigmoid = lambda s: jnp.log(1 / (1 + jnp.exp(-s)))
    d_loss = lambda w: -(log_sigmoid(D(w, x)) + log_sigmoid(-D(w, G(g[0], z)))).mean()
    new = adam(d, jax.grad(d_loss)(d[0]))
    met = jax.tree.map(lambda new, old: jnp.where(lead, new, old), new[0], d[0])
    return adam(g, jax.grad(lambda theta: -log_sigmoid(D(met, G(theta, z))).mean())(g[0])), new


def test_step_is_the_paper_s(tiny):
    """Two steps equal the paper in float64; with both nets moved at once they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(dcgan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        step = jax.jit(functools.partial(dcgan.step, CFG))
        xs, now = np.random.default_rng(0).uniform(-1, 1, (2, 4, 9, 9, 1)), state
        for x in xs:
            now, _ = step(now, {"x": x})

        def theirs(lead):
            zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
            g, d = ((p.params, zeros(p), zeros(p), jnp.int32(0)) for p in (state.g, state.d))
            for t, x in enumerate(xs):
                z = jax.random.uniform(rng.at(state.key, t, "z"), (4, CFG.z_dim), minval=-1)
                g, d = paper(g, d, x, z, lead)
            return g[0], d[0]

        close = functools.partial(chex.assert_trees_all_close, (now.g.params, now.d.params), rtol=1e-9, atol=1e-12)
        close(theirs(1))
        with pytest.raises(AssertionError):
            close(theirs(0))


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
