"""What a field of a batch is made of: features of a record, and the function that makes a row of their values."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from gan_jax.data.source import Field
from gan_jax.data.stored import Feature, Split

LONGEST = 1024  # rows of a sequence that are kept where no length is asked for
PIXELS = ("image", "video", "voxels")  # kept as uint8


class Column(NamedTuple):
    """One field of a batch, out of features of each record."""

    features: tuple[str, ...]
    field: Field
    make: Callable[..., np.ndarray]  # their values in a record -> row [*shape], as it is kept
    said: str = ""  # what was found out for it
    measured: bool = False  # whether its shape is that of the pictures of the training split, and said nowhere

    @property
    def dtype(self) -> np.dtype:
        """The type of what is kept."""
        return np.dtype(np.uint8 if self.field.kind in PIXELS else self.field.dtype)


class Asked(NamedTuple):
    """What a name's choices ask of its fields."""

    size: int = 0  # side of squares
    length: int = 0  # of sequences
    level: str = ""  # of text
    vocabulary: int = 0  # of the most frequent tokens of text; 0: all


class Look(NamedTuple):
    """What a column is made from."""

    path: str
    feature: Feature
    train: Split
    test: Split | None
    features: dict
    asked: Asked

    def each(self, convert: Callable, split: Split | None = None) -> Iterator:
        return (split or self.train).each(self.path, self.features, convert)


def length_of(asked: int, longest: int) -> tuple[int, str]:
    """Return the length that sequences are cut or padded to, and words on it. asked: 0 where none is asked for."""
    length = asked or min(longest, LONGEST)
    return length, f"length {length}" + (f" of up to {longest}: longer ones are cut" if length < longest else "")
