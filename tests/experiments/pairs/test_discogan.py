"""DiscoGAN's step against the objective of the paper, row by row."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.pairs import discogan

CFG = dataclasses.replace(discogan.PRESETS["default"], batch_size=2, width=8, depth=1, lr=1e-2, reconstruction=3.0)


def net(p, x):
    """A ReLU perceptron of one hidden layer: x [c] -> [out]."""
    first, last = p["MLP_0"]["Dense_0"], p["MLP_0"]["Dense_1"]
    hidden = x @ first["kernel"] + first["bias"]
    return jnp.where(hidden > 0, hidden, 0) @ last["kernel"] + last["bias"]


def adam(player, grads):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    move = lambda p, m, v: p - CFG.lr * m / (1 - CFG.b1 ** (t + 1)) / (jnp.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


@jax.jit
def paper(players, a, b, both):
    """One update of all four; both: 1, or 0 for the planted deviation, a alone is to come back."""
    log = lambda d, x: jnp.log(1 / (1 + jnp.exp(-net(d, x)[0])))
    log_not = lambda d, x: jnp.log(1 - 1 / (1 + jnp.exp(-net(d, x)[0])))
    ab, ba, d_a, d_b = (p[0] for p in players)
    rows = list(zip(a, b, strict=True))

    def of_translators(ab, ba):
        value = 0.0
        for x, y in rows:
            value -= log(d_b, net(ab, x)) + log(d_a, net(ba, y))
            value += CFG.reconstruction * ((net(ba, net(ab, x)) - x) ** 2).mean()
            value += both * CFG.reconstruction * ((net(ab, net(ba, y)) - y) ** 2).mean()
        return value / 2

    ab_grads, ba_grads = jax.grad(of_translators, (0, 1))(ab, ba)
    a_grads = jax.grad(lambda d: -sum(log(d, x) + log_not(d, net(ba, y)) for x, y in rows) / 2)(d_a)
    b_grads = jax.grad(lambda d: -sum(log(d, y) + log_not(d, net(ab, x)) for x, y in rows) / 2)(d_b)
    return [adam(p, g) for p, g in zip(players, (ab_grads, ba_grads, a_grads, b_grads), strict=True)]


def test_step_is_the_paper_s():
    """Two steps equal the paper in float64; with one reconstruction of the two they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(discogan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        step = jax.jit(functools.partial(discogan.step, CFG))
        xs, now = np.random.default_rng(0).normal(size=(2, 2, 2, 2)), state
        for a, b in xs:
            now, _ = step(now, {"x": {"x": b}, "source": {"x": a}})

        def theirs(both):
            zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
            players = [(p.params, zeros(p), zeros(p), jnp.int32(0)) for p in state[2:6]]
            for a, b in xs:
                players = paper(players, a, b, both)
            return [p[0] for p in players]

        close = functools.partial(chex.assert_trees_all_close, [p.params for p in now[2:6]], rtol=1e-9, atol=1e-12)
        close(theirs(1.0))
        with pytest.raises(AssertionError):
            close(theirs(0.0))
