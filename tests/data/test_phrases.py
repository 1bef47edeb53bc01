"""The phrases: sentences of their grammar, with the label that their words say."""

import re

import numpy as np

from gan_jax import data
from gan_jax.data import phrases, tokens

SAID = rf"(?:(?:{'|'.join(phrases.ADVERBS[1:])}) )?(\w+)"
GRAMMAR = rf"the (?:{'|'.join(phrases.NOUNS)}) was {SAID}(?: and {SAID})?"


def test_every_phrase_is_of_the_grammar_and_its_label_is_that_of_its_words():
    """In both splits, which have both labels about as often, and which are the same at every call."""
    source = data.load("phrases")
    field = source.row["x"]
    assert (source.n, source.test.n, source.kind, source.classes) == (800, 200, "tokens", 2)
    for split in (source, source.test):
        raw = split.whole()
        assert raw["x"].shape == (split.n, *field.shape) and raw["x"].max() < field.classes
        assert 0.4 < raw["y"].mean() < 0.6
        for x, y in zip(raw["x"], raw["y"], strict=True):
            found = re.fullmatch(GRAMMAR, tokens.text(x, field.names))
            assert {w for w in found.groups() if w} <= set(phrases.MOODS[source.row["y"].names[y]])
            assert tokens.END in x
        assert (split.read(np.array([5, 3]))["x"] == raw["x"][[5, 3]]).all()
    again = phrases.phrases("phrases")
    assert (again.whole()["x"] == source.whole()["x"]).all() and not source.test.test
