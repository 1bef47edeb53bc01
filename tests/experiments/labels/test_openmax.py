"""G-OpenMax's step against its algorithm row by row, and what it keeps of mixtures, holds out and measures."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.labels import openmax
from gan_jax import data
from gan_jax.game import rng
from gan_jax.nets import conditional, mlp

B, K = 4, 3
CFG = dataclasses.replace(
    openmax.PRESETS["tiny"], batch_size=B, z_dim=2, held_out=7, width=4, after=1, g_lr=1e-2, d_lr=2e-2, c_lr=3e-2
)


class Few(nn.Module):
    """A classifier of one layer whose logits hear its key."""

    classes: int

    @nn.compact
    def __call__(self, x, key=None, train=True):
        return nn.Dense(self.classes)(x * (rng.uniform(key, x.shape) if train else 1)), x


@pytest.fixture
def points(monkeypatch):
    """The experiment on points, with small nets, each with a batch norm before it."""
    build = openmax.build

    def small(cfg):
        return (
            conditional.G(mlp.G((2,), 4), K), conditional.Concat(K, 4), Few(K), Few(K + 1), *build(cfg)[4:]
        )  # fmt: skip

    source = data.Source("points", {"x": data.Field((2,), "points"), "y": data.label(10)})
    monkeypatch.setattr(openmax, "build", small)
    monkeypatch.setattr(data, "load", lambda name: source)
    oracle.normed(openmax, monkeypatch)


def one_hot(y):
    return jnp.stack([jnp.where(jnp.arange(K) == label, 1.0, 0.0) for label in y])


@oracle.with_norm
def G(p, z, mix):
    return oracle.mlp(p["net"], jnp.concatenate([z, mix], 1))


@oracle.with_norm
def D(p, x, y):
    h = jnp.concatenate([x, one_hot(y)], 1)
    for i in range(2):
        h = jnp.where((h := oracle.dense(p[f"Dense_{i}"], h)) > 0, h, 0.2 * h)
    return oracle.sigmoid(oracle.dense(p["Dense_2"], h)[:, 0])


C = oracle.with_norm(lambda p, x, kept: jnp.exp(oracle.dense(p["Dense_0"], x * kept)))


def resting(p, x):
    """x beside its batch norm by running statistics, which is what `oracle.Normed` hands on when it is not training."""
    s, n = p.stats["batch_stats"]["BatchNorm_0"], p.params["BatchNorm_0"]
    return x + n["scale"][None] * (x - s["mean"][None]) / jnp.sqrt(s["var"][None] + 1e-5) + n["bias"][None]


@jax.jit
def paper(g, d, c, c_open, noise, x, y, learns, heard):
    """G and D on the labels of data; C on data; the second one on data and on mixtures that C gets wrong."""
    z, z_mix, parts, kept, kept_open = noise
    fake = G(g.params, g.stats, z, one_hot(y))[0]

    def d_loss(w):
        (real, stats), (made, _) = D(w, d.stats, x, y), D(w, d.stats, fake, y)
        return -(jnp.log(real) + jnp.log(1 - made)).sum() / B, stats

    def g_loss(w):
        made, stats = G(w, g.stats, z, one_hot(y))
        return -jnp.log(D(d.params, d.stats, made, y)[0]).sum() / B, stats

    def c_loss(w):
        e, stats = C(w, c.stats, x, kept)
        return -sum(jnp.log(row[k] / row.sum()) for row, k in zip(e, y, strict=True)) / B, stats

    mix = jnp.log(parts) / jnp.log(parts).sum(1)[:, None]
    made = oracle.mlp(g.params["net"]["net"], jnp.concatenate([resting(g, z_mix), mix], 1))
    taken = oracle.dense(c.params["net"]["Dense_0"], resting(c, made))
    wrong = [jnp.where(row.argmax() == part.argmax(), 0, heard) for row, part in zip(taken, mix, strict=True)]

    def open_loss(w):
        e, stats = C(w, c_open.stats, jnp.concatenate([x, made]), kept_open)
        p = e / e.sum(1)[:, None]
        total = sum(jnp.log(p[i, k]) for i, k in enumerate(y))
        total += sum(wrong[i] * jnp.log(p[B + i, K]) for i in range(B))
        return -total / (B + sum(wrong)), stats

    new = oracle.moved(oracle.adam, c_open, open_loss, CFG.c_lr)
    losses = (g, g_loss, CFG.g_lr), (d, d_loss, CFG.d_lr)
    g, d = (oracle.moved(oracle.adam, p, loss, lr, CFG.b1) for p, loss, lr in losses)
    later = jax.tree.map(lambda n, o: jnp.where(learns, n, o), new, c_open)
    return g, d, oracle.moved(oracle.adam, c, c_loss, CFG.c_lr), later, sum(wrong)


def test_step_is_the_paper_s(points):
    """Three steps, of which the second classifier learns in two, equal the loops in float64, some mixtures left out."""
    with jax.enable_x64(True):
        xs, ys = np.random.default_rng(0).normal(size=(3, B, 2)), np.int32([[0, 1, 2, 1], [2, 0, 1, 0], [2, 2, 1, 0]])
        start, end, _ = oracle.played(openmax, CFG, [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)])

        def theirs(heard=1.0):
            players, counts = oracle.started(start.g, start.d, start.c, start.c_open), []
            for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
                key = functools.partial(rng.at, start.key, t)
                of_z, of_mix = jax.random.split(key("mixtures"))
                noise = rng.normal(key("z"), (B, 2)), rng.normal(of_z, (B, 2)), rng.uniform(of_mix, (B, K), minval=1e-6)
                noise += rng.uniform(key("drop"), (B, 2)), rng.uniform(key("drop again"), (2 * B, 2))
                *players, n = paper(*players, noise, x, y, t >= 1, heard)
                counts.append(int(n))
            return list(players), counts

        players, counts = theirs()
        assert min(counts[1:]) > 0 and sum(counts[1:]) < 2 * B
        oracle.same([end.g, end.d, end.c, end.c_open], players)
        oracle.differ([end.g, end.d, end.c, end.c_open], theirs(heard=0.99)[0])


def test_mixtures_are_kept_where_c_sees_another_class(monkeypatch):
    """G shows the mixture itself; a C that reads it keeps none, one that always says 2 keeps all others."""
    cfg = dataclasses.replace(CFG, dataset="digits")
    shown = lambda net, params, stats, *given, train: (
        given[1] if len(given) == 2 and given[1] is not None else said(given[0]),
        stats,
    )
    monkeypatch.setattr(openmax, "forward", shown)
    state = openmax.State(0, None, *[oracle.Player({}, {}, 0, 0, 0)] * 4)
    said = lambda x: (x, x)
    x, y = openmax.unknown(cfg, state, jax.random.key(0), 200)
    np.testing.assert_allclose(x.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(x.mean(0), 1 / K, atol=0.05)
    np.testing.assert_allclose(x.var(0), (1 / K) * (1 - 1 / K) / (K + 1), rtol=0.4)  # Dirichlet's, of ones
    assert (y == -1).all()
    said = lambda x: (jnp.zeros_like(x).at[:, 2].set(1), x)
    x, y = openmax.unknown(cfg, state, jax.random.key(0), 200)
    np.testing.assert_array_equal(y, np.where(x.argmax(1) == 2, -1, K))


def test_what_is_trained_on_and_what_is_tested():
    """The last classes are not trained on; the test split has all."""
    setup = openmax.setup(openmax.PRESETS["tiny"])
    assert set(setup.source.whole()["y"]) == set(range(6)) and set(setup.source.test.whole()["y"]) == set(range(10))


def test_sizes():
    """`paper`: of 28x28 with z 100 and six labels; levels of 14, 7 and 4; D has six more channels of input."""
    cfg = openmax.PRESETS["paper"]
    source = data.Source("digits", {"x": data.Field((28, 28, 1), "image"), "y": data.label(10)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name: source)
        G, D, C, C_open, *_ = openmax.build(cfg)
    y, x = jnp.zeros(1, int), jnp.zeros((1, 28, 28, 1))
    count = lambda net, *given: sum(
        a.size for a in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), *given)["params"])
    )
    of_g = 106 * 16 * 256 + 2 * 256 + 16 * (256 * 128 + 128 * 64 + 64) + 2 * (128 + 64) + 1
    assert count(G, jnp.zeros((1, 100)), y) == of_g
    assert count(D, x, y) == 16 * (7 * 64 + 64 * 128 + 128 * 256) + 64 + 2 * (128 + 256) + 16 * 256 + 1
    of_c = 16 * (32 + 32 * 64 + 64 * 128) + 32 + 2 * (64 + 128)
    assert count(C, x, jax.random.key(0)) == of_c + (16 * 128 + 1) * 6
    assert count(C_open, x, jax.random.key(0)) == of_c + (16 * 128 + 1) * 7


def test_a_classifier_that_never_learned_is_not_measured():
    for steps, ways in ((1, {"softmax", "openmax"}), (2, {"softmax", "openmax", "g-openmax"})):
        cfg = dataclasses.replace(openmax.PRESETS["tiny"], steps=steps, after=1)
        source, key = openmax.setup(cfg).source, jax.random.key(0)
        state = jax.eval_shape(functools.partial(openmax.init, cfg), key)
        splits = (part.whole() for part in (source, source.test))
        found = jax.eval_shape(functools.partial(openmax.measure, cfg), state, key, *splits)
        assert {name.partition("/")[0] for name in found if "/" in name} == ways


def test_another_set_is_unknown():
    """With no class held out all are trained on; F is measured up to all classes of the other set."""
    cfg = dataclasses.replace(openmax.PRESETS["tiny"], dataset="digits", held_out=0, unknown="digits")
    source, key = openmax.setup(cfg).source, jax.random.key(0)
    assert set(source.whole()["y"]) == set(range(10)) and source.test.classes == 20
    state = jax.eval_shape(functools.partial(openmax.init, cfg), key)
    splits = (part.whole() for part in (source, source.test))
    found = jax.eval_shape(functools.partial(openmax.measure, cfg), state, key, *splits)
    assert sum(name.startswith("softmax/F at") for name in found) == 11
