"""The step of slicing against the game in plain loops, gates of the recurrent unit and all, and what its measure says."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.sequences import slicing
from gan_jax import UserError, data
from gan_jax.game import rng

B, M, Z, DAYS = 2, 3, 2, 7
CFG = dataclasses.replace(slicing.PRESETS["tiny"], batch_size=B, draws=M, z_dim=Z, near=0.7, g_lr=0.01, d_lr=0.03)
PLACES = 2


def read(p, days):
    """A gated recurrent unit, a day after the other: h = (1 - u) n + u h."""
    h = jnp.zeros((len(days), p["hn"]["bias"].size))
    for i in range(days.shape[1]):
        x = days[:, i]
        reset = oracle.sigmoid(oracle.dense(p["ir"], x) + h @ p["hr"]["kernel"])
        update = oracle.sigmoid(oracle.dense(p["iz"], x) + h @ p["hz"]["kernel"])
        new = jnp.tanh(oracle.dense(p["in"], x) + reset * oracle.dense(p["hn"], h))
        h = (1 - update) * new + update * h
    return h


def about(past):
    """Return the mean of the hours [b, 1], and the place of two as 0 and 1."""
    return past[..., 0].mean(1, keepdims=True), lambda y: jnp.stack([1.0 * (y == k) for k in range(PLACES)], 1)


def G(p, past, y, z):
    level, place = about(past)
    days = (past[..., 0] - level).reshape(len(past), DAYS, 24)
    said = jnp.concatenate([read(p["GRUCell_0"], days), days[:, -1], days[:, -7], place(y), level, z], 1)
    hidden = jnp.maximum(oracle.dense(p["Dense_0"], said), 0)
    return (oracle.dense(p["Dense_1"], jnp.concatenate([hidden, said], 1)) + level)[..., None]


def D(p, past, y, x):
    level, place = about(past)
    days = (jnp.concatenate([past, x], 1)[..., 0] - level).reshape(len(past), DAYS + 1, 24)
    said = jnp.concatenate([read(p["GRUCell_0"], days), days[:, -1], place(y), level], 1)
    return oracle.perceptron([p["Dense_0"], p["Dense_1"]], said)[:, 0]


@jax.jit
def updated(g, d, past, y, x, z, each):
    """D sees all draws of a row; G fools it, and the mean of a row's draws (or each of them) is near what followed."""
    log_sigmoid = lambda s: jnp.log(oracle.sigmoid(s))
    zs = jnp.stack([z[i::M] for i in range(M)])  # the draws of a row stand one behind the other
    draws = lambda w: jax.vmap(lambda z: G(w, past, y, z))(zs)  # [draws, b, 24, 1]
    seen = lambda w, fakes: jax.vmap(lambda fake: log_sigmoid(D(w, past, y, fake)))(fakes)
    unseen = lambda w, fakes: jax.vmap(lambda fake: log_sigmoid(-D(w, past, y, fake)))(fakes)
    fakes = draws(g.params)
    d_loss = lambda w: (-log_sigmoid(D(w, past, y, x)).mean() - unseen(w, fakes).mean(), {})
    d = oracle.moved(oracle.adam, d, d_loss, CFG.d_lr, CFG.b1)

    def g_loss(w):
        fakes = draws(w)
        of_mean, of_each = ((sum(fakes) / M - x) ** 2).mean(), sum(((fake - x) ** 2).mean() for fake in fakes) / M
        return -seen(d.params, fakes).mean() + CFG.near * jnp.where(each, of_each, of_mean), {}

    return oracle.moved(oracle.adam, g, g_loss, CFG.g_lr, CFG.b1), d


def paper(start, batches, each=False):
    g, d = oracle.started(start.g, start.d)
    for t, batch in enumerate(batches):
        z = rng.normal(rng.at(start.key, t, "z"), (B * M, Z))
        g, d = updated(g, d, batch["past"], batch["y"], batch["x"], z, each)
    return [g, d]


def test_step_is_the_game():
    """Three steps equal it in float64; were each draw to be near, and not their mean, they would not."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        hours = lambda n: random.normal(size=(B, 24 * n, 1)) + 1
        y = np.array([0, 1], np.int32)
        batches = [{"past": hours(DAYS), "x": hours(1), "y": y} for _ in range(3)]
        start, end, _ = oracle.played(slicing, CFG, batches)
        oracle.same([end.g, end.d], paper(start, batches))
        oracle.differ([end.g, end.d], paper(start, batches, True))


def test_the_sizes_of_the_nets():
    """By the layers, of `paper`: a unit of 64 that reads days, and two layers."""
    cfg = dataclasses.replace(slicing.PRESETS["paper"], dataset="hourly_demand")  # two places
    state = jax.eval_shape(functools.partial(slicing.init, cfg), jax.random.key(0))
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p.params))
    unit, said = 3 * (24 * 64 + 64 * 64) + 4 * 64, 64 + 2 + 1
    assert count(state.g) == unit + (said + 48 + 16) * 128 + 128 + (128 + said + 48 + 16) * 24 + 24
    assert count(state.d) == unit + (said + 24) * 128 + 128 + 128 + 1


@pytest.fixture(scope="module")
def days():
    """Training and held-out days of two places on which the same hours of a week ago are right but for a known error."""
    random, source = np.random.default_rng(0), data.load("hourly_demand")
    assert source.classes == PLACES
    past = random.normal(size=(400, 24 * DAYS, 1)).astype(np.float32)
    error = np.tile(np.float32([-0.3, 0.1]), 200)
    return {"past": past, "x": past[:, :24] + error[:, None, None], "y": np.zeros(400, np.int32)}


def test_forecasts_by_what_was_seen_before(days, monkeypatch):
    """A week ago misses by -0.3 or 0.1, and its quantiles are these; yesterday's spread far more; G draws with noise."""
    monkeypatch.setattr(
        slicing, "drawn", lambda cfg, state, key, past, y: past[:, :24] + 5 * rng.normal(key, (len(y), 1, 1))
    )
    train, test = ({k: a[of] for k, a in days.items()} for of in (slice(0, 300), slice(300, 304)))
    found = jax.jit(functools.partial(slicing.forecasts, CFG))(None, jax.random.key(0), train, test)
    assert {x.shape for x in found.values()} == {(4, slicing.FORECASTS, 24)} and len(found) == 4
    of = np.asarray(found["week"])[1] - test["past"][1, :24, 0][None]
    np.testing.assert_allclose(of[[0, 20, 40, -1]], np.tile([[-0.3], [-0.3], [0.1], [0.1]], 24), atol=1e-4)
    assert np.asarray(found["yesterday"])[1].std(0).mean() > 0.8
    g = np.asarray(found["g"]) - test["past"][:, None, :24, 0]
    assert (np.abs(g - g[..., :1]).max() < 1e-4) and np.abs(g.std(1) - 5).max() < 1.5


def test_a_history_of_less_than_a_week():
    """What is called a week ago would silently be another day."""
    with pytest.raises(UserError, match="--history is 5; it must be a week or more"):
        slicing.setup(dataclasses.replace(slicing.PRESETS["tiny"], history=5))
