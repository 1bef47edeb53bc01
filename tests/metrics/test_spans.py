"""Spans against SQuAD's measures, on strings and with a Counter."""

from collections import Counter

import jax.numpy as jnp
import numpy as np

from gan_jax.metrics import spans

NAMES = "<pad>", "<unk>", "<end>", "the", "a", ".", "rome", "paris", "3", "in", "An"


def said(tokens, span):
    return [
        NAMES[t] for t in tokens[span[0] : span[1] + 1] if t > 2 and NAMES[t].lower() not in ("the", "a", "an", ".")
    ]


def drawn(n=300, p=6):
    generator = np.random.default_rng(0)
    context = generator.integers(0, len(NAMES), (n, p))
    found, right = (np.sort(generator.integers(0, p, (n, 2)), 1) for _ in range(2))
    return context, found, right


def test_f1_and_exact_match_are_squad_s():
    """Words in common, each as often as both have it, without articles, marks and padding; nothing in common is 0."""
    context, found, right = drawn()
    counts = spans.counted(NAMES)
    assert counts.tolist() == [False] * 6 + [True] * 4 + [False]
    f1, exact = (of(*map(jnp.asarray, (found, right, context, counts))) for of in (spans.f1, spans.exact))
    expected = []
    for tokens, one, other in zip(context, found, right, strict=True):
        a, b = said(tokens, one), said(tokens, other)
        common = sum((Counter(a) & Counter(b)).values())
        precision, recall = common / max(len(a), 1), common / max(len(b), 1)
        expected.append((2 * precision * recall / (precision + recall) if common else 0.0, a == b))
    np.testing.assert_allclose(f1, [e[0] for e in expected], rtol=1e-6)
    assert exact.tolist() == [e[1] for e in expected] and 0 < np.mean(exact) < 1


def test_the_best_span_is_no_longer_than_it_may_be():
    """The largest sum of a first and a last word, in this order, by trying all."""
    log_p = np.random.default_rng(1).standard_normal((20, 7, 2))
    for longest in (1, 3, 7):
        found = spans.best(jnp.asarray(log_p), longest)
        for row, span in zip(log_p, found, strict=True):
            ends = [(i, j) for i in range(7) for j in range(i, min(7, i + longest))]
            assert tuple(span.tolist()) == max(ends, key=lambda e: row[e[0], 0] + row[e[1], 1])


def test_words_of_a_span():
    """From the left, padded."""
    found = spans.words(jnp.array([[1, 3], [0, 0]]), jnp.array([[6, 3, 7, 5], [8, 6, 6, 6]]), jnp.ones(11, bool))
    assert found.tolist() == [[3, 7, 5, 0], [8, 0, 0, 0]]
