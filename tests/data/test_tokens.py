"""Text as tokens of a vocabulary, and back."""

from collections import Counter

import numpy as np
import pytest

from gan_jax.data import tokens

PAD, UNK, END = 0, 1, 2


def vocabulary(texts, level):
    counts = Counter()
    for text in texts:
        counts.update(tokens.pieces(text, level))
    return tokens.vocabulary(counts)


def test_the_most_frequent_come_first_and_equal_ones_in_an_order_of_their_own():
    """The numbers of a vocabulary don't depend on the order of the records."""
    texts = ["b a b", "c a d"]
    names = vocabulary(texts, "word")
    assert names == ("<pad>", "<unk>", "<end>", "a", "b", "c", "d") == vocabulary(texts[::-1], "word")
    assert names.index("<pad>") == PAD and names.index("<unk>") == UNK and names.index("<end>") == END


def test_words_numbers_and_marks():
    """A word keeps its apostrophe, every mark is a piece of its own, and no letter of any script is lost."""
    assert tokens.pieces("Don’t  stop, 3.5 élan—日本!", "word") == [
        "Don’t",
        "stop",
        ",",
        "3",
        ".",
        "5",
        "élan",
        "—",
        "日本",
        "!",
    ]
    assert tokens.pieces("a\tb", "char") == ["a", "\t", "b"]


@pytest.mark.parametrize(
    "text, length, expected",
    [
        ("ab", 5, [3, 4, END, PAD, PAD]),
        ("ab", 3, [3, 4, END]),
        ("ab", 2, [3, 4]),  # cut: no end
        ("aab", 2, [3, 3]),
        ("zb", 4, [UNK, 4, END, PAD]),
        ("", 3, [END, PAD, PAD]),
    ],
)
def test_end_pad_cut_and_unknown(text, length, expected):
    """The end stands behind the text where there is room, and padding behind it."""
    found = tokens.encoder(vocabulary(["aab"], "char"), "char", length)(text)
    assert found.tolist() == expected and found.dtype == np.int32


def test_text_that_looks_like_a_special_token_is_none():
    """A text that says <end> ends nothing."""
    names = vocabulary(["<end> a"], "word")
    assert tokens.encoder(names, "word", 6)("<end> a").tolist()[-2:] == [END, PAD]
    assert tokens.text(tokens.encoder(names, "word", 6)("<end> a"), names) == "< end > a"
    assert END not in tokens.encoder(names, "char", 6)("<end>")[:5]


@pytest.mark.parametrize("level", ["char", "word"])
def test_there_and_back(level):
    """What was encoded is read again; words are joined by blanks."""
    texts = ["red heart", "smiling cat"]
    names = vocabulary(texts, level)
    assert tokens.level(names) == level
    encode = tokens.encoder(names, level, 20)
    assert [tokens.text(encode(text), names) for text in texts] == texts
    with pytest.raises(IndexError):
        tokens.text([len(names)], names)


def test_windows_are_the_text_in_order_with_nothing_lost_but_the_rest():
    """Window i is tokens i * length to (i + 1) * length of all texts, each with its end."""
    texts = ["abcab", "ca"]
    names = vocabulary(texts, "char")
    windows = tokens.windows(texts, names, "char", 4)
    assert windows.dtype == np.int32 and windows.shape == (2, 4)
    joined = [*"abcab", "<end>", *"ca"]
    assert [names[token] for token in windows.ravel()] == joined
    assert tokens.windows(iter(["a"]), names, "char", 4).shape == (0, 4)
