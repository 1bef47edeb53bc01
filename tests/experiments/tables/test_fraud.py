"""The fraud game's step against plain loops, row by row; its splits; and what it measures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.tables import fraud
from gan_jax import UserError, data
from gan_jax.data.composed import of_arrays
from gan_jax.game import rng

B, SIZE, N = 4, 5, 40
CFG = dataclasses.replace(fraud.PRESETS["tiny"], dataset="small", batch_size=B, pretrain=2, z_dim=3, width=6)
CFG = dataclasses.replace(CFG, made=0.7, l2=0.3, lr=0.01)
LAYERS = {"e": 1, "r": 1, "g": 2, "d": 1}  # hidden ones


@pytest.fixture
def small(monkeypatch):
    """A set of 40 rows of five numbers, of which eight are of class 0, the rarest."""
    generator = np.random.default_rng(0)
    raw = {"x": generator.normal(size=(N, SIZE)).astype(np.float32), "y": (np.arange(N) % 5 > 0).astype(np.int32)}
    source = of_arrays("small", {"x": data.Field((SIZE,), "row"), "y": data.label(2)}, raw)
    monkeypatch.setattr(data, "load", lambda name: source)
    return source


def net(name, params, row):
    return oracle.mlp(params, row, LAYERS[name])


def chances(d, code):
    """D's three probabilities of one code."""
    up = jnp.exp(net("d", d, code))
    return up / up.sum()


@jax.jit
def learned(e, r, x, kept):
    """E and R after an update: the mean square of what is restored."""

    def loss(params):
        restored = [net("r", params[1], net("e", params[0], row * k)) for row, k in zip(x, kept, strict=True)]
        return sum(((a - row) ** 2).sum() for a, row in zip(restored, x, strict=True)) / (B * SIZE)

    grads = jax.grad(loss)((e.params, r.params))
    return [oracle.adam(p, grad, CFG.lr) for p, grad in zip((e, r), grads, strict=True)]


@jax.jit
def played(e, g, d, x, z, frauds, of_all):
    """G and D after an update, by what both were; frauds: 1 for a row that is one. of_all: the planted bug."""
    made = [net("g", g.params, row) for row in z]

    def g_loss(params):
        return -sum(jnp.log(chances(d.params, net("g", params, row))[1]) for row in z) / B, {}

    def d_loss(params):
        said = [jnp.log(chances(params, net("e", e.params, row))) for row in x]
        value = 0.0
        for kind in (0, 1):
            of = [frauds[i] if kind else 1 - frauds[i] for i in range(B)]
            count = jnp.where(of_all, B, jnp.maximum(sum(of), 1))
            value -= sum(weight * log_p[kind] for weight, log_p in zip(of, said, strict=True)) / count
        value -= CFG.made * sum(jnp.log(chances(params, code)[2]) for code in made) / B
        return value + CFG.l2 / 2 * sum((leaf**2).sum() for leaf in jax.tree.leaves(params)), {}

    return oracle.moved(oracle.adam, g, g_loss, CFG.lr), oracle.moved(oracle.adam, d, d_loss, CFG.lr)


def paper(start, xs, ys, of_all=False):
    e, r, g, d = oracle.started(start.e, start.r, start.g, start.d)
    for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
        key = functools.partial(rng.at, start.key, t)
        if t < CFG.pretrain:
            e, r = learned(e, r, x, rng.uniform(key("damage"), x.shape) >= CFG.damage)
        else:
            g, d = played(e, g, d, x, rng.normal(key("z"), (B, CFG.z_dim)), (y == 0).astype(float), of_all)
    return [e, r, g, d]


def test_step_is_ours_in_loops(small):
    """Four steps in float64, of a batch with one fraud and of one without; were kinds not weighed alike, it would show."""
    ys = np.array([[0, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]])
    with jax.enable_x64(True):
        xs = np.random.default_rng(1).normal(size=(4, B, SIZE))
        batches = [{"x": jnp.asarray(x), "y": y} for x, y in zip(xs, ys, strict=True)]
        start, end, metrics = oracle.played(fraud, CFG, batches)
        oracle.same([end.e, end.r, end.g, end.d], paper(start, xs, ys))
        oracle.differ([end.e, end.r, end.g, end.d], paper(start, xs, ys, True))
        assert 0 < metrics["p/fake"] < 1 and metrics["loss/reconstruction"] == 0


def test_held_out_records_are_never_trained_on(small):
    """Half of both kinds is held out, another half by another seed; the rest comes in batches, with `few` of its frauds."""
    source, every = data.redealt(small, 0.5, 3), {}
    dealt = jax.jit(lambda key: data.dealt(small, key, 0.5, 3))
    pick = jax.jit(lambda key, i: source.pick(key, i, source.n))
    assert source.n == 19 and source.test.n == N
    for seed in range(2):
        known, held = every[seed] = dealt(jax.random.key(seed))
        assert [len(side) for side in (*known, *held)] == [3, 16, 4, 16]
        assert len(np.unique(np.concatenate([*known, *held]))) == 39
        rows = [np.asarray(pick(jax.random.key(seed), i)) for i in range(2)]
        assert all(sorted(row) == sorted(np.concatenate(known)) for row in rows) and (rows[0] != rows[1]).any()
        assert all((small.whole()["y"][np.asarray(part[i])] == i).all() for part in (known, held) for i in range(2))
    assert set(every[0][1][1].tolist()) != set(every[1][1][1].tolist())
    assert len(data.redealt(small, 0.5).whole()["x"]) == N and data.redealt(small, 0.5).n == 20


def test_a_split_that_can_t_be_drawn(small):
    """It says why, before anything is trained."""
    with pytest.raises(UserError, match=r"small: 0.01 of 8 records of a class leaves none of it on one side"):
        data.redealt(small, 0.01)
    with pytest.raises(UserError, match="has no records of two classes"):
        data.rarest(of_arrays("one", small.fields, {"x": np.zeros((3, SIZE)), "y": np.ones(3, int)}))


def test_scores_are_of_records_that_were_held_out(small):
    """D's precision is that of the difference of its log probabilities, by sklearn, on the rows of this state's key."""
    from sklearn.metrics import average_precision_score

    state = jax.jit(functools.partial(fraud.init, CFG))(jax.random.key(3))
    raw = small.whole()
    found = jax.jit(functools.partial(fraud.measure, CFG))(state, jax.random.key(0), raw, raw)
    _, held = data.dealt(small, state.key, CFG.held)
    rows = np.concatenate(held)
    x, y = (raw["x"][rows] - raw["x"].mean(0)) / raw["x"].std(0), raw["y"][rows] == 0
    code = net("e", state.e.params, x)
    said = net("d", state.d.params, code)
    errors = ((net("r", state.r.params, code) - x) ** 2).mean(1)
    for name, score in {"d": said[:, 1] - said[:, 0], "autoencoder": errors}.items():
        np.testing.assert_allclose(found[f"{name}/precision"], average_precision_score(y, score), rtol=1e-5)
    assert found["share"] == pytest.approx(0.2) and found["frauds"].x.shape == (2, 4, SIZE)
    np.testing.assert_allclose(found["frauds"].x[0], x[:4], rtol=1e-4, atol=1e-5)
