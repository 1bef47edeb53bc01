"""WGAN-GP's step against Algorithm 1 of the paper in plain loops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments import wgan_gp
from gan_jax.game import rng

N = 2  # critic updates
CFG = dataclasses.replace(wgan_gp.PRESETS["default"], batch_size=3, width=8, critic_steps=N, penalty=2.0, lr=1e-2)
G = oracle.with_norm(lambda params, z: oracle.mlp(params, z, 3))
D = lambda w, x: oracle.mlp(w, x, 3)[..., 0]


@jax.jit
def paper(g, d, zs, epsilons, x, target):
    """Algorithm 1, row by row: n critic updates with new data and noise each, then one of G."""
    adam = lambda player, loss: oracle.moved(oracle.adam, player, loss, CFG.lr, CFG.b1, CFG.b2)
    for i in range(N):
        fakes, _ = G(g.params, g.stats, zs[i])

        def loss(w, i=i, fakes=fakes):
            total = 0.0
            for real, fake, epsilon in zip(x[i::N], fakes, epsilons[i], strict=True):
                slope = jax.grad(lambda v: D(w, v))(epsilon * real + (1 - epsilon) * fake)
                penalty = (jnp.sqrt(slope[0] ** 2 + slope[1] ** 2) - target) ** 2
                total += D(w, fake) - D(w, real) + CFG.penalty * penalty
            return total / 3, {}

        d = adam(d, loss)

    def g_loss(theta):
        fakes, stats = G(theta, g.stats, zs[N])
        return -sum(D(d.params, fake) for fake in fakes) / 3, stats

    return adam(g, g_loss), d


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal Algorithm 1 in float64; with another target norm they would not."""
    oracle.normed(wgan_gp, monkeypatch, 0)  # the critic of a gradient penalty has none
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 3 * N, 2))
        start, end, _ = oracle.played(wgan_gp, CFG, [{"x": x} for x in xs])

        def theirs(target):
            players = oracle.started(start.g, start.d)
            for t, x in enumerate(xs):
                key = lambda name, i, t=t: jax.random.fold_in(rng.at(start.key, t, name), i)
                zs = [rng.normal(key("z", i), (3, CFG.z_dim)) for i in range(N + 1)]
                epsilons = [jax.random.uniform(key("penalty", i), (3, 1)) for i in range(N)]
                players = paper(*players, zs, epsilons, x, target)
            return players

        oracle.same([end.g, end.d], list(theirs(1.0)))
        oracle.differ([end.g, end.d], list(theirs(0.0)))
