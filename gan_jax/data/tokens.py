"""Text as whole numbers of a vocabulary, and back."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np

Level = Literal["char", "word"]
LEVELS = get_args(Level)
PAD, UNK, END = range(3)
SPECIAL = ("<pad>", "<unk>", "<end>")  # after the end; not in the vocabulary; the end


def pieces(text: str, level: Level) -> list[str]:
    """Return a text's characters, or its words, numbers and marks in their order (blanks are left out)."""
    return list(text) if level == "char" else re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", text)


def vocabulary(counts: Counter) -> tuple[str, ...]:
    """Return SPECIAL and every piece that was counted, the most frequent first, equal ones in the order of Unicode."""
    return (*SPECIAL, *sorted(counts, key=lambda piece: (-counts[piece], piece)))


def encoder(names: Sequence[str], level: Level, length: int):
    """Return the function text -> tokens int32 [length]: its pieces, the end, and <pad>. A longer text is cut."""
    numbers = {name: i for i, name in enumerate(names) if i >= len(SPECIAL)}

    def encode(text: str) -> np.ndarray:
        tokens = [*(numbers.get(piece, UNK) for piece in pieces(text, level)[:length]), END][:length]
        return np.array(tokens + [PAD] * (length - len(tokens)), np.int32)

    return encode


def windows(texts: Iterable[str], names: Sequence[str], level: Level, length: int) -> np.ndarray:
    """Return texts, one after another with an end behind each, as int32 [n, length]; what is over is left out.

    Row i is the i-th window: tokens i * length to (i + 1) * length.
    """
    numbers = {name: i for i, name in enumerate(names) if i >= len(SPECIAL)}
    tokens = [[*(numbers.get(piece, UNK) for piece in pieces(text, level)), END] for text in texts]
    joined = np.concatenate([np.array(part, np.int32) for part in tokens])
    n = len(joined) // length
    return joined[: n * length].reshape(n, length)


def text(tokens, names: Sequence[str]) -> str:
    """Return tokens [t] as a text up to the first end or pad. Words are joined by blanks, characters as they are.

    The inverse of `encoder` for characters that are all in the vocabulary. Raises IndexError where a token is none.
    """
    tokens = np.asarray(tokens)
    ended = np.flatnonzero((tokens == END) | (tokens == PAD))
    found = [names[token] for token in tokens[: ended[0] if ended.size else None]]
    return ("" if level(names) == "char" else " ").join(found)


def level(names: Sequence[str]) -> Level:
    """Return the level of a vocabulary: char where every piece is one character."""
    return "char" if all(len(name) == 1 for name in names[len(SPECIAL) :]) else "word"
