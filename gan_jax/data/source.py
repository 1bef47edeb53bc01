"""What a data set is, with nothing read yet: its fields, and the functions that make a batch of its records."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

Kind = Literal["points", "image", "video", "voxels", "tokens", "series", "row", "label"]
DEVICE_BYTES = 2**31  # a record set up to this size is kept on the device; `--stream` overrides


@dataclasses.dataclass(frozen=True)
class Field:
    """One named array of a batch: the shape of one row of it, what it shows, and the type of its numbers.

    points [c]; image [h, w, c], video [t, h, w, c] and voxels [d, h, w, c] in [-1, 1]; tokens [t], whole numbers of a
    vocabulary; series [t, c], rows over time; row [c], the columns of a table; label [], a whole number, or [n] or
    [h, w], one a box or a pixel.
    """

    shape: tuple[int, ...]
    kind: Kind
    dtype: Any = np.float32
    classes: int = 0  # label, tokens: how many values there are
    names: tuple[str, ...] = ()  # what the values of a label or of tokens, or the columns of a row, are called
    undo: Callable | None = None  # x -> x in the units of the records, where a recipe took it out of them
    # row: of each of its columns (of those of `undo`) what its whole numbers are called, () where they are numbers; no
    # part of the repr, of which the cache makes names
    values: tuple[tuple[str, ...], ...] = dataclasses.field(default=(), repr=False)


def label(classes: int, names: Sequence[str] = ()) -> Field:
    """Return the field of a label of so many classes."""
    return Field((), "label", np.int32, classes, tuple(names))


def decode(raw: dict, *_: Any) -> dict:
    """Return raw records as a batch: uint8 becomes float32 in [-1, 1], all else stays. The usual `make` of a source."""
    # 2x - 255 is exact, so only the product rounds: the same bits in every program that XLA makes of it
    cast = lambda a: (a.astype(jnp.float32) * 2 - 255) * np.float32(1 / 255) if a.dtype == np.uint8 else a
    return jax.tree.map(cast, raw)


def encode(x: Any) -> np.ndarray:
    """Return pictures in [-1, 1] as uint8, rounded and cut to 0 .. 255, on the host: what `decode` undoes."""
    return np.round((np.clip(np.asarray(x, np.float32), -1, 1) + 1) * 127.5).astype(np.uint8)


def nothing(*_: Any) -> dict:
    """Return what a toy has of records and of indices: none."""
    return {}


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One data set. Batch i is `make(read(pick(key, i, b)), key, i, b)`, a function of the run's key and of i alone.

    A batch is a dict of arrays [b, *shape] with the names of `fields`; of joined sources, a dict of such dicts.
    """

    name: str
    fields: dict
    n: int = 0  # records; 0: none, every row is drawn
    pick: Callable = (
        nothing  # (key, i, b) -> indices of the records of batch i, a tree [b, ...] of whole numbers, in jit
    )
    read: Callable = nothing  # indices [...] -> raw records {name: [..., *shape]}, numpy, on the host
    whole: Callable = nothing  # () -> the raw records, all of them, in the order of their indices
    make: Callable = decode  # (raw records, key, i, b) -> batch i, in jit
    test: "Source | None" = None  # the records that are held out
    modes: Any = None  # where the modes of the data are known, their `metrics.modes.Mixture` or `Stacked`
    judge: Any = None  # of captions with a known answer, what reads it off pictures, as `named.Reader`
    language: Any = None  # where all strings of the data are known, their `metrics.language.Language`
    fingerprint: str = ""  # names what the cache keeps of the records; without one it keeps nothing
    content: str = ""  # a digest of the records, where the name does not say which they are: a run keeps to it
    nbytes: int = 0  # of all raw records
    part: "Source | None" = None  # of joined sets, the one called x, of which samples are
    says: str = ""  # which features and splits were taken, in a line

    @property
    def row(self) -> dict[str, Field]:
        """The fields of what is trained on and drawn: of joined sources, those of the first one."""
        fields = self.fields
        while isinstance(fields["x"], dict):
            fields = fields["x"]
        return fields

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one x."""
        return self.row["x"].shape

    @property
    def kind(self) -> Kind:
        """What x is."""
        return self.row["x"].kind

    @property
    def classes(self) -> int:
        """How many values the label y has; 0 where there is no y, or one that is no single label."""
        return self.row["y"].classes if "y" in self.row and self.row["y"].shape == () else 0

    @property
    def fits(self) -> bool:
        """Whether all records may be kept on the device (a toy takes no room at all)."""
        return self.nbytes <= DEVICE_BYTES

    @property
    def row_numbers(self) -> int:
        """How many numbers one row of a batch has, all fields together."""
        fields = jax.tree.leaves(self.fields, is_leaf=lambda f: isinstance(f, Field))
        return sum(math.prod(field.shape) for field in fields)
