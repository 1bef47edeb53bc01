"""MaliGAN's step against its formulas, token by token; its schedule, its nets and what it measures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.sequences import maligan
from gan_jax import UserError, data
from gan_jax.game import rng

TINY = maligan.PRESETS["tiny"]
B, N, T, V, W = 4, 2, 2, 8, 2  # two beginnings, from each of which two strings go on
CFG = dataclasses.replace(
    TINY, dataset="short", steps=5, batch_size=B, samples=N, mixed=0.5, calm=0.4, dim=2, width=W, g_lr=0.02, d_lr=0.03
)


def lstm(kernel, state, gates):
    c, h = state
    i, f, g, o = jnp.split(gates + h @ kernel, 4)
    c = oracle.sigmoid(f) * c + oracle.sigmoid(i) * jnp.tanh(g)
    return c, oracle.sigmoid(o) * jnp.tanh(c)


def one(layer, x):
    return oracle.dense(layer, x[None])[0]


def write(params, given, noise, kept):
    """Return log p of each token, and the tokens [t], of one string that keeps the first ones of `given`."""
    p, state, before = params["ScanToken_0"], jnp.split(params["start"], 2), 0
    logs, tokens = [], []
    for i in range(T):
        gates = one(p["Dense_0"], p["Embed_0"]["embedding"][before])
        state = lstm(p["Cell_0"]["Dense_0"]["kernel"], state, gates)
        logits = one(p["Dense_1"], state[1])
        before = jnp.where(i < kept, given[i], (logits + noise[i]).argmax())
        logs.append(logits[before] - jnp.log(jnp.exp(logits).sum()))
        tokens.append(before)
    return jnp.stack(logs), jnp.stack(tokens)


def chance(params, x):
    ends = []
    for k, way in enumerate((list(x), list(x)[::-1])):
        state = jnp.zeros(W), jnp.zeros(W)
        for token in way:
            gates = one(params[f"Dense_{k}"], params["Embed_0"]["embedding"][token])
            state = lstm(params[f"ScanCell_{k}"]["Dense_0"]["kernel"], state, gates)
        ends.append(state[1])
    return oracle.sigmoid(one(params["Dense_2"], jnp.concatenate(ends))[0])


@jax.jit
def by_likelihood(g, x):
    loss = lambda params: -jax.vmap(lambda row: write(params, row, jnp.zeros((T, V)), T)[0])(x).sum() / B
    return oracle.adam(g, jax.grad(loss)(g.params), CFG.g_lr)


@jax.jit
def by_game(g, d, x, noise, kept, baseline, of_batch, lr):
    """G and D after a step; of_batch: weights are over all samples."""
    starts = jnp.stack([x[i // N] for i in range(B)])
    written = lambda params: jax.vmap(lambda start, noise: write(params, start, noise, kept))(starts, noise)
    chances = lambda params, rows: jax.vmap(lambda row: chance(params, row))(rows)
    made = written(g.params)[1]
    d_loss = lambda params: -(jnp.log(chances(params, x)) + jnp.log(1 - chances(params, made))).sum() / B
    d = oracle.adam(d, jax.grad(d_loss)(d.params), CFG.d_lr)
    p = chances(d.params, made)
    r = p / (1 - p)
    sums = [jnp.where(of_batch, sum(r), (r[i // N * N] + r[i // N * N + 1]) * B / N) for i in range(B)]

    def g_loss(params):
        total, (logs, _) = 0.0, written(params)
        for i in range(B):
            for k in range(T):
                total -= logs[i, k] * jnp.where(k < kept, 1 / B, r[i] / sums[i] - baseline / B)
        return total

    return oracle.adam(g, jax.grad(g_loss)(g.params), lr), d


def paper(start, xs, mixed=True):
    g, d = oracle.started(start.g, start.d)
    for t, x in enumerate(xs):
        if t == 0:
            g = by_likelihood(g, x)
            continue
        u = jnp.clip(rng.uniform(rng.at(start.key, t, "gumbel"), (B, T, V)), 1e-6, 1 - 1e-6)
        kept, baseline = (None, 2, 1, 0)[t], (t - 1) / 4
        lr = CFG.g_lr * (CFG.slower if t >= 2 else 1)  # after 0.4 of five steps
        g, d = by_game(g, d, x, -jnp.log(-jnp.log(u)), kept, baseline, kept == 0 or not mixed, lr)
    return g, d


@pytest.fixture
def short(monkeypatch):
    """Strings of two tokens."""
    source = data.load("expressions")
    field = dataclasses.replace(source.fields["x"], shape=(T,))
    monkeypatch.setitem(data.DATASETS, "short", lambda name: dataclasses.replace(source, fields={"x": field}))


def test_step_is_the_formulas_s(short):
    """A step of likelihood, and three that keep 2, 1 and no tokens, in float64; with weights over all they'd differ."""
    xs = data.load("expressions").whole()["x"][: 4 * B, :T].reshape(4, B, T)
    with jax.enable_x64(True):
        start, end, found = oracle.played(maligan, CFG, [{"x": x} for x in xs])
        oracle.same((end.g, end.d), paper(start, xs), rtol=1e-7, atol=1e-10)
        oracle.differ(end.g, paper(start, xs, False)[0], rtol=1e-5)
        assert 1 < found["effective"] <= B and found["kept"] == 0


@pytest.mark.parametrize(
    "t, mixed, expected",
    [
        (0, 0.5, (12, 0)),
        (500, 0.5, (12, 0)),
        (625, 0.5, (6, 0.25)),
        (749, 0.5, (1, 0.498)),
        (750, 0.5, (0, 0.5)),
        (1000, 0.5, (0, 1)),
        (625, 0.0, (0, 0.25)),
    ],
)
def test_how_many_tokens_are_kept(t, mixed, expected):
    """All, then fewer along a straight line, then none; the baseline grows from 0 to 1 all the way."""
    cfg = dataclasses.replace(maligan.PRESETS["default"], mixed=mixed)
    assert (cfg.steps, cfg.mle) == (1000, 500)
    found = maligan.schedule(cfg, jnp.int32(t), 12)
    np.testing.assert_allclose([float(one) for one in found], expected, rtol=1e-6)


@pytest.fixture(scope="module")
def state():
    return jax.jit(functools.partial(maligan.init, TINY))(jax.random.key(3))


def test_log_p_is_of_a_distribution(state):
    """All 8^2 strings of two tokens have probabilities that sum up to 1, and samples come by them."""
    params = jax.tree.map(lambda p: 3 * p, state.g.params)
    x = jnp.stack(jnp.meshgrid(jnp.arange(V), jnp.arange(V), indexing="ij"), -1).reshape(-1, 2).astype(jnp.int32)
    p = np.exp(np.asarray(maligan.log_p(TINY, params, x).sum(1), np.float64))
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
    made = jax.jit(lambda key: maligan.drawn(TINY, params, key, 2000))(jax.random.key(0))
    assert oracle.chi_square_is_small(np.bincount(made[:, 0] * V + made[:, 1], minlength=V**2), 2000 * p)


def test_what_is_measured_is_exact(state):
    """Likelihood and mass of an untrained G are those of its probabilities, before and after the game alike."""
    source = data.load("expressions")
    found = jax.jit(functools.partial(maligan.measure, TINY))(
        state, jax.random.key(0), source.whole(), source.test.whole()
    )
    held = source.test.whole()["x"]
    log_p = np.asarray(maligan.log_p(TINY, state.g.params, held), np.float64)
    np.testing.assert_allclose(found["perplexity/gan"], np.exp(-log_p[held != 0].mean()), rtol=1e-4)
    assert found["perplexity/gan"] == found["perplexity/likelihood"] and 0 < found["mass/gan"] < 1e-3
    assert found["kl/gan"] > 10 and found["overlap4/data"] > 0.99 > found["overlap4/gan"]


def test_a_batch_that_is_no_multiple_of_the_samples():
    """One line that says what to change."""
    with pytest.raises(UserError, match="multiple of --samples, 4"):
        maligan.setup(dataclasses.replace(TINY, batch_size=6, samples=4))
