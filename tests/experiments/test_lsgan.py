"""LSGAN's step against the paper's objectives in plain loops, and what the code c stands for."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments import lsgan
from gan_jax.game import rng

CFG = dataclasses.replace(lsgan.PRESETS["default"], batch_size=4, width=8, z_dim=3, c=0.5, lr=1e-2, ema=0.9)
net = oracle.with_norm(oracle.mlp)


@jax.jit
def paper(g, d, average, z, x, a, b, c, scale):
    """The codes a, b, c, row by row, both players from where they were; with scale 2 the net says (D + 1) / 2."""
    D = lambda w, x: [scale * row[0] - (scale - 1) for row in net(w, d.stats, x)[0]]

    def d_loss(w):
        real, fake, stats = D(w, x), D(w, net(g.params, g.stats, z)[0]), net(w, d.stats, x)[1]
        return sum((r - b) ** 2 / 2 + (f - a) ** 2 / 2 for r, f in zip(real, fake, strict=True)) / 4, stats

    def g_loss(theta):
        fake, stats = net(theta, g.stats, z)
        return sum((f - c) ** 2 / 2 for f in D(d.params, fake)) / 4, stats

    rates = CFG.lr, CFG.b1, 0.999, 1e-8 * scale**2  # as much larger as the gradients are
    new_g, new_d = oracle.moved(oracle.adam, g, g_loss, *rates), oracle.moved(oracle.adam, d, d_loss, *rates)
    return new_g, new_d, oracle.averaged(average, (new_g.params, new_g.stats), CFG.ema)


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal the loops in float64, in both ways to say chi^2; with G's other code they would not."""
    oracle.normed(lsgan, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 4, 2))
        start, end, _ = oracle.played(lsgan, CFG, [{"x": x} for x in xs])

        def theirs(*codes):
            players = *oracle.started(start.g, start.d), start.g_ema
            for t, x in enumerate(xs):
                z = rng.normal(rng.at(start.key, t, "z"), (4, CFG.z_dim))
                players = paper(*players, z, x, *codes)
            return players

        ours = end.g, end.d, end.g_ema
        oracle.same(ours, theirs(0.0, 1.0, 0.5, 1.0))
        oracle.differ(ours, theirs(0.0, 1.0, 1.0, 1.0))
        oracle.same(ours, theirs(-1.0, 1.0, 0.0, 2.0))


def test_c_is_where_g_rests():
    """Where D says c of every sample, G has no reason to move."""
    state = lsgan.init(CFG, jax.random.key(0))
    flat = jax.tree.map(jnp.zeros_like, state.d.params)
    flat["MLP_0"]["Dense_2"]["bias"] = jnp.full(1, 0.5)
    state = state._replace(d=state.d._replace(params=flat))
    after, metrics = jax.jit(functools.partial(lsgan.step, CFG))(state, {"x": jnp.ones((2, 2))})
    assert metrics["loss/g"] == 0 and metrics["loss/d"] == 0.25  # (1/2)^2 / 2 twice: the equilibrium
    chex.assert_trees_all_equal(after.g.params, state.g.params)
