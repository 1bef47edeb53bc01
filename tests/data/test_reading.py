"""Questions about paragraphs: the answer is where the span says, in every split, whatever the window."""

import re

import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import builders, reading, stored, tokens


def said(raw, names, k):
    """Return (text, answer, question) of a record as strings."""
    first, last = raw["span"][k]
    of = lambda row: tokens.text(row, names)
    return of(raw["context"][k]), of(raw["context"][k][first : last + 1]), of(raw["x"][k])


def test_facts_answer_their_questions():
    """In both splits: the one sentence about whom is asked says the answer, and all of it is there."""
    source = data.questions("facts", 30, 7)
    names = source.row["x"].names
    assert (source.n, source.test.n, source.kind) == (400, 100, "tokens") and not source.test.test
    for split in (source, source.test):
        raw = split.whole()
        assert {name: (a.shape, a.dtype) for name, a in raw.items()} == {
            name: ((split.n, *field.shape), np.int32) for name, field in source.fields.items()
        }
        for k in range(split.n):
            text, answer, question = said(raw, names, k)
            who, what = re.fullmatch(r"(?:where does|what does) (\w+) (live|eat) \?", question).groups()
            assert re.search(rf"{who} {what}s (?:in )?{answer} \.", text), (text, answer, question)
    again = reading.questions.__wrapped__("facts", 30, 7)
    assert all((a == again.whole()[name]).all() for name, a in source.whole().items())
    assert (source.read(np.array([5, 3]))["span"] == source.whole()["span"][[5, 3]]).all()


def test_a_window_holds_the_answer_anywhere():
    """Wherever it stands in a long text; at the text's ends the window stays inside; a longer answer is cut."""
    words = [f"w{k}" for k in range(40)]
    names = (*tokens.SPECIAL, "why", *words)
    made = [reading.Asked(["why"], words[:at], words[at : at + n], words[at + n :]) for n in (1, 3) for at in range(37)]
    raw = reading._rows(made, names, 10, 2)
    for one, (first, last), context in zip(made, raw["span"], raw["context"], strict=True):
        assert tokens.text(context[first : last + 1], names) == " ".join(one.answer) and (context > tokens.END).all()
    assert len(set(raw["span"][5:30, 0])) > 5
    raw = reading._rows([reading.Asked(["why"], words[:4], words[4:24], words[24:])], names, 10, 2)
    assert raw["span"].tolist() == [[0, 9]] and tokens.text(raw["context"][0], names) == " ".join(words[4:14])


def test_records_of_tfds(tfds_dir):
    """Every answer of at most a window is found word by word; the vocabulary begins with what is frequent in training."""
    source = data.questions("xquad_en", 50, 20)
    flat, names = stored.flat(builder := builders.found("xquad_en")[0]), source.row["x"].names
    assert (source.n, source.test.n) == (1048, 142) and source.fingerprint != source.test.fingerprint
    for split, where in ((source, "train"), (source.test, "test")):
        of = stored.Split("xquad_en", where, builder, "")
        texts = [list(of.each(feature, flat, bytes.decode)) for feature in ("answer", "question")]
        for k in range(split.n):
            _, answer, question = said(split.whole(), names, k)
            assert answer.split() == tokens.pieces(texts[0][k].lower(), "word")
            assert question.split() == tokens.pieces(texts[1][k].lower(), "word")[:20]
    assert names[3] == "the" and not (source.whole()["context"] == tokens.UNK).any()
    assert source.test.whole()["context"].max() == len(names) - 1 or source.test.whole()["x"].max() == len(names) - 1


def test_what_holds_no_questions():
    for name, said in {"digits": "digits has no context", "digits,level=word": "no choice of level"}.items():
        with pytest.raises(UserError, match=said):
            data.questions(name)
