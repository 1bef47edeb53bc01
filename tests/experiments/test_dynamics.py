"""The rules on two nets: ExtraAdam in plain loops, simultaneous moves as the original GAN's, and all of them train."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import dynamics, vanilla
from gan_jax.game import rng

CFG = dataclasses.replace(dynamics.PRESETS["default"], batch_size=4, width=8, z_dim=2, g_lr=1e-2, d_lr=3e-2)


def trained(cfg, xs):
    """The first and the last state, and the metrics, after a step on each of xs [n, b, c]."""
    start = state = jax.jit(functools.partial(dynamics.init, cfg))(jax.random.key(0))
    step = jax.jit(functools.partial(dynamics.step, cfg))
    for x in xs:
        state, metrics = step(state, {"x": x})
    return start, state, metrics


@jax.jit
def paper(g, d, z, x, again):
    """ExtraAdam: a half step and, from the old place by the gradient there, a whole one; Adam's moments see both."""
    net = oracle.mlp

    def losses(theta, w):
        rows = [(oracle.sigmoid(net(w, a)[0]), oracle.sigmoid(net(w, net(theta, b))[0])) for a, b in zip(x, z, strict=True)]  # fmt: skip
        g_loss = -sum(jnp.log(fake) for _, fake in rows) / 4
        return g_loss, -sum(jnp.log(real) + jnp.log(1 - fake) for real, fake in rows) / 4

    at, old = (g.params, d.params), (g.params, d.params)
    for _ in range(2):
        grads = [jax.grad(lambda *players, i=i: losses(*players)[i], i)(*at) for i in range(2)]
        from_old = g._replace(params=old[0]), d._replace(params=old[1])
        g, d = (oracle.adam(*p, lr, CFG.b1) for *p, lr in zip(from_old, grads, (CFG.g_lr, CFG.d_lr), strict=True))
        at = jax.tree.map(functools.partial(jnp.where, again), (g.params, d.params), at)
    return g, d


def test_step_is_the_paper_s():
    """Two steps equal the loops in float64; without the look ahead they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 4, 2))
        start, end, _ = oracle.played(dynamics, CFG, [{"x": x} for x in xs])

        def theirs(again):
            players = oracle.started(start.g, start.d)
            for t, x in enumerate(xs):
                z = rng.normal(rng.at(start.key, t, "z"), (4, CFG.z_dim))
                players = paper(*players, z, x, again)
            return list(players)

        oracle.same([end.g, end.d], theirs(True), rtol=1e-8, atol=1e-11)
        oracle.differ([end.g, end.d], theirs(False), rtol=1e-8, atol=1e-11)


def test_simultaneous_is_the_original_gan():
    """With one rate for both, the moves are those of `vanilla.py`."""
    cfg = dataclasses.replace(CFG, method="simultaneous", d_lr=1e-2)
    of = vanilla.Config("ring8", batch_size=4, width=8, z_dim=2, lr=1e-2)
    xs = np.random.default_rng(0).normal(size=(2, 4, 2)).astype(np.float32)
    _, end, _ = trained(cfg, xs)
    init, step = (jax.jit(functools.partial(f, of)) for f in (vanilla.init, vanilla.step))
    state = init(jax.random.key(0))
    for x in xs:
        state, _ = step(state, {"x": x})
    chex.assert_trees_all_close((end.g.params, end.d.params), (state.g.params, state.d.params), rtol=1e-4, atol=1e-6)


@pytest.mark.slow  # the rules alone are held by `tests/game/test_rules.py`
@pytest.mark.parametrize("method", dynamics.METHODS)
def test_every_method_trains(method):
    """Both players move, and all stays finite."""
    cfg = dataclasses.replace(CFG, method=method, strength=0.3, period=2)
    start, end, metrics = trained(cfg, np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32))
    assert all(np.isfinite(a).all() for a in jax.tree.leaves((end.g, end.d, metrics)))
    for player in ("g", "d"):
        with pytest.raises(AssertionError):
            chex.assert_trees_all_close(getattr(start, player).params, getattr(end, player).params)
