"""medGAN's step against the authors' loop, row by row, its nets' sizes, and what it measures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.tables import medgan
from gan_jax import UserError, data
from gan_jax.game import rng

B, N, SIZE, Z = 3, 2, 5, 4
CFG = dataclasses.replace(
    medgan.PRESETS["tiny"], dataset="small", batch_size=B, d_steps=N, pretrain=2, z_dim=Z, width=6
)
CFG = dataclasses.replace(CFG, l2=0.3, lr=0.01)


@pytest.fixture
def small(monkeypatch):
    """A set of rows of five numbers."""
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, {"x": data.Field((SIZE,), "row")}))


def squares(params):
    return sum((leaf**2).sum() for leaf in jax.tree.leaves(params))


def decoded(r, code):
    return oracle.sigmoid(oracle.dense(r["Dense_0"], code))


def coded(g, stats, z, train):
    """G: three layers, each added to what it saw, the last through tanh."""
    new, moments = {}, stats["batch_stats"]
    for i in range(3):
        name = f"BatchNorm_{i}"
        y = z @ g[f"Dense_{i}"]["kernel"]
        if train:
            y, new[name] = oracle.batch_norm(g[name], moments[name], y, 0.99, 1e-3)
        else:
            row = lambda a: a.reshape(1, -1)
            y = (y - row(moments[name]["mean"])) / jnp.sqrt(row(moments[name]["var"]) + 1e-3)
            y = y * row(g[name]["scale"]) + row(g[name]["bias"])
        z = z + (jnp.tanh(y) if i == 2 else jnp.where(y > 0, y, 0))
    return z, {"batch_stats": new}


def chance(d, x):
    """D, row by row, beside the mean of the batch."""
    mean = sum(x) / len(x)
    rows = [oracle.perceptron([d[f"Dense_{i}"] for i in range(3)], jnp.concatenate([row, mean])) for row in x]
    return [oracle.sigmoid(row[0]) for row in rows]


@jax.jit
def learned(e, r, x):
    """E and R after an update: the cross-entropy of all numbers of a row."""

    def loss(params):
        total = 0.0
        for row in x:
            p = decoded(params[1], jnp.tanh(oracle.dense(params[0]["Dense_0"], row)))
            total -= (row * jnp.log(p) + (1 - row) * jnp.log(1 - p)).sum()
        return total / len(x) + CFG.l2 / 2 * squares(params)

    grads = jax.grad(loss)((e.params, r.params))
    return [oracle.adam(p, grad, CFG.lr) for p, grad in zip((e, r), grads, strict=True)]


@jax.jit
def played(r, g, d, x, zs, mean_in_training):
    """Two updates of D on new rows and noise, with G at its running statistics; then one of G and R."""
    for i in range(N):
        at_rest = decoded(r.params, coded(g.params, g.stats, zs[i], False)[0])
        trained = decoded(r.params, coded(g.params, g.stats, zs[i], True)[0])
        fakes = jnp.where(mean_in_training, trained, at_rest)

        def loss(w, fakes=fakes, i=i):
            real, made = chance(w, x[i::N]), chance(w, fakes)
            value = -sum(jnp.log(p) for p in real) / B - sum(jnp.log(1 - p) for p in made) / B
            return value + CFG.l2 / 2 * squares(w), {}

        d = oracle.moved(oracle.adam, d, loss, CFG.lr)

    def g_loss(params):
        code, stats = coded(params[0], g.stats, zs[N], True)
        made = chance(d.params, decoded(params[1], code))
        return -sum(jnp.log(p) for p in made) / B + CFG.l2 / 2 * squares(params), stats

    grads, stats = jax.grad(g_loss, has_aux=True)((g.params, r.params))
    return oracle.adam(r, grads[1], CFG.lr), oracle.adam(g, grads[0], CFG.lr, stats=stats), d


def paper(start, xs, mean_in_training=False):
    e, r, g, d = oracle.started(start.e, start.r, start.g, start.d)
    for t, x in enumerate(xs):
        if t < CFG.pretrain:
            e, r = learned(e, r, x)
            continue
        key = rng.at(start.key, t, "z")
        zs = [rng.normal(jax.random.fold_in(key, i), (B, Z)) for i in range(N + 1)]
        r, g, d = played(r, g, d, x, zs, mean_in_training)
    return [e, r, g, d]


@pytest.mark.long
def test_step_is_the_paper_s(small):
    """Five steps equal the authors' loop in float64; with G at its batch's statistics where D learns they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).integers(0, 2, (5, N * B, SIZE)).astype(float)
        start, end, _ = oracle.played(medgan, CFG, [{"x": x} for x in xs])
        oracle.same([end.e, end.r, end.g, end.d], paper(start, xs))
        oracle.differ([end.e, end.r, end.g, end.d], paper(start, xs, True))


def test_the_published_nets():
    """Of the authors' code, with 615 numbers a row: counted by hand."""
    cfg = dataclasses.replace(medgan.PRESETS["paper"], dataset="their 615")
    assert (cfg.z_dim, cfg.width, cfg.d_steps, cfg.l2, cfg.lr, cfg.batch_size) == (128, 256, 2, 1e-3, 1e-3, 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name: data.Source(name, {"x": data.Field((615,), "row")}))
        state = jax.eval_shape(functools.partial(medgan.init, cfg), jax.random.key(0))
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p.params))
    assert count(state.e) == 615 * 128 + 128 and count(state.r) == 128 * 615 + 615
    assert count(state.g) == 3 * (128 * 128 + 2 * 128)
    assert count(state.d) == 2 * 615 * 256 + 256 + 256 * 128 + 128 + 128 + 1


def test_rows_of_other_numbers():
    """Their cross-entropy would have no end."""
    with pytest.raises(UserError, match="garch_prices has rows of other numbers than 0 and 1"):
        medgan.setup(dataclasses.replace(CFG, dataset="garch_prices"))


def test_samples_are_records(small):
    """Of 0 and 1 alone, as the data are: the more probable of the two."""
    state = jax.jit(functools.partial(medgan.init, CFG))(jax.random.key(0))
    z = medgan.latent(CFG, jax.random.key(1), 20)
    p = decoded(state.r.params, coded(state.g.params, state.g.stats, z, False)[0])
    np.testing.assert_array_equal(medgan.sample(CFG, state, jax.random.key(1), 20), np.where(p > 0.5, 1, 0))
