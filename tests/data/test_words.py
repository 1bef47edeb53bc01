"""Of words: their frequencies, the last one of a row, and vectors that others learned."""

import dataclasses
from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data.source import Field, Source, label
from gan_jax.data.words import with_vectors


def test_frequencies_are_counts_without_padding():
    """Those of the records that are trained on, an end a row; padding, and what never occurs, have none."""
    source = data.load("phrases")
    counts = Counter(source.whole()["x"].ravel().tolist())
    found = data.frequencies(source)
    assert found.dtype == np.float32 and found[:3].tolist() == [0, 0, source.n] and counts[0] > 0
    assert found[3:].tolist() == [counts[i] for i in range(3, source.row["x"].classes)]


def test_the_last_token_is_the_end_or_where_the_text_was_cut():
    x = jnp.array([[5, 6, 2, 0, 0], [5, 6, 7, 8, 9], [2, 0, 0, 0, 0]])
    assert data.last(x).tolist() == [2, 4, 0] and data.last(x).dtype == jnp.int32


def test_words_have_the_vectors_that_are_known():
    """Small letters do where the word itself is unknown; others keep what they have; of several seeds, each of them."""
    raw = {"x": np.float32([[1, 2], [3, 4], [5, 6]]), "y": np.int32([2, 0, 1])}
    fields = {"x": Field((2,), "row"), "y": label(3, ("film", "Good", "good"))}
    source = Source("made", fields, n=3, whole=lambda: raw)
    names = ("<pad>", "Film", "good", "Good", "other")
    expected = [[9, 9], [3, 4], [1, 2], [5, 6], [9, 9]]
    assert with_vectors(jnp.full((5, 2), 9.0), names, source).tolist() == expected
    assert with_vectors(jnp.full((2, 5, 2), 9.0), names, source).tolist() == [expected, expected]
    with pytest.raises(UserError, match="made has a vector of none of the 2 words"):
        with_vectors(jnp.full((2, 2), 9.0), ("a", "b"), source)  # as of letters: nothing would be learned of them
    with pytest.raises(UserError, match="vectors of made have 2 numbers, not 3"):
        with_vectors(jnp.zeros((5, 3)), names, dataclasses.replace(source))
