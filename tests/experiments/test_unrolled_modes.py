"""The step on 1000 modes against the paper's algorithm in plain loops, packs cut by hand, statistics as well."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import unrolled_modes
from gan_jax.game import rng
from gan_jax.nets import small
from gan_jax.run import cli

CFG = dataclasses.replace(unrolled_modes.PRESETS["tiny"], std=True, g_lr=1e-2, d_lr=2e-2)


def adam(params, grads, m, v, t, lr):
    """One step of Adam (Kingma and Ba 2015) downhill, with the root's epsilon inside: (params, m, v)."""
    m = jax.tree.map(lambda m, g: CFG.b1 * m + (1 - CFG.b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: CFG.b2 * v + (1 - CFG.b2) * g**2, v, grads)
    move = lambda p, m, v: p - lr * (m / (1 - CFG.b1**t)) / (jnp.sqrt(v / (1 - CFG.b2**t) + 1e-16) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v


def apply(net, params, stats, x):
    """(output, new statistics) of a net in training."""
    out, new = net.apply({"params": params, "batch_stats": stats}, x, mutable=["batch_stats"])
    return out, new["batch_stats"]


def score(params, stats, x):
    """The scores of packs of two rows, side by side as six channels: [b / 2]."""
    packs = jnp.stack([jnp.concatenate([x[i], x[i + 1]], -1) for i in range(0, len(x), 2)])
    return apply(small.D(CFG.d_width, std=CFG.std), params["net"], stats["net"], packs)


@jax.jit
def paper(state, xs):
    """For each minibatch K updates of D ahead, G's gradient through all, one update of D: (params, stats) of G, D, mean."""
    G, (g, d) = (
        small.G(xs[0].shape[1:], CFG.width),
        ((p.params, p.opt[0].mu, p.opt[0].nu) for p in (state.g, state.d)),
    )
    g_stats, d_stats, mean = state.g.stats["batch_stats"], state.d.stats["batch_stats"], (state.g.params, state.g.stats)
    for t, x in enumerate(xs):
        z = jax.random.normal(rng.at(state.key, t, "z"), (len(x), CFG.z_dim))

        def d_loss(d_params, fake, x=x, d_stats=d_stats):  # - log D(x) - log(1 - D(G(z)))
            real_score, new = score(d_params, d_stats, x)
            fake_score, _ = score(d_params, d_stats, fake)
            return -(jax.nn.log_sigmoid(real_score) + jax.nn.log_sigmoid(-fake_score)).mean(), {"net": new}

        def g_loss(g_params, t=t, z=z, d=d, d_stats=d_stats, g_stats=g_stats, d_loss=d_loss):  # - log D_K(G(z))
            fake, new = apply(G, g_params, g_stats, z)
            ahead = d
            for k in range(CFG.unroll):
                grads = jax.grad(d_loss, has_aux=True)(ahead[0], fake)[0]
                ahead = adam(ahead[0], grads, *ahead[1:], t + 1 + k, CFG.d_lr)
            return -jax.nn.log_sigmoid(score(ahead[0], d_stats, fake)[0]).mean(), (fake, new)

        g_grads, (fake, g_stats) = jax.grad(g_loss, has_aux=True)(g[0])
        d_grads, d_stats = jax.grad(d_loss, has_aux=True)(d[0], fake)
        g, d = adam(g[0], g_grads, *g[1:], t + 1, CFG.g_lr), adam(d[0], d_grads, *d[1:], t + 1, CFG.d_lr)
        now = g[0], {"batch_stats": g_stats}
        mean = jax.tree.map(lambda a, n: CFG.ema * a + (1 - CFG.ema) * n, mean, now)
    return (g[0], g_stats), (d[0], d_stats), mean


def test_step_is_the_paper_s():
    """Two steps equal the algorithm in plain loops, statistics and average too; with another K they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(unrolled_modes.init, CFG))(jax.random.key(0))
        to = lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a
        state, xs = jax.tree.map(to, state), np.random.default_rng(0).uniform(-1, 1, size=(2, 8, 8, 8, 3))
        expected = paper(state, xs)

        def run(cfg):
            now, step = state, jax.jit(functools.partial(unrolled_modes.step, cfg))
            for x in xs:
                now, _ = step(now, {"x": x})
            return *((p.params, p.stats["batch_stats"]) for p in (now.g, now.d)), now.g_ema

        # a bias before batch norm has no gradient but rounding, which Adam divides by 1e-8
        close = functools.partial(chex.assert_trees_all_close, expected, rtol=1e-8, atol=1e-8)
        close(run(CFG))
        with pytest.raises(AssertionError):
            close(run(dataclasses.replace(CFG, unroll=1)))


def test_the_data_choose_no_tiny_preset():
    """A data set that `tiny` has too gets the numbers of the first preset."""
    cfg, _ = cli.parse(unrolled_modes.Config, unrolled_modes.PRESETS, ["--dataset=stacked_digits", "--cpu"])
    assert cfg == dataclasses.replace(next(iter(unrolled_modes.PRESETS.values())), dataset="stacked_digits")
