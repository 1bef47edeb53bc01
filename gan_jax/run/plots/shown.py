"""What `measure` returns to be drawn."""

import dataclasses
from typing import Any

import jax
import numpy as np

from gan_jax.data import Field
from gan_jax.run.plots import text

static = {"static": True}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of several in rows and columns, and the words on it. A plain array is a Picture without words.

    Without a kind, an x whose rank is that of the set's own x is of the set's kind; else [rows, columns, h, w, c] are
    images and [rows, columns, t, h, w, c] clips.
    """

    x: Any  # [rows, columns, *shape of one]
    kind: str = dataclasses.field(default="", metadata=static)
    rows: tuple[str, ...] = dataclasses.field(default=(), metadata=static)  # the title of each row
    columns: tuple[str, ...] = dataclasses.field(default=(), metadata=static)  # the head of each column
    about: Any = None  # of each one its label [rows, columns] or its tokens [rows, columns, t], written under it
    field: Field | None = dataclasses.field(default=None, metadata=static)  # whose names those have

    @property
    def captions(self) -> list[str]:
        """The words under each one, row by row; none where nothing is said about them."""
        if self.about is None:
            return []
        field = self.field or Field((), "tokens")
        return [text.words(one, field) for row in np.asarray(self.about) for one in row]

    def kind_beside(self, field: Field) -> str:
        """Return the kind, in a run whose samples are of `field`."""
        rank = np.ndim(self.x) - 2
        found = self.kind or (field.kind if rank == len(field.shape) else {3: "image", 4: "video"}.get(rank))
        if not found:
            raise ValueError(f"what measure returns as {np.shape(self.x)} is neither a number nor a picture of a kind")
        return found
