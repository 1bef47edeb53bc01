"""Adversarial training for text: the step against the paper's formulas sentence by sentence, and its parts."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.text import text_adversarial
from gan_jax import data
from gan_jax.game import rng
from gan_jax.nets import sentences

TINY = text_adversarial.PRESETS["tiny"]
CFG = dataclasses.replace(
    TINY, batch_size=2, dim=3, width=2, hidden=3, adversarial=0.7, virtual=0.4, lr=1e-2, lr_decay=0.8, clip=0.05
)
PAD, END, LENGTH, WORDS = 0, 2, 4, 22
LENGTHS = {"labelled": (3, LENGTH), "x": (LENGTH, 3)}  # of the rows of a batch, up to the end or the cut


def sentences_of(generator):
    """Return token rows [2, 4]: one that ends after two words, and one that was cut."""
    x = generator.integers(3, WORDS, (2, LENGTH)).astype(np.int32)
    x[0, 2:] = END, PAD
    return x


def batches():
    generator = np.random.default_rng(0)
    rows = lambda order: {"x": sentences_of(generator)[order], "y": np.int32([1, 0])}
    return [{"labelled": rows([0, 1]), "x": rows([1, 0])} for _ in range(2)]


def said(c, s):
    """Return log p of each class of a sentence, words s [t, d]: an LSTM by its equations, asked after the last word."""
    h = cell = jnp.zeros(CFG.width)
    for word in s:
        a = oracle.dense(c["Dense_0"], word[None])[0] + h @ c["ScanCell_0"]["Dense_0"]["kernel"]
        i, f, g, o = (a[k * CFG.width : (k + 1) * CFG.width] for k in range(4))
        cell = oracle.sigmoid(f) * cell + oracle.sigmoid(i) * jnp.tanh(g)
        h = oracle.sigmoid(o) * jnp.tanh(cell)
    logits = oracle.perceptron([c["Dense_1"], c["Dense_2"]], h[None])[0]
    return logits - jnp.log(jnp.exp(logits).sum())


def along(gradient, norm):
    """Return the perturbation of this norm (but for the code's 1e-6, of the largest number) along a gradient."""
    most = jnp.abs(gradient).max() + 1e-12
    return norm * gradient / (most * jnp.sqrt(((gradient / most) ** 2).sum() + 1e-6))


def words(e_params, rows, lengths, kept):
    """Return the vectors of each row's words [t, d], normalised as in section 3, of which dropout took some numbers."""
    counts = np.bincount(data.load("phrases").whole()["x"].ravel(), minlength=WORDS) * (np.arange(WORDS) != PAD)
    f, table = np.float32(counts) / np.float32(counts.sum()), e_params["table"]
    mean = f @ table
    vectors = (table - mean[None]) / jnp.sqrt(1e-6 + f @ (table - mean[None]) ** 2)[None]
    scale = kept / (1 - CFG.dropout)  # [b, 1, d]
    return [jnp.stack([vectors[k] * one[0] for k in row[:n]]) for row, n, one in zip(rows, lengths, scale, strict=True)]


error = jax.jit(jax.grad(lambda c, s, y: -said(c, s)[y], (0, 1)))
divergence = jax.jit(jax.grad(lambda c, s, log_p: (jnp.exp(log_p) * (log_p - said(c, s))).sum(), (0, 1)))


def paper(e, c, average, batch, kept, noise, t, eps=CFG.eps, spared=1):
    """One update by equations (2) to (8), a sentence at a time; a deviation: another eps, or noise on the last word."""
    of = lambda name, kept: jax.vjp(lambda params: words(params, batch[name]["x"], LENGTHS[name], kept), e.params)
    (labelled, to_e), (every, every_to_e) = of("labelled", kept[0]), of("x", kept[1])
    c_grads, to_labelled, to_every = [], [], []
    for s, y in zip(labelled, batch["labelled"]["y"], strict=True):
        plain = error(c.params, s, y)
        moved = error(c.params, s + along(plain[1], eps), y)
        both = jax.tree.map(lambda g, a: (g + CFG.adversarial * a) / 2, plain, moved)
        c_grads, to_labelled = [*c_grads, both[0]], [*to_labelled, both[1]]
    for s, d, n in zip(every, noise, LENGTHS["x"], strict=True):
        log_p = said(c.params, s)
        d = along(d[:n] * (jnp.arange(n) < n - spared)[:, None], CFG.xi)
        r = along(divergence(c.params, s + d, log_p)[1], CFG.eps)
        both = jax.tree.map(lambda g: CFG.virtual * g / 2, divergence(c.params, s + r, log_p))
        c_grads, to_every = [*c_grads, both[0]], [*to_every, both[1]]
    e_grads = jax.tree.map(lambda *g: sum(g), to_e(to_labelled)[0], every_to_e(to_every)[0])
    c_grads = jax.tree.map(lambda *g: sum(g), *c_grads)
    norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(c_grads)))
    assert norm > CFG.clip
    c_grads = jax.tree.map(lambda g: g * CFG.clip / norm, c_grads)
    rate, t = CFG.lr * CFG.lr_decay**t, jnp.float32(t)
    e, c = oracle.adam(e, e_grads, rate), oracle.adam(c, c_grads, rate)
    return e, c, oracle.averaged(average, (e.params, c.params), jnp.minimum(CFG.ema, (1 + t) / (10 + t)))


@pytest.mark.long
def test_step_is_the_paper_s():
    """Two steps in float64, with a gradient that is clipped; without r, or with noise on the end, they would not be."""
    with jax.enable_x64(True):
        start, end, metrics = oracle.played(text_adversarial, CFG, batches())
        assert metrics.keys() == {"loss/labelled", "loss/adversarial", "loss/virtual"} and metrics["loss/virtual"] > 0

        def theirs(**deviation):
            found = *oracle.started(start.e, start.c), (start.e.params, start.c.params)
            for t, batch in enumerate(batches()):
                kept = rng.uniform(rng.at(start.key, t, "dropout"), (2, 2, 1, 3)) >= CFG.dropout
                found = paper(
                    *found, batch, kept, rng.normal(rng.at(start.key, t, "d"), (2, LENGTH, 3)), t, **deviation
                )
            return found

        e, c, average = theirs()
        oracle.same((end.e, end.c), (e, c))
        oracle.same(end.average, average, rtol=1e-6)
        for deviation in ({"eps": 0.0}, {"spared": 0}):
            oracle.differ((end.e, end.c), theirs(**deviation)[:2], rtol=1e-6)


def test_word_vectors_are_normalised_by_frequency():
    """Mean 0 and variance 1 of each number over the words as often as they occur, whatever their scale."""
    table = 7 * jax.random.normal(jax.random.key(0), (6, 3)) + 4
    counts = np.array([0, 1, 20, 3, 3, 5])
    found = sentences.normalised(table, jnp.float32(counts))
    text = np.repeat(np.asarray(found), counts, axis=0)  # each word as often as it occurs
    np.testing.assert_allclose(text.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(text.var(0), 1, rtol=1e-4)


def test_the_paper_s_nets():
    """Parameters of the preset `paper`, at the 86,934 words of the code's vocabulary, by hand from its layers."""
    cfg = text_adversarial.PRESETS["paper"]
    shapes = lambda net, *given: jax.eval_shape(net.init, jax.random.key(0), *given)["params"]
    count = lambda params: sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count(shapes(sentences.Embedding(cfg.dim), jnp.zeros(86_934))) == 86_934 * 256
    C = sentences.Classifier(2, cfg.width, cfg.hidden)
    lstm, above = (256 + 1024 + 1) * 4 * 1024, (1024 + 1) * 30 + (30 + 1) * 2
    assert count(shapes(C, jnp.zeros((1, 2, 256)), jnp.zeros(1, int))) == lstm + above


@pytest.fixture(scope="module")
def state():
    return jax.jit(functools.partial(text_adversarial.init, TINY))(jax.random.key(3))


def test_words_that_are_not_moved_stay(state):
    """A shift of 0 returns the sentences; a large one changes words, but neither padding nor an end."""
    x = data.load("phrases").whole()["x"][:20]
    move = jax.jit(lambda shift: text_adversarial.moved(dataclasses.replace(TINY, shift=shift), state, x))
    found = lambda shift: np.asarray(move(shift))
    assert (found(0.0) == x).all()
    far = found(100.0)
    assert (
        (far != x)[x > END].mean() > 0.2
        and (far[x <= END] == x[x <= END]).all()
        and (far > END).sum() == (x > END).sum()
    )


def test_the_error_is_that_of_labelled_sentences(state):
    """The share of wrong answers of the averaged nets, asked sentence by sentence; what has no label does not count."""
    raw = {name: a[:12] for name, a in data.load("phrases").test.whole().items()}
    raw["y"] = np.where(np.arange(12) % 3 == 0, -1, raw["y"])
    table, logits = text_adversarial.averaged(TINY, state)
    one = jax.jit(lambda s, x: logits(s, x)[0].argmax())
    alone = [one(table[x[x != PAD]][None], x[x != PAD][None]) for x in raw["x"]]
    wrong = [a != y for a, y in zip(alone, raw["y"], strict=True) if y >= 0]
    found = jax.jit(functools.partial(text_adversarial.measure, TINY))(state, None, {}, {"x": raw})
    np.testing.assert_allclose(found["test/error"], np.mean(wrong), rtol=1e-6)
    assert found["sentences"].x.shape == (2, 8, 9) and text_adversarial.measure(TINY, state, None, {}, {}) == {}


def test_a_new_run_begins_with_known_vectors(state, tfds_dir):
    """Words of GloVe have its vectors, in the average too; what is no word keeps its own."""
    cfg = dataclasses.replace(TINY, vectors="glove50d10k", dim=50)
    new = jax.jit(functools.partial(text_adversarial.init, cfg))(jax.random.key(0))
    found = text_adversarial.setup(cfg).begin(new)
    source = data.load("glove50d10k,x=vector,y=word:label")
    raw, names = source.whole(), data.load("phrases").row["x"].names
    row = np.flatnonzero(raw["y"] == source.row["y"].names.index("kitchen"))[0]
    for e in (found.e.params, found.average[0]):
        np.testing.assert_array_equal(e["table"][names.index("kitchen")], raw["x"][row])
        np.testing.assert_array_equal(e["table"][:3], new.e.params["table"][:3])
    assert found.e.params["table"] is not found.average[0]["table"]  # a step takes the memory of its state


@pytest.mark.slow
def test_it_learns_of_few_labels():
    """With 20 labelled phrases and all others it reads the mood of those that are held out."""
    cfg = dataclasses.replace(TINY, dim=16, width=16, hidden=16, steps=400, batch_size=16, lr=5e-3, ema=0.98, eps=1.0)
    source = text_adversarial.setup(cfg).source
    feed, key = data.resident(source), jax.random.key(0)
    state = jax.jit(functools.partial(text_adversarial.init, cfg))(key)
    step = jax.jit(lambda s, feed: text_adversarial.step(cfg, s, data.batch(source, feed, key, s.step, 16))[0])
    for _ in range(cfg.steps):
        state = step(state, feed)
    found = text_adversarial.measure(cfg, state, key, {}, data.resident(source.test))
    assert found["test/error"] < 0.1
