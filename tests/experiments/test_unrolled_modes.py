"""The step on 1000 modes against the paper's algorithm in plain loops, packs cut by hand, statistics as well."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments import unrolled_modes
from gan_jax.game import rng
from gan_jax.nets import small
from gan_jax.run import cli

CFG = dataclasses.replace(unrolled_modes.PRESETS["tiny"], std=True, g_lr=1e-2, d_lr=2e-2)


adam = functools.partial(oracle.adam, b1=CFG.b1, b2=CFG.b2, eps_root=1e-16)


def apply(net, params, stats, x):
    """(output, new statistics) of a net in training."""
    return net.apply({"params": params, **stats}, x, mutable=["batch_stats"])


def score(params, stats, x):
    """The scores of packs of two rows, side by side as six channels, [b / 2]; and the new statistics."""
    packs = jnp.stack([jnp.concatenate([x[i], x[i + 1]], -1) for i in range(0, len(x), 2)])
    of = {"batch_stats": stats["batch_stats"]["net"]}
    out, new = apply(small.D(CFG.d_width, std=CFG.std), params["net"], of, packs)
    return out, {"batch_stats": {"net": new["batch_stats"]}}


@jax.jit
def paper(g, d, mean, z, x, looks):
    """K updates of D ahead, G's gradient through all, one update of D; looks: K, or fewer as the planted deviation."""
    G = small.G(x.shape[1:], CFG.width)

    def d_loss(w, fake):  # - log D(x) - log(1 - D(G(z)))
        (real, stats), (made, _) = score(w, d.stats, x), score(w, d.stats, fake)
        return -(jnp.log(oracle.sigmoid(real)) + jnp.log(oracle.sigmoid(-made))).mean(), stats

    def g_loss(theta):  # - log D_K(G(z))
        fake, stats = apply(G, theta, g.stats, z)
        ahead = d
        for k in range(CFG.unroll):
            new = oracle.moved(adam, ahead, lambda w: d_loss(w, fake), CFG.d_lr)
            ahead = jax.tree.map(lambda new, old, k=k: jnp.where(k < looks, new, old), new, ahead)
        return -jnp.log(oracle.sigmoid(score(ahead.params, d.stats, fake)[0])).mean(), stats

    fake, _ = apply(G, g.params, g.stats, z)
    new_g = oracle.moved(adam, g, g_loss, CFG.g_lr)
    new_d = oracle.moved(adam, d, lambda w: d_loss(w, fake), CFG.d_lr)
    return new_g, new_d, oracle.averaged(mean, (new_g.params, new_g.stats), CFG.ema)


def test_step_is_the_paper_s():
    """Two steps equal the algorithm in plain loops, statistics and average too; with one update fewer they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, size=(2, 8, 8, 8, 3))
        start, end, _ = oracle.played(unrolled_modes, CFG, [{"x": x} for x in xs])

        def theirs(looks):
            players = *oracle.started(start.g, start.d), start.g_ema
            for t, x in enumerate(xs):
                players = paper(*players, rng.normal(rng.at(start.key, t, "z"), (8, CFG.z_dim)), x, looks)
            return players

        # a bias before batch norm has no gradient but rounding, which Adam divides by 1e-8
        near = {"rtol": 1e-8, "atol": 1e-8}
        oracle.same((end.g, end.d, end.g_ema), theirs(CFG.unroll), **near)
        oracle.differ((end.g, end.d, end.g_ema), theirs(CFG.unroll - 1), **near)


def test_the_data_choose_no_tiny_preset():
    """A data set that `tiny` has too gets the numbers of the first preset."""
    cfg, _ = cli.parse(unrolled_modes.Config, unrolled_modes.PRESETS, ["--dataset=stacked_digits", "--cpu"])
    assert cfg == dataclasses.replace(next(iter(unrolled_modes.PRESETS.values())), dataset="stacked_digits")
