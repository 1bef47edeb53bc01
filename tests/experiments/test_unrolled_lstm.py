"""The step with a recurrent G against the paper's algorithm in plain loops, with G's columns written one by one."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments import unrolled_lstm
from gan_jax.game import rng
from gan_jax.nets import lstm
from gan_jax.run import cli

CFG = dataclasses.replace(unrolled_lstm.PRESETS["tiny"], g_lr=1e-2, d_lr=2e-2)


adam = functools.partial(oracle.adam, b1=CFG.b1, b2=CFG.b2, eps_root=1e-16)


def write(params, z):
    """G(z) [b, 8, 8, 1], column after column: the state begins at a ReLU layer of z, nothing else comes in."""
    start, out = oracle.dense(params["Dense_0"], z), []
    h = c = jnp.where(start > 0, start, 0)
    for _ in range(8):
        i, f, g, o = jnp.split(oracle.dense(params["ScanCell_0"]["Dense_0"], h), 4, 1)
        c = oracle.sigmoid(f + 1) * c + oracle.sigmoid(i) * jnp.tanh(g)
        h = oracle.sigmoid(o) * jnp.tanh(c)
        out.append(jnp.tanh(oracle.dense(params["Dense_1"], h)))
    return jnp.stack(out, 2)[..., None]


@jax.jit
def paper(g, d, mean, z, x, looks):
    """K updates of D ahead, G's gradient through all, one update of D; looks: K, or fewer as the planted deviation."""
    p_of = lambda w, x: oracle.sigmoid(lstm.D().apply({"params": w}, x))

    def d_loss(w, fake):
        return -(jnp.log(p_of(w, x)) + jnp.log(1 - p_of(w, fake))).mean(), {}

    def g_loss(theta):  # - log D_K(G(z))
        ahead, fake = d, write(theta, z)
        for k in range(CFG.unroll):
            new = oracle.moved(adam, ahead, lambda w: d_loss(w, fake), CFG.d_lr)
            ahead = jax.tree.map(lambda new, old, k=k: jnp.where(k < looks, new, old), new, ahead)
        return -jnp.log(p_of(ahead.params, fake)).mean(), {}

    new_g = oracle.moved(adam, g, g_loss, CFG.g_lr)
    new_d = oracle.moved(adam, d, lambda w: d_loss(w, write(g.params, z)), CFG.d_lr)
    return new_g, new_d, oracle.averaged(mean, (new_g.params, {}), CFG.ema)


def test_step_is_the_paper_s():
    """Two steps equal the algorithm in plain loops; with one update fewer they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, size=(2, 8, 8, 8, 1))
        start, end, _ = oracle.played(unrolled_lstm, CFG, [{"x": x} for x in xs])

        def theirs(looks):
            players = *oracle.started(start.g, start.d), start.g_ema
            for t, x in enumerate(xs):
                players = paper(*players, rng.normal(rng.at(start.key, t, "z"), (8, CFG.z_dim)), x, looks)
            return players

        oracle.same((end.g, end.d, end.g_ema), theirs(CFG.unroll), rtol=1e-8, atol=1e-10)
        oracle.differ((end.g, end.d, end.g_ema), theirs(CFG.unroll - 1), rtol=1e-8, atol=1e-10)


def test_the_data_choose_no_tiny_preset():
    """A data set that `tiny` has too gets the numbers of the first preset."""
    cfg, _ = cli.parse(unrolled_lstm.Config, unrolled_lstm.PRESETS, ["--dataset=digits", "--cpu"])
    assert cfg == dataclasses.replace(unrolled_lstm.PRESETS["default"], dataset="digits")
