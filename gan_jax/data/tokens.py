"""Text as whole numbers of a vocabulary, and back."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import numpy as np

from gan_jax.data.column import Asked, length_of
from gan_jax.data.source import Field

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


def survey(texts: Iterable[str]) -> dict:
    """Return what there is to know of texts, a value of JSON found in one pass.

    characters: of all of them. blanks: whether one has a blank in it. vocabulary, longest: by level, the longest in
    tokens with its end.
    """
    counts = {level: Counter() for level in LEVELS}
    longest, characters, blanks = dict.fromkeys(LEVELS, 1), 0, False
    for one in texts:
        characters, blanks = characters + len(one), blanks or " " in one.strip()
        for level in LEVELS:
            found = pieces(one, level)
            counts[level].update(found)
            longest[level] = max(longest[level], len(found) + 1)
    words = {level: vocabulary(found) for level, found in counts.items()}
    return {"characters": characters, "blanks": blanks, "vocabulary": words, "longest": longest}


def field(known: dict, asked: Asked) -> tuple[Field, Level, str]:
    """Return the field of the tokens of texts, their level, and words on it. known: what `survey` found.

    By default texts that have blanks are cut into words, others into characters.
    """
    level = asked.level or ("word" if known["blanks"] else "char")
    names = named(known, level, asked.vocabulary)
    length, said = length_of(asked.length, known["longest"][level])
    return Field((length,), "tokens", np.int32, len(names), names), level, f"{level}s, {len(names)} tokens, {said}"


def named(known: dict, level: Level, most: int) -> tuple[str, ...]:
    """Return the vocabulary of a level, of which only the `most` most frequent pieces are kept; 0: all."""
    names = tuple(known["vocabulary"][level])
    return names[: len(SPECIAL) + most] if most else names


def encoder(names: Sequence[str], level: Level, length: int) -> Callable[[str], np.ndarray]:
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


def text(tokens: Iterable[int], names: Sequence[str]) -> str:
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
