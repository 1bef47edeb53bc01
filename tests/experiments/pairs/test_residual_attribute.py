"""The step of residual images against the paper's losses, picture by picture; its nets against the table of layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import residual_attribute as experiment
from gan_jax.metrics import classifier
from gan_jax.nets import mlp
from gan_jax.nets import residual as nets

CFG = dataclasses.replace(experiment.PRESETS["tiny"], batch_size=3, sparse=0.3, perceptual=0.7, lr=1e-2)
SHAPE, B = (2, 2, 1), 3


class Adds(nets.nn.Module):
    """A perceptron that makes a residual."""

    @nets.nn.compact
    def __call__(self, x, train=True):
        return mlp.MLP(4, 6, 1)(x).reshape(x.shape)


class Kinds(nets.nn.Module):
    """A perceptron that tells three kinds apart by its hidden layer."""

    @nets.nn.compact
    def __call__(self, x, train=True):
        features = jnp.tanh(nets.nn.Dense(5)(x.reshape(x.shape[0], -1)))
        return nets.nn.Dense(3)(features), features[:, None, None]


def kinds(p, x):
    """Return (the probabilities of the three kinds, features)."""
    features = jnp.tanh(oracle.dense(p["Dense_0"], x.reshape(len(x), -1)))
    logits = oracle.dense(p["Dense_1"], features)
    return jnp.exp(logits) / jnp.exp(logits).sum(-1, keepdims=True), features


R = oracle.with_norm(lambda p, x: oracle.mlp(p, x.reshape(len(x), -1), 1).reshape(x.shape))
D = oracle.with_norm(kinds)


@jax.jit
def paper(on, off, d, lacks, has, dual):
    """l_cls of D, and for either translator l_gan + l_dual + alpha (l_pix + 0.1 l_per); dual: 0 leaves l_dual out."""

    def l_g(p_on, p_off):
        (r0, on_stats), (r1, off_stats) = R(p_on, on.stats, lacks), R(p_off, off.stats, has)
        given, rid = lacks + r0, has + r1
        p, made = D(d.params, d.stats, jnp.concatenate([given, rid]))[0]
        seen = D(d.params, d.stats, jnp.concatenate([lacks, has]))[0][1]
        there_and_back = given + R(p_off, off.stats, given)[0], rid + R(p_on, on.stats, rid)[0]
        again = D(d.params, d.stats, jnp.concatenate(there_and_back))[0][0]
        value = 0.0
        for i in range(B):
            value -= jnp.log(p[i, 1]) + jnp.log(p[B + i, 0])  # as one with the attribute, as one without it
            value -= dual * (jnp.log(again[i, 0]) + jnp.log(again[B + i, 1]))
            value += CFG.sparse * (jnp.abs(r0[i]).sum() + jnp.abs(r1[i]).sum())
            for j in (i, B + i):
                value += CFG.sparse * CFG.perceptual * jnp.abs(seen[j] - made[j]).sum()
        return value / B, (on_stats, off_stats, given, rid)

    (of_on, of_off), (on_stats, off_stats, given, rid) = jax.grad(l_g, (0, 1), has_aux=True)(on.params, off.params)

    def l_cls(params):
        (p, _), stats = D(params, d.stats, jnp.concatenate([lacks, has]))
        fake = D(params, d.stats, jnp.concatenate([given, rid]))[0][0]
        each = [jnp.log(p[i, 0] * p[B + i, 1] * fake[i, 2] * fake[B + i, 2]) for i in range(B)]
        return -sum(each) / B, stats

    update = lambda player, grads, stats: oracle.adam(player, grads, CFG.lr, CFG.b1, stats=stats)
    return (
        update(on, of_on, on_stats),
        update(off, of_off, off_stats),
        oracle.moved(oracle.adam, d, l_cls, CFG.lr, CFG.b1),
    )


def test_step_is_the_paper_s(monkeypatch):
    """Three steps are the paper's in float64, statistics too; without the dual loss they would not be."""
    monkeypatch.setattr(experiment, "build", lambda cfg: (Adds(), Kinds(), experiment.optax.adam(cfg.lr, cfg.b1)))
    oracle.normed(experiment, monkeypatch)
    monkeypatch.setattr(experiment.data, "load", lambda name: type("Set", (), {"shape": SHAPE}))
    with jax.enable_x64(True):
        pairs = np.random.default_rng(0).uniform(-1, 1, (3, 2, B, *SHAPE))
        batches = [{"source": {"x": lacks}, "x": {"x": has}} for lacks, has in pairs]
        start, end, _ = oracle.played(experiment, CFG, batches)

        def theirs(dual):
            players = oracle.started(start.g_on, start.g_off, start.d)
            for lacks, has in pairs:
                players = paper(*players, lacks, has, dual)
            return list(players)

        oracle.same([end.g_on, end.g_off, end.d], theirs(1.0))
        oracle.differ([end.g_on, end.g_off], theirs(0.0)[:2])


def test_what_is_measured(monkeypatch):
    """Those without it are given it by g_on, those with it rid of it by g_off; both residuals are drawn at half."""
    monkeypatch.setattr(experiment, "changed", lambda cfg, player, x: x + player)
    monkeypatch.setattr(classifier, "load", lambda source: lambda x: jnp.concatenate([0 * x, x], 3)[:, 0, 0])
    state = experiment.State(0, None, 1.5, -0.5, None)
    test = {"x": {"x": np.full((2, 1, 1, 1), 255, np.uint8)}, "source": {"x": np.zeros((2, 1, 1, 1), np.uint8)}}
    found = experiment.measure(CFG, state, None, {}, test)
    shown = dict(zip(found["changed"].rows, found["changed"].x[:, 0].ravel().tolist(), strict=True))
    expected = {"with": 1, "rid_of_it": 0.5, "without": -1, "given_it": 0.5, "taken": -0.25, "added": 0.75}
    assert shown == expected and found["attribute/given_it"] == 1
    assert experiment.measure(CFG, state, None, {}, {}) == {}


def test_what_leaves_the_range_is_cut_off(monkeypatch):
    """A residual that leads beyond white or black; none by which the picture stays."""
    monkeypatch.setattr(experiment, "forward", lambda G, params, stats, x, train: (params * x, stats))
    x = jnp.array([-0.9, 0.1, 0.9]).reshape(3, 1, 1, 1)
    changed = lambda times: experiment.changed(CFG, experiment.Player(times, {}, None), x).ravel().tolist()
    assert changed(1.0) == [-1, np.float32(0.2), 1] and changed(0.0) == x.ravel().tolist()


def parameters(net, x):
    """How many numbers the net's parameters have."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), x)["params"]))


def test_the_published_nets():
    """Of 128x128 in colours, counted by hand: two numbers a channel that is normalised, else a bias."""
    cfg, x = experiment.PRESETS["paper"], jnp.zeros((2, 128, 128, 3))
    narrow = 25 * 3 * 64 + 16 * (64 * 128 + 128 * 256)
    wide = 9 * (256 * 128 + 128 * 64) + 16 * 64 * 3 + 3
    assert parameters(nets.G(cfg.width), x) == narrow + wide + 2 * (64 + 128 + 256 + 128 + 64)
    levels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 1024) + 64 + 2 * (128 + 256 + 512 + 1024)
    assert parameters(nets.D(cfg.width), x) == levels + 16 * 1024 * 3 + 3
    assert jax.eval_shape(nets.D(cfg.width).init_with_output, jax.random.key(0), x)[0][1].shape == (2, 16, 16, 256)


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 33, 3)])
def test_pictures_of_any_size(shape):
    """A residual has the picture's size; D has three logits, and its features are at most three levels down."""
    x, key = jnp.zeros((2, *shape)), jax.random.key(0)
    assert jax.eval_shape(nets.G(2).init_with_output, key, x)[0].shape == x.shape
    logits, features = jax.eval_shape(nets.D(2).init_with_output, key, x)[0]
    assert logits.shape == (2, 3) and features.shape == {8: (2, 4, 4, 2), 30: (2, 4, 5, 8)}[shape[0]]
