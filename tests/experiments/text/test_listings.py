"""Listings: both phases of the step against the formulas word by word, and what is measured."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.text import listings
from gan_jax import UserError, data
from gan_jax.data.tokens import UNK
from gan_jax.game import rng

TINY = listings.PRESETS["tiny"]
CFG = dataclasses.replace(
    TINY,
    dataset="short phrases",
    mle=1,
    batch_size=2,
    dim=2,
    width=2,
    adversarial=0.7,
    feedback=0.4,
    likelihood=0.3,
    tau=0.8,
    g_lr=1e-2,
)
WORDS, LENGTH = 22, 3


def lstm(kernel, state, gates):
    c, h = state
    i, f, g, o = jnp.split(gates + h @ kernel, 4)
    c = oracle.sigmoid(f) * c + oracle.sigmoid(i) * jnp.tanh(g)
    return c, oracle.sigmoid(o) * jnp.tanh(c)


def log_softmax(logits):
    return logits - jnp.log(jnp.exp(logits).sum())


def write(params, y, given, tau=None):
    """Return log p of each word [t, v] of one text, and its words [t, v], given ones or those that noise draws."""
    p, one = params["ScanWord_0"], lambda layer, x: oracle.dense(layer, x[None])[0]
    start, before, found = one(params["Dense_0"], jnp.eye(2)[y]), jnp.zeros(WORDS), []
    state = start[: CFG.width], start[CFG.width :]
    for row in given:
        state = lstm(p["Cell_0"]["Dense_0"]["kernel"], state, one(p["Dense_0"], before @ p["Dense_1"]["kernel"]))
        logits = one(p["Dense_2"], state[1])
        before = row
        if tau:
            lot = jnp.where(jnp.arange(WORDS) == UNK, -jnp.inf, logits + row)
            soft = jnp.exp(log_softmax(lot / tau))
            before = soft + jax.lax.stop_gradient(jnp.eye(WORDS)[lot.argmax()] - soft)
        found.append((log_softmax(logits), before))
    return [jnp.stack(of) for of in zip(*found, strict=True)]


def score(params, words, y):
    state = jnp.zeros(CFG.width), jnp.zeros(CFG.width)
    for word in words:
        seen = jnp.concatenate([word @ params["Dense_0"]["kernel"], jnp.eye(2)[y]])
        state = lstm(params["ScanCell_0"]["Dense_0"]["kernel"], state, oracle.dense(params["Dense_1"], seen[None])[0])
    return oracle.dense(params["Dense_2"], state[1][None])[0, 0]


def missed(params, words, y):
    """Minus log p of the label under the bag of words."""
    return -log_softmax(oracle.dense(params["Dense_0"], words.sum(0)[None])[0])[y]


def sp(x):
    return jnp.log1p(jnp.exp(x))


def unlikely(params, x, y):
    return -sum((x[i] * write(params, y[i], x[i])[0]).sum() for i in range(2)) / (2 * LENGTH)


@jax.jit
def by_likelihood(g, x, y):
    return oracle.adam(g, jax.grad(unlikely)(g.params, x, y), CFG.g_lr)


@jax.jit
def by_game(g, d, c, x, y, noise, feedback):
    def g_loss(params):
        fakes = [write(params, y[i], noise[i], CFG.tau)[1] for i in range(2)]
        each = [CFG.adversarial * sp(-score(d.params, fakes[i], y[i])) for i in range(2)]
        each += [feedback * missed(c.params, fakes[i], y[i]) for i in range(2)]
        return sum(each) / 2 + CFG.likelihood * unlikely(params, x, y), fakes

    grads, fakes = jax.grad(g_loss, has_aux=True)(g.params)
    d_loss = lambda params: (
        sum(sp(-score(params, x[i], y[i])) + sp(score(params, fakes[i], y[i])) for i in range(2)) / 2
    )
    return oracle.adam(g, grads, CFG.slower * CFG.g_lr), oracle.adam(d, jax.grad(d_loss)(d.params), CFG.d_lr)


@jax.jit
def by_labels(c, x, y):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, Algorithm 2)."""
    grads = jax.grad(lambda params: sum(missed(params, x[i], y[i]) for i in range(2)) / 2)(c.params)
    new = oracle.adam(c, grads, CFG.c_lr)
    return new._replace(params=jax.tree.map(lambda n, p: n - CFG.c_lr * CFG.decay * p, new.params, c.params))


def test_step_is_the_formulas_s(monkeypatch):
    """A step of likelihood and two of the game in float64; with C's answer left out it would not be."""
    raw, source = data.load("phrases").whole(), data.load("phrases")
    field = dataclasses.replace(source.fields["x"], shape=(LENGTH,))
    short = dataclasses.replace(source, fields=source.fields | {"x": field})
    monkeypatch.setitem(data.DATASETS, CFG.dataset, lambda name: short)
    batches = [{"x": raw["x"][i : i + 2, 3 : 3 + LENGTH], "y": raw["y"][i : i + 2]} for i in (0, 2, 4)]
    with jax.enable_x64(True):
        start, end, _ = oracle.played(listings, CFG, batches)

        def theirs(feedback):
            g, d, c = oracle.started(start.g, start.d, start.c)
            for t, batch in enumerate(batches):
                x, y = jnp.eye(WORDS)[batch["x"]], batch["y"]
                if t == 0:
                    g = before = by_likelihood(g, x, y)
                else:
                    u = jnp.clip(rng.uniform(rng.at(start.key, t, "gumbel"), (2, LENGTH, WORDS)), 1e-6, 1 - 1e-6)
                    g, d = by_game(g, d, c, x, y, -jnp.log(-jnp.log(u)), feedback)
                c = by_labels(c, x, y)
            return (g, d, c), before.params

        found = (end.g, end.d, end.c), end.before
        oracle.same(found, theirs(CFG.feedback), rtol=1e-7, atol=1e-10)
        oracle.differ(found[0][:1], theirs(0.0)[0][:1], rtol=1e-6)


@pytest.fixture(scope="module")
def state():
    return jax.jit(functools.partial(listings.init, TINY))(jax.random.key(3))


def test_words_are_drawn_by_their_probabilities(state):
    """The first word has, over many texts, the share that G's likelihood gives it, at any temperature of the gradient.

    None is a word that the vocabulary lacks.
    """
    cfg = dataclasses.replace(TINY, tau=0.3)
    G, *_ = listings.build(cfg)
    params = jax.tree.map(lambda p: 5 * p, state.g.params)
    draw = jax.jit(lambda key: listings.written(cfg, params, key, jnp.ones(2000, jnp.int32)))
    counts = np.bincount(draw(jax.random.key(0))[:, 0], minlength=WORDS)
    logits, _ = G.apply({"params": params}, jnp.ones(1, int), jnp.zeros((1, 1, WORDS)))
    p = np.delete(np.asarray(jax.nn.softmax(logits[0, 0]), np.float64), UNK)
    assert counts[UNK] == 0
    assert oracle.chi_square_is_small(np.delete(counts, UNK), 2000 * p / p.sum())


def test_wanted_places_are_booked_and_rated_well():
    """Both numbers reach their limits; a place without a rating is not wanted; a label y says it alone."""
    numbers = np.float32([[4.75, 5], [4.74, 50], [5, 4], [np.nan, 50]])
    assert listings.wanted(TINY, {"numbers": numbers}).tolist() == [1, 0, 0, 0]
    assert listings.wanted(TINY, {"numbers": numbers, "y": np.int32([0, 1, 1, 0])}).tolist() == [0, 1, 1, 0]


def test_a_text_of_which_nothing_says_what_is_wanted(monkeypatch):
    """One line that says what to give."""
    source = data.load("phrases")
    bare = dataclasses.replace(source, fields={"x": source.fields["x"]})
    monkeypatch.setitem(data.DATASETS, "bare", lambda name: bare)
    with pytest.raises(UserError, match="numbers=RATING"):
        listings.setup(dataclasses.replace(TINY, dataset="bare"))
    for of in ({"y": data.label(3)}, {"numbers": data.Field((3,), "row")}):  # a third class is neither
        odd = dataclasses.replace(source, fields=bare.fields | of)
        monkeypatch.setattr(data, "load", lambda name, odd=odd: odd)
        with pytest.raises(UserError, match="or a label y of two classes"):
            listings.setup(TINY)


def test_what_is_measured_is_of_texts_that_nobody_learned(state):
    """The judge ranks phrases nearly perfectly, since their words say the label; all numbers stand beside the data's."""
    source = data.load("phrases")
    found = jax.jit(functools.partial(listings.measure, TINY))(
        state, jax.random.key(0), source.whole(), source.test.whole()
    )
    assert found["judge"] > 0.95 and found["success/data"] > 0.9 and found["success_other/data"] < 0.1
    assert 2 < found["perplexity/data"] < 6 < found["perplexity/gan"] and found["copied/gan"] < 0.01
    np.testing.assert_allclose(found["perplexity/likelihood"], found["perplexity/gan"], rtol=0.2)  # untrained, both
    assert found["texts"].x.shape == (4, 8, 9)
