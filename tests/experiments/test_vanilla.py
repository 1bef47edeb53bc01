"""The original GAN's step against its algorithm box in plain loops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments import vanilla
from gan_jax.game import rng

CFG = dataclasses.replace(vanilla.PRESETS["ring"], batch_size=8, width=8, z_dim=4, lr=1e-2)
net = oracle.with_norm(oracle.mlp)


@jax.jit
def paper(g, d, z, x, ascend):
    """D ascends log D(x) + log(1 - D(G(z))), G ascends log D(G(z)), both from where they were."""
    D = lambda w, x: oracle.sigmoid(net(w, d.stats, x)[0][:, 0])

    def d_loss(w):
        fake, _ = net(g.params, g.stats, z)
        gain = sum(jnp.log(real) + jnp.log(1 - made) for real, made in zip(D(w, x), D(w, fake), strict=True)) / 8
        return -gain * ascend, net(w, d.stats, x)[1]

    def g_loss(theta):
        fake, stats = net(theta, g.stats, z)
        return -sum(jnp.log(made) for made in D(d.params, fake)) / 8, stats

    return [oracle.moved(oracle.adam, p, loss, CFG.lr, CFG.b1) for p, loss in ((g, g_loss), (d, d_loss))]


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal the loops in float64, statistics too; with D descending its gain they would not."""
    oracle.normed(vanilla, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 8, 2))
        start, end, _ = oracle.played(vanilla, CFG, [{"x": x} for x in xs])

        def theirs(ascend):
            players = oracle.started(start.g, start.d)
            for t, x in enumerate(xs):
                players = paper(*players, rng.normal(rng.at(start.key, t, "z"), (8, CFG.z_dim)), x, ascend)
            return players

        oracle.same([end.g, end.d], theirs(1))
        oracle.differ([end.g, end.d], theirs(-1))
