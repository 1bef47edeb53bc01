"""The step of returns against the papers' game, its nets in plain sums over days, and the risk that it says."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.sequences import returns
from gan_jax.game import rng

B, Z, DAYS = 3, 2, 7  # two blocks of kernel 2 see seven days
RATES = {"g_lr": 2**-7, "d_lr": 2**-5}  # a schedule is in float32, where these have no rounding
CFG = dataclasses.replace(returns.PRESETS["tiny"], steps=3, batch_size=B, blocks=2, ema=0.7, **RATES)
FALLEN = 1, 1, 0.5  # of the rates, in the three steps: they begin to fall after the first third


def net(p, x, t):
    """A day's sums over itself and the day `step` before; slopes; what each block says of the last t days is added."""
    total = 0.0
    for i, step in enumerate((0, 1, 2)):
        for j in range(2):
            layer = p[f"Block_{i}"][f"Causal_{j}"]["Conv_0"]
            taps = layer["kernel"]
            y = x @ taps[0] if step == 0 else x[:, :-step] @ taps[0] + x[:, step:] @ taps[1]
            y = y + layer["bias"].reshape(1, 1, -1)
            x = jnp.where(y >= 0, y, p[f"Block_{i}"][f"PReLU_{j}"]["negative_slope"] * y)
        total += oracle.dense(p[f"Dense_{i}"], x[:, -t:])
    return oracle.dense(p["Dense_3"], total)[..., 0]


def G(p, z, given, always):
    """The condition, and a 1, stand beside the noise of DAYS - 1 days before and of the first day; else 0."""
    days = []
    for i in range(z.shape[1]):
        known = jnp.concatenate([given, jnp.ones((len(z), 1))], 1)
        days.append(jnp.concatenate([z[:, i], jnp.where((i < DAYS) | always, known, 0)], 1))
    return net(p["Net_0"], jnp.stack(days, 1), z.shape[1] - DAYS + 1)[..., None]


def D(p, x, given):
    """The mean over days, before which there are zeros; the day t counts 1 / t."""
    days = [jnp.concatenate([x[:, i], given], 1) for i in range(DAYS)]
    scores = net(p["Net_0"], jnp.stack([0 * days[0]] * (DAYS - 1) + days, 1), DAYS)
    return sum(scores[:, t - 1] / t for t in range(1, DAYS + 1)) / sum(1 / t for t in range(1, DAYS + 1))


@jax.jit
def updated(g, d, x, given, z, rate, always):
    """D ascends log D(x) + log(1 - D(G(z))), G then log D(G(z)), of the same noise."""
    log_sigmoid = lambda s: jnp.log(oracle.sigmoid(s))
    fake = G(g.params, z, given, always)
    slope = lambda w, row, known: jax.grad(lambda row: D(w, row[None], known[None])[0])(row)
    penalty = lambda w: CFG.gamma / 2 * sum((slope(w, *of) ** 2).sum() for of in zip(x, given, strict=True)) / B
    d_loss = lambda w: (penalty(w) - (log_sigmoid(D(w, x, given)) + log_sigmoid(-D(w, fake, given))).mean(), {})
    d = oracle.moved(oracle.adam, d, d_loss, rate * CFG.d_lr, CFG.b1, CFG.b2)
    g_loss = lambda w: (-log_sigmoid(D(d.params, G(w, z, given, always), given)).mean(), {})
    return oracle.moved(oracle.adam, g, g_loss, rate * CFG.g_lr, CFG.b1, CFG.b2), d


def paper(start, batches, rates=FALLEN, always=False):
    """G, D, and the average of G's parameters after each of its updates."""
    (g, d), average = oracle.started(start.g, start.d), start.g.params
    for t, batch in enumerate(batches):
        z = rng.normal(rng.at(start.key, t, "z"), (B, 2 * DAYS - 1, Z))
        g, d = updated(g, d, batch["x"], batch["volatility"], z, rates[t], always)
        average = oracle.averaged(average, g.params, CFG.ema)
    return [g, d], average


def test_step_is_the_papers():
    """Three steps equal the game in float64, and what is sampled is their average.

    With a condition that is known on all days, or rates that don't fall, they would not.
    """
    with jax.enable_x64(True):
        draw = np.random.default_rng(0).normal
        batches = [{"x": draw(size=(B, DAYS, 1)), "volatility": draw(size=(B, 1))} for _ in range(3)]
        start, end, _ = oracle.played(returns, CFG, batches)
        players, average = paper(start, batches)
        oracle.same([end.g, end.d], players)
        oracle.differ([end.g, end.d], paper(start, batches, always=True)[0])
        oracle.differ([end.g, end.d], paper(start, batches, (1, 1, 1))[0])
        given, noise = batches[0]["volatility"], rng.normal(jax.random.key(1), (B, 2 * DAYS - 1, Z))
        drawn = returns.drawn(CFG, end, jax.random.key(1), given)
        np.testing.assert_allclose(drawn, G(average, noise, given, False), rtol=1e-9)
        assert not np.allclose(drawn, G(end.g.params, noise, given, False), rtol=1e-3)


def test_the_published_numbers():
    cfg = returns.PRESETS["paper"]
    assert (cfg.width, cfg.blocks, cfg.z_dim, cfg.g_lr, cfg.d_lr) == (80, 6, 3, 1e-4, 3e-4)
    assert cfg.falls == cfg.gamma == cfg.ema == 0
    state = jax.eval_shape(functools.partial(returns.init, dataclasses.replace(cfg, given="regime")), jax.random.key(0))
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p.params))
    assert (count(state.g), count(state.d)) == (206_815 + 80 * 4, 206_815 + 80 * 1)  # three regimes, and whether known


@pytest.mark.parametrize("given", ["volatility", "regime"])
def test_the_risk_of_a_day_is_that_of_its_condition(given, monkeypatch):
    """Of draws N(0, s^2) in deviations, s = 1 + volatility or 1 + regime: VaR is both times the normal quantile."""
    cfg = dataclasses.replace(CFG, given=given)
    nodes = jnp.asarray(jax.scipy.stats.norm.ppf((np.arange(2000) + 0.5) / 2000))

    def next_day(cfg, state, key, known):
        s = 1 + (known[:, 0] if given == "volatility" else known @ jnp.arange(3.0))
        return s[:, None] * nodes[None]

    monkeypatch.setattr(returns, "next_day", next_day)
    records = {"volatility": jnp.array([[0.5], [2.0], [0.0]]), "y": jnp.array([1, 2, 0])}
    records["deviation"] = jnp.array([[3.0], [0.2], [7.0]])
    s = records["deviation"][:, 0] * (1 + (records["volatility"][:, 0] if given == "volatility" else records["y"]))
    (var, es), (lower, _) = returns.risk(cfg, None, jax.random.key(0), records, (0.05, 0.01))
    np.testing.assert_allclose(lower, -2.3263 * s, rtol=2e-2)
    np.testing.assert_allclose(var, -1.6449 * s, rtol=5e-3)
    np.testing.assert_allclose(es, -2.0627 * s, rtol=1e-2)


@pytest.mark.long
def test_the_next_day_is_the_first_day_of_samples():
    """Of an untrained G, the spread and mean of `next_day`, and of the first day of windows on the same condition, agree."""
    state, other = (jax.jit(functools.partial(returns.init, CFG))(jax.random.key(i)) for i in (0, 3))
    state = state._replace(g_ema=other.g_ema)  # both are of the average
    given, n = jnp.array([[0.7]]), 4000
    many = returns.next_day(CFG, state, jax.random.key(1), given)[0]
    first = returns.drawn(CFG, state, jax.random.key(2), jnp.repeat(given, n, 0))[:, 0, 0]
    first = returns.source(CFG).row["x"].undo(first)
    np.testing.assert_allclose(many.std(), first.std(), rtol=0.05)
    np.testing.assert_allclose(many.mean(), first.mean(), atol=4 * float(first.std()) / n**0.5)
