"""The Gumbel-softmax GAN's step against its formulas, token by token; its temperature and what it measures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.sequences import gumbel
from gan_jax import data
from gan_jax.game import rng
from gan_jax.metrics import texts

TINY = gumbel.PRESETS["tiny"]
B, T, V, W = 2, 2, 8, 2  # one pack of two
CFG = dataclasses.replace(
    TINY,
    dataset="short",
    steps=6,
    annealed=0.5,
    batch_size=B,
    pack=2,
    width=W,
    warm=3.0,
    cold=0.7,
    noise=0.4,
    g_lr=0.02,
)


def lstm(kernel, state, gates):
    c, h = state
    i, f, g, o = jnp.split(gates + h @ kernel, 4)
    c = oracle.sigmoid(f) * c + oracle.sigmoid(i) * jnp.tanh(g)
    return c, oracle.sigmoid(o) * jnp.tanh(c)


def one(layer, x):
    return oracle.dense(layer, x[None])[0]


def write(params, z, noise, tau, hard):
    """Return the tokens [t, v] of one string: soft ones, or (hard = 1) the largest with their gradient."""
    p, state, before, found = params["ScanSoft_0"], (z[:W], z[W:]), jnp.zeros(V), []
    for row in noise:
        state = lstm(p["Cell_0"]["Dense_0"]["kernel"], state, one(p["Dense_0"], before))
        e = jnp.exp((one(p["Dense_1"], state[1]) + row) / tau)
        soft = e / e.sum()
        before = soft + hard * jax.lax.stop_gradient(jnp.eye(V)[soft.argmax()] - soft)
        found.append(before)
    return jnp.stack(found)


def score(params, xs):
    """Return the score of one pack of strings [b, t, v], whose tokens stand side by side."""
    params, x = params["net"], jnp.concatenate(list(xs), axis=-1)
    state = jnp.zeros(W), jnp.zeros(W)
    for token in x:
        state = lstm(params["ScanCell_0"]["Dense_0"]["kernel"], state, one(params["Dense_0"], token))
    return one(params["Dense_1"], state[1])[0]


@jax.jit
def updated(g, d, x, z, noise, blur, tau, sigma, hard):
    """G and D after one step. noise [b, t, v], blur: normal numbers [2, b, t, v], of reals and of fakes."""
    fakes = lambda params: jnp.stack([write(params, z[i], noise[i], tau, hard) for i in range(B)])
    chance = lambda params, x, blur: oracle.sigmoid(score(params, x + sigma * blur))
    g_loss = lambda params: -jnp.log(chance(d.params, fakes(params), blur[1]))
    made = fakes(g.params)
    d_loss = lambda params: -jnp.log(chance(params, x, blur[0])) - jnp.log(1 - chance(params, made, blur[1]))

    grads = jax.grad(g_loss)(g.params), jax.grad(d_loss)(d.params)
    adam = functools.partial(oracle.adam, b1=CFG.b1)
    return adam(g, grads[0], CFG.g_lr), adam(d, grads[1], CFG.d_lr)


def paper(start, batches, hard, annealed=True):
    (g, d), key = oracle.started(start.g, start.d), start.key
    for t, x in enumerate(batches):
        share = min(1, t / 3) * annealed
        drawn = rng.at(key, t, "g")
        z, noise = (
            rng.uniform(rng.at(drawn, 0, "z"), (B, 2 * W)) * 2 - 1,
            rng.uniform(rng.at(drawn, 0, "gumbel"), (B, T, V)),
        )
        blur = jnp.stack([rng.normal(rng.at(key, t, name), (B, T, V)) for name in ("real", "fake")])
        tau, sigma = 3.0 - 2.3 * share, 0.4 * (1 - share)
        g, d = updated(g, d, jnp.eye(V)[x], z, -jnp.log(-jnp.log(noise)), blur, tau, sigma, hard)
    return g, d


@pytest.fixture
def short(monkeypatch):
    """Strings of two tokens."""
    source = data.load("expressions")
    field = dataclasses.replace(source.fields["x"], shape=(T,))
    monkeypatch.setitem(data.DATASETS, "short", lambda name: dataclasses.replace(source, fields={"x": field}))


@pytest.mark.long
@pytest.mark.parametrize("hard", [True, pytest.param(False, marks=pytest.mark.long)])
def test_step_is_the_formulas_s(short, hard):
    """Four steps in float64, the last one at rest; without annealing, or with the other tokens, they would differ."""
    cfg = dataclasses.replace(CFG, hard=hard)
    xs = data.load("expressions").whole()["x"][:8, :T].reshape(4, B, T)
    with jax.enable_x64(True):
        start, end, found = oracle.played(gumbel, cfg, [{"x": x} for x in xs])
        oracle.same((end.g, end.d), paper(start, xs, hard), rtol=1e-5, atol=1e-8)
        oracle.differ((end.g, end.d), paper(start, xs, hard, False), rtol=1e-3)
        oracle.differ((end.g, end.d), paper(start, xs, not hard), rtol=1e-3)
    np.testing.assert_allclose(found["temperature"], 0.7, rtol=1e-6)


@pytest.mark.parametrize("t, expected", [(0, 5.0), (5000, 3.0), (10_000, 1.0), (15_000, 1.0)])
def test_the_temperature_falls_from_5_to_1_by_half_of_the_paper_s_steps(t, expected):
    """Along a straight line."""
    cfg = gumbel.PRESETS["paper"]
    assert (cfg.steps, cfg.batch_size, cfg.g_lr) == (20_000, 200, 1e-3)
    np.testing.assert_allclose(gumbel.temperature(cfg, jnp.int32(t)), expected, rtol=1e-6)


def test_sizes_of_the_nets():
    """LSTMs of 64 units on 8 tokens: counted by hand."""
    state = jax.eval_shape(functools.partial(gumbel.init, gumbel.PRESETS["paper"]), jax.random.key(0))
    count = lambda player: sum(leaf.size for leaf in jax.tree.leaves(player.params))
    assert count(state.g) == 4 * 64 * (8 + 1) + 4 * 64 * 64 + 64 * 8 + 8
    assert count(state.d) == 4 * 64 * (8 + 1) + 4 * 64 * 64 + 64 + 1


def test_hard_tokens_where_logits_are_large():
    """At tau 1 a token is drawn from softmax(h): with G's last bias at log p, each token comes in the share p."""
    state = jax.jit(functools.partial(gumbel.init, TINY))(jax.random.key(0))
    p = np.float32([0.05, 0.05, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1])
    last = {"kernel": jnp.zeros((4, V)), "bias": jnp.log(p)}
    params = {"ScanSoft_0": state.g.params["ScanSoft_0"] | {"Dense_1": last}}
    at_rest = state._replace(step=jnp.int32(100), g=state.g._replace(params=params))
    x = jax.jit(functools.partial(gumbel.sample, TINY), static_argnums=2)(at_rest, jax.random.key(1), 256)
    assert oracle.chi_square_is_small(np.bincount(x.ravel(), minlength=V), p * x.size)


def test_what_is_measured_where_not_all_strings_are_known(monkeypatch):
    """Samples that are held-out strings are as perplexing as these, and all of their runs are there."""
    source = dataclasses.replace(data.load("expressions"), language=None)
    monkeypatch.setitem(data.DATASETS, "unknown", lambda name: source)
    train, test = source.whole(), source.test.whole()
    monkeypatch.setattr(gumbel, "HELD", 10)
    monkeypatch.setattr(gumbel, "sample", lambda cfg, state, key, n: test["x"][:10])
    found = gumbel.measure(dataclasses.replace(TINY, dataset="unknown"), None, None, train, test)
    assert found["overlap4/g"] == 1 > found["overlap4/data"] and found["distinct/g"] == found["distinct/data"]
    assert found["perplexity/g"] == found["perplexity/data"] == texts.bigram(train["x"], 8)(test["x"][:10])
    for preset in ("words", "molecules"):
        assert gumbel.PRESETS[preset].batch_size % gumbel.PRESETS[preset].pack == 0
