"""The step with a recurrent G against the paper's algorithm in plain loops, with G's columns written one by one."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import unrolled_lstm
from gan_jax.game import rng
from gan_jax.nets import lstm
from gan_jax.run import cli

CFG = dataclasses.replace(unrolled_lstm.PRESETS["tiny"], g_lr=1e-2, d_lr=2e-2)


def adam(params, grads, m, v, t, lr):
    """One step of Adam (Kingma and Ba 2015) downhill, with the root's epsilon inside: (params, m, v)."""
    m = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: CFG.b2 * v + (1 - CFG.b2) * g**2, v, grads)
    move = lambda p, m, v: p - lr * (m / (1 - CFG.b1**t)) / (jnp.sqrt(v / (1 - CFG.b2**t) + 1e-16) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v


def write(params, z):
    """G(z) [b, 8, 8, 1], column after column: the state begins at a ReLU layer of z, nothing else comes in."""
    sigmoid = lambda s: 1 / (1 + jnp.exp(-s))
    dense = lambda layer, x: x @ layer["kernel"] + layer["bias"][None]
    start, out = dense(params["Dense_0"], z), []
    h = c = jnp.where(start > 0, start, 0)
    for _ in range(8):
        i, f, g, o = jnp.split(dense(params["ScanCell_0"]["Dense_0"], h), 4, 1)
        c = sigmoid(f + 1) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        out.append(jnp.tanh(dense(params["Dense_1"], h)))
    return jnp.stack(out, 2)[..., None]


@jax.jit
def paper(state, xs):
    """For each minibatch K updates of D ahead, G's gradient through all, one update of D: the params of G, D, mean."""
    (g, d), mean = ((p.params, p.opt[0].mu, p.opt[0].nu) for p in (state.g, state.d)), state.g_ema[0]
    score = lambda d_params, x: lstm.D().apply({"params": d_params}, x)
    for t, x in enumerate(xs):
        z = jax.random.normal(rng.at(state.key, t, "z"), (len(x), CFG.z_dim))

        def d_loss(d_params, fake, x=x):  # - log D(x) - log(1 - D(G(z)))
            return -(jax.nn.log_sigmoid(score(d_params, x)) + jax.nn.log_sigmoid(-score(d_params, fake))).mean()

        def g_loss(g_params, t=t, z=z, d=d, d_loss=d_loss):  # - log D_K(G(z))
            ahead, fake = d, write(g_params, z)
            for k in range(CFG.unroll):
                ahead = adam(ahead[0], jax.grad(d_loss)(ahead[0], fake), *ahead[1:], t + 1 + k, CFG.d_lr)
            return -jax.nn.log_sigmoid(score(ahead[0], fake)).mean()

        g_grads, d_grads = jax.grad(g_loss)(g[0]), jax.grad(d_loss)(d[0], write(g[0], z))
        g, d = adam(g[0], g_grads, *g[1:], t + 1, CFG.g_lr), adam(d[0], d_grads, *d[1:], t + 1, CFG.d_lr)
        mean = jax.tree.map(lambda a, n: CFG.ema * a + (1 - CFG.ema) * n, mean, g[0])
    return g[0], d[0], mean


def test_step_is_the_paper_s():
    """Two steps equal the algorithm in plain loops; with another K they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(unrolled_lstm.init, CFG))(jax.random.key(0))
        to = lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a
        state, xs = jax.tree.map(to, state), np.random.default_rng(0).uniform(-1, 1, size=(2, 8, 8, 8, 1))
        expected = paper(state, xs)

        def run(cfg):
            now, step = state, jax.jit(functools.partial(unrolled_lstm.step, cfg))
            for x in xs:
                now, _ = step(now, {"x": x})
            return now.g.params, now.d.params, now.g_ema[0]

        chex.assert_trees_all_close(run(CFG), expected, rtol=1e-8, atol=1e-10)
        with pytest.raises(AssertionError):
            chex.assert_trees_all_close(run(dataclasses.replace(CFG, unroll=1)), expected, rtol=1e-8, atol=1e-10)


def test_the_data_choose_no_tiny_preset():
    """A data set that `tiny` has too gets the numbers of the first preset."""
    cfg, _ = cli.parse(unrolled_lstm.Config, unrolled_lstm.PRESETS, ["--dataset=digits", "--cpu"])
    assert cfg == dataclasses.replace(unrolled_lstm.PRESETS["default"], dataset="digits")
