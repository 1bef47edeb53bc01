"""Of short texts: each function against plain loops over their words."""

import collections
import math

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.metrics import texts

X = np.array([[3, 4, 2, 0], [3, 5, 2, 0], [4, 4, 5, 3], [5, 2, 0, 0]], np.int32)
Y = np.array([1, 0, 1, 1], np.int32)
V = 7


def test_odds_are_those_of_naive_bayes():
    """Of counts with 1 added: a word that stands there twice counts twice, a new one by its share, padding not."""
    words = lambda rows: collections.Counter(w for row in rows for w in row if w)
    counts = [words(X[y == Y].tolist()) for y in (0, 1)]

    def log_p(word, y):
        return math.log((1 + counts[y][word]) / (V + sum(counts[y].values())))

    new = [[4, 4, 2, 0], [6, 3, 2, 0]]
    expected = [math.log((1 + 3) / (1 + 1)) + sum(log_p(w, 1) - log_p(w, 0) for w in row if w) for row in new]
    np.testing.assert_allclose(texts.odds(X, Y, V)(np.array(new)), expected, rtol=1e-5)
    more = np.concatenate([X, X[:1]]), np.append(Y, -1)  # a text without a label says nothing
    np.testing.assert_allclose(texts.odds(*more, V)(np.array(new)), expected, rtol=1e-5)


def test_rank():
    """Of all pairs of a 1 and a 0; equal odds count half."""
    odds, y = [0.3, 0.1, 0.3, 0.9], [1, 0, 0, 1]
    pairs = [
        (a > b) + 0.5 * (a == b)
        for a, i in zip(odds, y, strict=True)
        if i
        for b, j in zip(odds, y, strict=True)
        if not j
    ]
    np.testing.assert_allclose(texts.ranked(jnp.array(odds), jnp.array(y)), np.mean(pairs))


def test_perplexity_of_bigrams():
    """Word by word, from the beginning to the end; padding is none."""
    pairs = collections.Counter()
    for row in X.tolist():
        for before, word in zip([0, *row], row, strict=False):
            pairs[before, word] += word != 0
    words, after = collections.Counter(), collections.Counter()
    for (before, word), n in pairs.items():
        words[word] += n
        after[before] += n
    logs = []
    for row in ([3, 4, 5, 2], [6, 2, 0, 0]):
        for before, word in zip([0, *row], row, strict=False):
            p = 0.6 * pairs[before, word] / max(after[before], 1) + 0.3 * words[word] / sum(words.values()) + 0.1 / V
            logs += [math.log(p)] * (word != 0)
    found = texts.bigram(X, V)(np.array([[3, 4, 5, 2], [6, 2, 0, 0]]))
    np.testing.assert_allclose(found, math.exp(-np.mean(logs)), rtol=1e-5)


def test_copies():
    x = np.array([[3, 4], [3, 4], [4, 3], [5, 5]])
    assert texts.distinct(x) == 0.75 and texts.copied(x, x[2:3]) == 0.25 and texts.copied(x, x[:1]) == 0.5


@pytest.mark.parametrize("n", [1, 2, 3])
def test_overlap_of_runs(n):
    """Run by run, whole ones alone; a text that is known has all of its own."""
    runs = lambda x: [tuple(row[i : i + n]) for row in x.tolist() for i in range(5 - n) if 0 not in row[i : i + n]]
    other = np.array([[4, 4, 2, 0], [3, 5, 2, 0], [5, 3, 4, 5], [2, 0, 0, 0]], np.int32)
    known = set(runs(X))
    expected = np.mean([run in known for run in runs(other)])
    np.testing.assert_allclose(texts.overlap(other, X, V, n), expected, rtol=1e-6)
    np.testing.assert_allclose(texts.overlap(X, X, V, n), 1)


def test_runs_without_a_number():
    """They would meet others by chance."""
    with pytest.raises(ValueError, match="too many runs of 3 of 2000"):
        texts.overlap(X, X, 2000, 3)
