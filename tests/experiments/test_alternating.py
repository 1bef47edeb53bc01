"""The game in turns against Algorithm 1 of Goodfellow et al. in plain loops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import alternating
from gan_jax.game import rng

CFG = dataclasses.replace(
    alternating.PRESETS["default"], batch_size=2, width=4, z_dim=3, d_steps=2, g_steps=2, g_lr=2e-2, d_lr=1e-2, ema=0.9
)


@jax.jit
def paper(g, d, average, zs, x, begun, simultaneous):
    """Algorithm 1, row by row: D's updates, then G's, once they have begun, against the D that came of them."""
    p_of = lambda w, x: oracle.sigmoid(oracle.mlp(w, x)[0])
    before = d.params
    for i in range(CFG.d_steps):
        rows = [(real, oracle.mlp(g.params, z)) for real, z in zip(x[i :: CFG.d_steps], zs[i], strict=True)]
        loss = lambda w, rows=rows: -sum(jnp.log(p_of(w, x)) + jnp.log(1 - p_of(w, fake)) for x, fake in rows) / 2
        d = oracle.adam(d, jax.grad(loss)(d.params), CFG.d_lr, CFG.b1)
    met = jax.tree.map(lambda old, new: jnp.where(simultaneous, old, new), before, d.params)
    for z in zs[CFG.d_steps :]:
        loss = lambda theta, z=z: -sum(jnp.log(p_of(met, oracle.mlp(theta, row))) for row in z) / 2
        new = oracle.adam(g, jax.grad(loss)(g.params), CFG.g_lr, CFG.b1)
        g = jax.tree.map(lambda new, old: jnp.where(begun, new, old), new, g)
    return g, d, oracle.averaged(average, g.params, CFG.ema)


@pytest.mark.parametrize("head_start", [0, 1])
def test_step_is_the_paper_s(head_start):
    """Two turns equal Algorithm 1 in float64, with and without a head start; against the D before its turn, not."""
    cfg = dataclasses.replace(CFG, head_start=head_start)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 4, 2))
        start, end, metrics = oracle.played(alternating, cfg, [{"x": x} for x in xs])

        def theirs(simultaneous):
            players = *oracle.started(start.g, start.d), start.g.params
            for t, x in enumerate(xs):
                key = lambda i, t=t: jax.random.fold_in(rng.at(start.key, t, "z"), i)
                zs = [rng.normal(key(i), (2, cfg.z_dim)) for i in range(cfg.d_steps + cfg.g_steps)]
                players = paper(*players, zs, x, t >= head_start, simultaneous)
            return players

        oracle.same((end.g, end.d, end.g_ema), theirs(False))
        assert 0 < metrics["p/fake"] < 1 and 0 < metrics["p/real"] < 1
        oracle.differ((end.g, end.d, end.g_ema), theirs(True))
