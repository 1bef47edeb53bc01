"""Phrases of a small grammar, good ones and bad ones: text with a known label that needs no download."""

from collections.abc import Iterator

import numpy as np

from gan_jax.data import tokens
from gan_jax.data.composed import of_arrays
from gan_jax.data.source import Field, Source, label

NOUNS = "room", "host", "street", "view", "kitchen"
ADVERBS = "", "very", "really", "quite"
MOODS = {"bad": ("dark", "loud", "cold", "dirty"), "good": ("bright", "quiet", "warm", "clean")}
NAMES = (*tokens.SPECIAL, "the", "was", "and", *NOUNS, *ADVERBS[1:], *MOODS["bad"], *MOODS["good"])
LENGTH = 9  # "the room was very clean and quite warm", and its end


def phrases(name: str, n: int = 800, held_out: int = 200) -> Source:
    """Return n phrases, such as "the room was very clean", y whether it is good; `held_out` others are the test split.

    They are the same in every process.
    """
    drawn = _drawn(np.random.default_rng(0), n + held_out)
    encode = tokens.encoder(NAMES, "word", LENGTH)
    text, y = zip(*drawn, strict=True)
    raw = {"x": np.stack([encode(one) for one in text]), "y": np.array(y, np.int32)}
    fields = {"x": Field((LENGTH,), "tokens", np.int32, len(NAMES), NAMES), "y": label(2, MOODS)}
    test = of_arrays(name, fields, {k: a[n:] for k, a in raw.items()})
    return of_arrays(name, fields, {k: a[:n] for k, a in raw.items()}, test)


def _drawn(generator: np.random.Generator, n: int) -> Iterator[tuple[str, int]]:
    """Yield n phrases, each with its label."""
    one_of = lambda words: words[generator.integers(len(words))]
    for _ in range(n):
        y = int(generator.integers(2))
        said = lambda y=y: f"{one_of(ADVERBS)} {one_of(list(MOODS.values())[y])}"
        yield f"the {one_of(NOUNS)} was {said()}" + (f" and {said()}" if generator.integers(2) else ""), y
