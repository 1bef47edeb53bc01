"""Questions about paragraphs, each with the place in its paragraph where the answer stands: reading comprehension."""

import dataclasses
import functools
import itertools
from collections import Counter
from typing import NamedTuple

import numpy as np

from gan_jax.data import builders, choices, stored, tokens
from gan_jax.data.composed import of_arrays
from gan_jax.data.features import text
from gan_jax.data.sets import chosen
from gan_jax.data.source import Field, Source
from gan_jax.errors import UserError

FEATURES = "context", "question", "answer", "answer_start"
TOY = "facts"
PEOPLE = "anna", "bob", "carla", "dan", "emma", "fred"
FACTS = {  # {what is asked: (what is said, the answers)}
    "where does {} live ?": ("{} lives in {} .", ("rome", "paris", "new york", "oslo", "rio de janeiro")),
    "what does {} eat ?": ("{} eats {} .", ("bread", "red apples", "rice", "soup", "fried fish")),
}


class Asked(NamedTuple):
    """One question, in words: those of its answer, and those of the paragraph before and behind."""

    question: list[str]
    before: list[str]
    answer: list[str]
    behind: list[str]


@functools.cache
def questions(name: str, window: int = 60, length: int = 16) -> Source:
    """Return a set of questions about paragraphs, all tokens of one vocabulary, all words in small letters.

    x is the question [length]; context [window] are words of its paragraph in a row, with the answer at an even place
    among them that stays the same for good; span [2] says which of them are the first and the last one of the answer.
    An answer longer than the window is cut. The vocabulary has the words of the training split, the most frequent
    first, and behind these what else the test split has.

    name: "facts", sentences of a small grammar that need no download, or a TFDS set with the features context,
    question, answer and answer_start (in characters), after which a split and a test may be chosen. Raises UserError
    where it has no such features, or an answer does not stand where it should.
    """
    if name == TOY:
        made = _facts(np.random.default_rng(0))
        parts = [list(itertools.islice(made, n)) for n in (400, 100)]
        return _source(name, window, length, _names(*parts), parts, ["", ""])
    bare, said = chosen(name)
    if more := said.keys() - {"split", "test"}:
        raise UserError(f"{bare} as questions leaves no choice of {', '.join(sorted(more))}, only of split and test.")
    builder, again = builders.found(bare, (TOY,))
    splits = [s for s in choices.splits(bare, builder, again, said.get("split", ""), said.get("test")) if s]
    flat = stored.flat(builder)
    if lacking := [feature for feature in FEATURES if feature not in flat]:
        raise UserError(f"{bare} has no {', '.join(lacking)}: questions about paragraphs have {', '.join(FEATURES)}.")
    parts = [list(_asked(split, {f: flat[f] for f in FEATURES})) for split in splits]
    marks = [split.fingerprint("questions", window, length) for split in splits]
    source = _source(bare, window, length, _names(*parts), parts, marks)
    held = f"{splits[1].split} {len(parts[1])}" if len(parts) > 1 else "no test split"
    words = f"{source.row['x'].classes} words, {window} of a paragraph"
    return dataclasses.replace(source, says=f"{bare}: questions ({words}); {splits[0].split} {source.n}, {held}")


def _asked(split, features):
    """Yield the questions of a split."""
    for i, record in enumerate(split.rows(range(split.n), features, dict)):
        context, question, answer = (text(record[feature]) for feature in FEATURES[:3])
        start = int(record["answer_start"])
        stop = start + len(answer)
        if start < 0 or not answer.strip() or context[start:stop] != answer:
            raise UserError(f"record {i} of {split.name}, split {split.split}: its answer is not at answer_start.")
        yield _cut(question, context[:start], answer, context[stop:])


def _cut(*texts):
    return Asked(*(tokens.pieces(one.lower(), "word") for one in texts))


def _facts(generator):
    """Yield questions about one of three people, of each of whom a sentence says where they live or what they eat."""
    while True:
        people, asked = generator.permutation(PEOPLE)[:3], int(generator.integers(3))
        whats = [list(FACTS)[k] for k in generator.integers(2, size=3)]
        answers = [FACTS[what][1][generator.integers(5)] for what in whats]
        said = [FACTS[what][0].format(*of) for what, *of in zip(whats, people, answers, strict=True)]
        before, behind = said[asked].split(answers[asked], 1)
        first, last = " ".join([*said[:asked], before]), " ".join([behind, *said[asked + 1 :]])
        yield _cut(whats[asked].format(people[asked]), first, answers[asked], last)


def _names(train, test=()):
    """Return the vocabulary: the words of the training split, then those that the test split alone has."""
    count = lambda part: Counter(word for one in part for piece in one for word in piece)
    known = tokens.vocabulary(count(train))
    new = count(test)
    for word in known:
        new.pop(word, None)
    return (*known, *tokens.vocabulary(new)[len(tokens.SPECIAL) :])


def _rows(asked, names, window, length):
    """Return the raw records of questions."""
    generator = np.random.default_rng(0)
    question, context = (tokens.encoder(names, "word", n) for n in (length, window))
    raw = {"x": [], "context": [], "span": []}
    for one in asked:
        words = [*one.before, *one.answer, *one.behind]
        first, last = len(one.before), len(one.before) + len(one.answer) - 1
        least, most = max(0, last + 1 - window), max(0, min(first, len(words) - window))
        start = int(generator.integers(least, most + 1)) if least <= most else first
        raw["x"].append(question(" ".join(one.question)))
        raw["context"].append(context(" ".join(words[start : start + window])))
        raw["span"].append([first - start, min(last - start, window - 1)])
    return {name: np.array(rows, np.int32) for name, rows in raw.items()}


def _source(name, window, length, names, parts, marks):
    """Return the first of the parts as a Source, with the others held out."""
    text_of = lambda length: Field((length,), "tokens", np.int32, len(names), names)
    span = Field((2,), "row", np.int32, names=("first", "last"))
    fields = {"x": text_of(length), "context": text_of(window), "span": span}
    test = _source(name, window, length, names, parts[1:], marks[1:]) if parts[1:] else None
    return of_arrays(name, fields, _rows(parts[0], names, window, length), test, marks[0])
