"""GDAN: both phases of the step against the formulas word by word, what G draws, what D is asked, what is measured."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.text import gdan
from gan_jax import data
from gan_jax.data import tokens
from gan_jax.game import rng

TINY = gdan.PRESETS["tiny"]
CFG = dataclasses.replace(
    TINY, window=5, length=4, mle=1, batch_size=2, dim=2, width=2, words=9, generated=0.6, reinforce=0.7, clip=0.05
)
W = CFG.width


def rows():
    """Return the two batches: one text ends early, one question does; of `x` the questions must not matter."""
    context = np.int32([[12, 7, 4, 5, 9], [14, 8, 3, 2, 0], [6, 10, 4, 5, 11], [8, 6, 13, 7, 5]])
    span, x = np.int32([[1, 2], [0, 0], [4, 4], [2, 3]]), np.int32([[5, 12, 2, 0], [4, 8, 20, 3], [7] * 4, [9] * 4])
    of = lambda at: {"x": x[at], "context": context[at], "span": span[at]}
    return [{"labelled": of([0, 1]), "x": of([2, 3])}, {"labelled": of([1, 0]), "x": of([3, 2])}]


@jax.jit
def cell(kernel, state, gates):
    c, h = state
    i, f, g, o = jnp.split(gates + h @ kernel, 4)
    c = oracle.sigmoid(f) * c + oracle.sigmoid(i) * jnp.tanh(g)
    return c, oracle.sigmoid(o) * jnp.tanh(c)


def ways(dense, lstm, x):
    """Return the states [t, 2w] of one LSTM from the left and one from the right over x [t, d]."""
    gates, zero, sides = oracle.dense(dense, x), jnp.zeros(W), []
    for k, places in enumerate((range(len(x)), reversed(range(len(x))))):
        state, states = (zero, zero), {}
        for t in places:
            state = cell(lstm["kernel"][k], state, gates[t, 4 * W * k : 4 * W * (k + 1)])
            states[t] = state[1]
        sides.append(jnp.stack([states[t] for t in range(len(x))]))
    return jnp.concatenate(sides, 1)


@jax.jit
def shares(scores, there):
    """Return e^score over the sum of those that are there, a list."""
    e = [jnp.where(ok, jnp.exp(s), 0.0) for s, ok in zip(scores, there, strict=True)]
    return [one / sum(e) for one in e]


def answered(d, table, context, question, tag, kept, span):
    """Return log p of the first and the last word of one right answer."""
    vector = lambda token: table[token] * kept
    words = [vector(w) for w in question] + [d["tags"][tag]]
    there = [w > tokens.END for w in question] + [True]
    shared = [sum(((w == c) & (w > tokens.END)) for w in question) > 0 for c in context]
    read = ways(
        d["Dense_0"],
        d["ScanCells_0"],
        jnp.stack([jnp.append(vector(c), s) for c, s in zip(context, shared, strict=True)]),
    )
    asked = ways(d["Dense_1"], d["ScanCells_1"], jnp.stack(words))
    about = [sum(a * w for a, w in zip(shares(asked @ r, there), asked, strict=True)) for r in read]
    gated = jnp.stack([jnp.concatenate([r, r * a]) for r, a in zip(read, about, strict=True)])
    logits = jnp.tanh(oracle.dense(d["Dense_2"], gated)) @ d["Dense_3"]["kernel"]
    of = lambda k: jnp.stack(shares(logits[:, k], [c > tokens.END for c in context]))
    return jnp.log(of(0)[span[0]]) + jnp.log(of(1)[span[1]])


def spoken(g, table, context, span, word_at):
    """Return (the words of one question, log p of each); word_at: (place, word before, {way: p}) -> the word there."""
    inside = [(span[0] <= k) & (k <= span[1]) for k in range(len(context))]
    read = ways(
        g["Dense_0"],
        g["ScanCells_0"],
        jnp.stack([jnp.append(table[c], one) for c, one in zip(context, inside, strict=True)]),
    )
    mean = sum(jnp.where(one, r, 0) for r, one in zip(read, inside, strict=True)) / sum(inside)
    state, w = tuple(jnp.split(jnp.tanh(oracle.dense(g["Dense_1"], mean)), 2)), g["ScanWord_0"]
    before, seen, words, log_p = tokens.UNK, jnp.zeros(2 * W), [], []
    for k in range(CFG.length):
        gates = oracle.dense(w["Dense_0"], jnp.concatenate([table[before], seen]))
        state = cell(w["Cell_0"]["Dense_0"]["kernel"], state, gates)
        copied = shares(read @ (state[1] @ w["Dense_1"]["kernel"]), [c > tokens.END for c in context])
        seen = sum(a * r for a, r in zip(copied, read, strict=True))
        out = jnp.tanh(oracle.dense(w["Dense_2"], jnp.concatenate([state[1], seen])))
        said = shares(oracle.dense(w["Dense_3"], out), [own > tokens.UNK or own == 2 for own in range(CFG.words)])
        said[tokens.PAD] = said[tokens.UNK] = 0.0
        gate = oracle.sigmoid(oracle.dense(w["Dense_4"], out))[0]
        p = [(own, gate * one) for own, one in enumerate(said)]
        p += [(c, (1 - gate) * one) for c, one in zip(context, copied, strict=True)]
        before = word_at(k, before, p)
        likely = sum(jnp.where(word == before, one, 0.0) for word, one in p)
        words, log_p = [*words, before], [*log_p, jnp.where(before == tokens.PAD, 0.0, jnp.log(1e-6 + likely))]
    return words, jnp.stack(log_p)


def drawn(noise):
    """Return the `word_at` that draws: the first way up to which p sums to more than the noise; nothing after an end."""

    def word_at(k, before, p):
        if before in (tokens.END, tokens.PAD):
            return tokens.PAD
        at = np.searchsorted(np.cumsum([float(one) for _, one in p]), noise[k], side="right")
        return int(p[at][0])

    return word_at


def said(g, table, context, span, words):
    return spoken(g, table, context, span, lambda k, *_: words[k])[1].sum()


to_g, to_d = map(jax.grad, (said, answered))


def clipped(grads):
    norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
    assert norm > CFG.clip
    return jax.tree.map(lambda g: g * CFG.clip / norm, grads)


def paper(state, g, d, batch, t):
    """One update by section 3 of the paper, a question at a time: D, and G as a function of the rewards' tag."""
    real, other, table, b = batch["labelled"], batch["x"], state.vectors, 2
    noise = rng.uniform(rng.at(state.key, t, "noise"), (2 * b, CFG.length))
    kept = (rng.uniform(rng.at(state.key, t, "dropout"), (2 * b, CFG.dim)) >= CFG.dropout) / (1 - CFG.dropout)
    text = lambda of, k: (table, of["context"][k], of["span"][k])
    fakes = range(b) if t >= CFG.mle else ()
    asked = [np.int32(spoken(g.params, *text(other, k), drawn(noise[b + k]))[0]) for k in fakes]
    read = lambda f, of, k, x, tag, kept: f(d.params, table, of["context"][k], x, tag, kept, of["span"][k])
    added = lambda grads: clipped(jax.tree.map(lambda *a: sum(a), *grads))
    d_grads = [jax.tree.map(lambda a: -a / b, read(to_d, real, k, real["x"][k], gdan.TRUE, kept[k])) for k in range(b)]
    of_fake = [read(to_d, other, k, asked[k], gdan.GEN, kept[b + k]) for k in fakes]
    d_grads += [jax.tree.map(lambda a: -CFG.generated * a / b, one) for one in of_fake]
    count = sum(int((x != tokens.PAD).sum()) for x in real["x"])
    likely = [jax.tree.map(lambda a: -a / count, to_g(g.params, *text(real, k), real["x"][k])) for k in range(b)]
    ours = [to_g(g.params, *text(other, k), asked[k]) for k in fakes]

    def moved(under=gdan.TRUE, baseline=1.0):
        rewards = [read(answered, other, k, asked[k], under, jnp.ones(CFG.dim)) for k in fakes]
        weights = [CFG.reinforce * (one - baseline * sum(rewards) / b) / b for one in rewards]
        paid = [jax.tree.map(lambda a, w=w: -w * a, one) for w, one in zip(weights, ours, strict=True)]
        return oracle.adam(g, added(likely + paid), CFG.g_lr), sum(rewards) / b

    return oracle.adam(d, added(d_grads), CFG.d_lr), moved


def test_step_is_the_paper_s():
    """A step of likelihood and one of the game in float64; another tag, or no baseline, would not be the same."""
    with jax.enable_x64(True):
        start, end, metrics = oracle.played(gdan, CFG, rows())
        assert metrics.keys() == {"loss/likelihood", "loss/real", "loss/generated", "reward"}
        g, d = oracle.started(start.g, start.d)
        d, moved = paper(start, g, d, rows()[0], 0)
        d, moved = paper(start, moved()[0], d, rows()[1], 1)
        g, reward = moved()
        oracle.same((end.g, end.d), (g, d))
        oracle.same(metrics["reward"], reward)
        assert (end.vectors == start.vectors).all()
        for deviation in ({"under": gdan.GEN}, {"baseline": 0.0}):
            oracle.differ(end.g, moved(**deviation)[0], rtol=1e-6)


@pytest.fixture(scope="module")
def state():
    return jax.jit(functools.partial(gdan.init, TINY))(jax.random.key(3))


def test_a_drawn_question_is_of_words_it_can_say(state):
    """Its own, or those of its text; neither unknown ones, nor anything but padding after the end."""
    raw = gdan.questions(TINY).whole()
    context = jnp.asarray(np.where(raw["context"] == raw["context"].max(), 40, raw["context"]))
    found = np.asarray(
        jax.jit(functools.partial(gdan.written, TINY))(state, jax.random.key(0), raw | {"context": context})
    )
    own = (found < TINY.words) & (found != tokens.UNK)
    assert (own | (found[:, :, None] == np.asarray(context)[:, None]).any(2)).all() and (~own).any()
    ended = np.cumsum(found == tokens.END, 1) - (found == tokens.END) > 0
    assert ended.any() and (found[ended] == tokens.PAD).all() and (found[~ended] != tokens.PAD).all()


def test_a_tenth_of_the_questions_is_known():
    """Those of the labelled rows, always the same ones; all texts are among the others."""
    cfg = dataclasses.replace(TINY, labelled=0.1)
    source = gdan.setup(cfg).source
    pick = jax.jit(lambda key, i: source.pick(key, i, 40))
    first, again, other = pick(jax.random.key(0), 0), pick(jax.random.key(0), 1), pick(jax.random.key(1), 0)
    of = lambda found: set(np.asarray(found["labelled"]).tolist())
    assert len(of(first)) == 40 and of(first) == of(again) != of(other)
    assert len({*np.asarray(first["x"]).tolist(), *np.asarray(again["x"]).tolist()}) == 80
    assert source.test.fields == source.fields and source.test.n == 100


def test_a_new_run_begins_with_known_vectors(state, tfds_dir):
    """Words of GloVe have its vectors; others keep their own."""
    cfg = dataclasses.replace(TINY, vectors="glove50d10k", dim=50)
    new = state._replace(vectors=jnp.ones((len(state.vectors), 50)))
    found = gdan.setup(cfg).begin(new).vectors
    source, names = data.load("glove50d10k,x=vector,y=word:label"), gdan.questions(TINY).row["x"].names
    raw = source.whole()
    row = np.flatnonzero(raw["y"] == source.row["y"].names.index("paris"))[0]
    np.testing.assert_array_equal(found[names.index("paris")], raw["x"][row])
    np.testing.assert_array_equal(found[:3], new.vectors[:3])
