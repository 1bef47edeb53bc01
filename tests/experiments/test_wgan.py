"""WGAN's step against Algorithm 1 of the paper in plain loops, and the clipping."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments import wgan
from gan_jax.game import rng

N = 2  # critic updates
CFG = dataclasses.replace(wgan.PRESETS["default"], batch_size=3, width=8, critic_steps=N, clip=0.3, lr=1e-2, falls=0.0)
net = oracle.with_norm(lambda params, x: oracle.mlp(params, x, 3))


@jax.jit
def paper(g, d, zs, x, c):
    """Algorithm 1, row by row: n critic updates with new data and noise, each one clipped, then one of G."""
    rmsprop = lambda player, loss: oracle.moved(oracle.rmsprop, player, loss, CFG.lr, CFG.decay)
    for i in range(N):
        fake, _ = net(g.params, g.stats, zs[i])

        def minus_value(w, i=i, d=d, fake=fake):
            (real, stats), (made, _) = net(w, d.stats, x[i::N]), net(w, d.stats, fake)
            return -sum(r[0] - f[0] for r, f in zip(real, made, strict=True)) / 3, stats

        d = rmsprop(d, minus_value)
        d = d._replace(params=jax.tree.map(lambda w: jnp.maximum(jnp.minimum(w, c), -c), d.params))

    def g_loss(theta):
        fake, stats = net(theta, g.stats, zs[N])
        return -sum(f[0] for f in net(d.params, d.stats, fake)[0]) / 3, stats

    return rmsprop(g, g_loss), d


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal Algorithm 1 in float64; without the clipping they would not."""
    oracle.normed(wgan, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 3 * N, 2))
        start, end, _ = oracle.played(wgan, CFG, [{"x": x} for x in xs])

        def theirs(c):
            players = oracle.started(start.g, start.d)
            for t, x in enumerate(xs):
                key = lambda i, t=t: jax.random.fold_in(rng.at(start.key, t, "z"), i)
                zs = [rng.normal(key(i), (3, CFG.z_dim)) for i in range(N + 1)]
                players = paper(*players, zs, x, c)
            return list(players)

        oracle.same([end.g, end.d], theirs(CFG.clip))
        oracle.differ([end.g, end.d], theirs(np.inf))


def test_every_weight_of_the_critic_is_clipped():
    """No weight ever exceeds c, those of batch norm included; some reach it; G's are free."""
    cfg = dataclasses.replace(CFG, dataset="digits", clip=0.01)
    state = jax.jit(functools.partial(wgan.init, cfg))(jax.random.key(0))
    after, _ = jax.jit(functools.partial(wgan.step, cfg))(
        state, {"x": np.zeros((cfg.batch_size * cfg.critic_steps, 8, 8, 1), np.float32)}
    )
    for d in (state.d, after.d):
        assert max(float(jnp.abs(w).max()) for w in jax.tree.leaves(d.params)) == np.float32(0.01)
    assert max(float(jnp.abs(w).max()) for w in jax.tree.leaves(after.g.params)) > 0.01


def test_the_rates_go_down_to_0():
    """Constant for half of the updates, then a straight line: for G over the steps, for the critic over N of each."""
    *_, g_tx, d_tx = wgan.build(dataclasses.replace(CFG, steps=20, falls=0.5))
    for tx, updates in ((g_tx, 20), (d_tx, 20 * N)):
        one, moves = {"w": jnp.ones(())}, []
        state = tx.init(one)
        for t in range(updates):
            move, state = tx.update(one, state)
            rms = np.sqrt(1 - CFG.decay ** (t + 1))  # of a gradient that is always 1
            moves.append(-float(move["w"]) * rms / CFG.lr)
        half = updates // 2
        np.testing.assert_allclose(moves[: half + 1], 1, rtol=1e-4)
        np.testing.assert_allclose(moves[half:], 1 - np.arange(half) / half, atol=1e-4)


def test_the_metric_estimates_a_distance():
    """A critic that is given time tells by the metric how far the data are from the samples."""
    cfg = dataclasses.replace(CFG, batch_size=64, critic_steps=50, width=64)
    state = jax.jit(functools.partial(wgan.init, cfg))(jax.random.key(0))
    step = jax.jit(functools.partial(wgan.step, cfg))
    x = wgan.sample(cfg, state, jax.random.key(1), 64 * 50)
    far, near, none = (float(step(state, {"x": x + shift})[1]["wasserstein"]) for shift in (4, 1, 0))
    assert far > 2 * near and near > 4 * abs(none)
