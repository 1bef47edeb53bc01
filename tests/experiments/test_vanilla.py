"""The original GAN's step against its algorithm box in plain numpy-like loops."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import vanilla
from gan_jax.game import rng

CFG = dataclasses.replace(vanilla.PRESETS["ring"], batch_size=8, width=8, z_dim=4, lr=1e-2)


def net(params, x):
    """A ReLU perceptron of the parameters of `nets.mlp`, layer by layer."""
    layers = [params["MLP_0"][f"Dense_{i}"] for i in range(3)]
    for layer in layers[:-1]:
        x = jnp.where((x := x @ layer["kernel"] + layer["bias"][None]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"][None]


def paper(state, xs, ascend):
    """Each step: D ascends log D(x) + log(1 - D(G(z))), G ascends log D(G(z)), both from where they were; Adam by hand."""
    D = lambda d, x: 1 / (1 + jnp.exp(-net(d, x)))
    players = [[p.params, jax.tree.map(jnp.zeros_like, p.params), jax.tree.map(jnp.zeros_like, p.params)] for p in (state.g, state.d)]  # fmt: skip
    for t, x in enumerate(xs):
        z = jax.random.normal(rng.at(state.key, t, "z"), (8, CFG.z_dim))
        (g, *_), (d, *_) = players
        g_grads = jax.grad(lambda g, d=d, z=z: -jnp.log(D(d, net(g, z))).mean())(g)
        d_grads = jax.grad(lambda d, g=g, z=z, x=x: -(jnp.log(D(d, x)) + jnp.log(1 - D(d, net(g, z)))).mean() * ascend)(
            d
        )
        for player, grads in zip(players, (g_grads, d_grads), strict=True):
            player[1] = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, player[1], grads)
            player[2] = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, player[2], grads)
            move = lambda p, m, v, t=t: (
                p - CFG.lr * m / (1 - CFG.b1 ** (t + 1)) / (jnp.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
            )
            player[0] = jax.tree.map(move, *player)
    return players[0][0], players[1][0]


def test_step_is_the_paper_s():
    """Two steps equal the loops in float64; with D descending its gain they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(vanilla.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(2, 8, 2)), state
        step = jax.jit(functools.partial(vanilla.step, CFG))
        for x in xs:
            now, _ = step(now, {"x": x})
        close = functools.partial(chex.assert_trees_all_close, (now.g.params, now.d.params), rtol=1e-9, atol=1e-12)
        algorithm = jax.jit(paper)
        close(algorithm(state, xs, 1))
        with pytest.raises(AssertionError):
            close(algorithm(state, xs, -1))
