"""MIX+GAN's step against its payoff in plain loops, by backpropagation and multiplicative weights; the published size."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import mixgan
from gan_jax.game import rng

B, T = 3, 2
CFG = dataclasses.replace(
    mixgan.PRESETS["default"], batch_size=B, learners=T, entropy=0.3, z_dim=2, width=4, g_lr=1e-2, d_lr=2e-2
)
net = oracle.with_norm(oracle.mlp)
softmax = lambda logits: jnp.exp(logits) / jnp.exp(logits).sum()


def value(side, gs, ds, w, v, z, x):
    """The loss of G ("g") or D ("d"), pair by pair, and the statistics of that side's nets."""
    fakes = [net(params, stats, z) for params, stats in gs]
    total, entropy = 0.0, 0.0
    for i, (params, stats) in enumerate(ds):
        D = lambda x, params=params, stats=stats: oracle.sigmoid(net(params, stats, x)[0][:, 0])
        for j, (fake, _) in enumerate(fakes):
            both = -jnp.log(D(x)) - jnp.log(1 - D(fake))
            total += v[i] * w[j] * (-jnp.log(D(fake)) if side == "g" else both).mean()
    for share in w if side == "g" else v:
        entropy -= jnp.log(share + 1e-6) / T
    return total + CFG.entropy * entropy, [new for _, new in fakes] if side == "g" else [net(*d, x)[1] for d in ds]


@functools.partial(jax.jit, static_argnums=4)
def paper(g, d, z, x, eta):
    """Both sides an update: Adam for nets and logits, or w_j times exp(-eta d loss / d w_j) over the sum."""
    of = lambda p: [(net, stats) for net, stats in zip(p.params["nets"], p.stats, strict=True)]
    w, v, after = softmax(g.params["logits"]), softmax(d.params["logits"]), []
    for side, p, lr in (("g", g, CFG.g_lr), ("d", d, CFG.d_lr)):

        def loss(params, share, side=side, p=p):
            nets = list(zip(params["nets"], p.stats, strict=True))
            return value(side, nets, of(d), share, v, z, x) if side == "g" else value(side, of(g), nets, w, share, z, x)

        by_logits = lambda params, loss=loss: loss(params, softmax(params["logits"]))
        new = oracle.moved(oracle.adam, p, by_logits, lr, b1=CFG.b1)
        if eta:
            share = softmax(p.params["logits"])
            slope, _ = jax.grad(lambda share, p=p, loss=loss: loss(p.params, share), has_aux=True)(share)
            grown = share * jnp.exp(-eta * slope)
            new = new._replace(params=new.params | {"logits": jnp.log(grown / grown.sum())})
        after.append(new)
    return after


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_step_is_the_paper_s(eta, monkeypatch):
    """Three steps equal the loops in float64, shares and statistics too; by the other rule the shares would not."""
    oracle.normed(mixgan, monkeypatch)
    cfg = dataclasses.replace(CFG, eta=eta)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(3, B, 2))
        start, end, _ = oracle.played(mixgan, cfg, [{"x": x} for x in xs])
        one = lambda tree, i: jax.tree.map(lambda a: a[i], tree)
        stack = lambda trees: jax.tree.map(lambda *a: jnp.stack(a), *trees)

        def apart(p):
            nets = [one(p.params["nets"], i) for i in range(T)]
            return p._replace(params=p.params | {"nets": nets}, stats=[one(p.stats, i) for i in range(T)])

        def theirs(eta):
            players = oracle.started(apart(start.g), apart(start.d))
            for t, x in enumerate(xs):
                players = paper(*players, rng.normal(rng.at(start.key, t, "z"), (B, CFG.z_dim)), x, eta)
            return [(stack(p.params["nets"]), softmax(p.params["logits"]), stack(p.stats)) for p in players]

        ours = [(p.params["nets"], softmax(p.params["logits"]), p.stats) for p in (end.g, end.d)]
        oracle.same(ours, theirs(eta), rtol=1e-8)
        if eta:
            oracle.differ([share for _, share, _ in ours], [share for _, share, _ in theirs(0.0)])


def test_the_published_size(monkeypatch):
    """Five DCGANs of width 64 on 32x32, layer by layer, and a logit for each net."""
    monkeypatch.setattr(mixgan.data, "load", lambda name: type("Set", (), {"shape": (32, 32, 3)}))
    state = jax.eval_shape(functools.partial(mixgan.init, mixgan.PRESETS["paper"]), jax.random.key(0))
    g, d = (sum(p.size for p in jax.tree.leaves(player.params)) for player in (state.g, state.d))
    levels = 16 * (256 * 128 + 128 * 64) + 2 * (128 + 64)
    assert g == 5 * (50 * 4096 + 2 * 256 + levels + 16 * 64 * 3 + 3) + 5
    assert d == 5 * (16 * 3 * 64 + 64 + 16 * (64 * 128 + 128 * 256) + 2 * (128 + 256) + 4096 + 1) + 5


def test_samples_come_by_shares():
    """Three quarters are of the G whose logit says so."""
    state = jax.jit(functools.partial(mixgan.init, CFG))(jax.random.key(0))
    state.g.params["nets"]["MLP_0"]["Dense_2"]["bias"] = jnp.array([[0.0, 0], [1e4, 1e4]])
    state.g.params["logits"] = jnp.log(jnp.array([0.25, 0.75]))
    x = jax.jit(functools.partial(mixgan.sample, CFG), static_argnums=2)(state, jax.random.key(0), 1000)
    assert abs((np.asarray(x)[:, 0] > 5e3).mean() - 0.75) < 0.06
