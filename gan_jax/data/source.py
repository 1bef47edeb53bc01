"""What a data set is, with nothing read yet."""

import dataclasses
from collections.abc import Callable

import numpy as np

DEVICE_BYTES = 2**31  # a record set up to this size is kept on the device; `--stream` overrides


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One data set: a toy, that is drawn, or records, that are read; or several sources side by side."""

    name: str
    shape: tuple[int, ...]  # of one x
    draw: Callable | None = None  # toys: (key, n) -> {"x": [n, *shape], "y": [n]}
    modes: tuple | None = None  # toys that are mixtures: (means [m, c], std, shares [m])
    n: int = 0  # record sets: how many records
    read: Callable | None = None  # record sets: indices -> {"x": uint8 [.., h, w, c], "y": int32 [..]}, numpy
    classes: int = 0  # how many labels y may take; 0 where there is no y
    fingerprint: str = ""  # names the cached copy of the decoded records
    test: "Source | None" = None  # the records that are held out, where the set has a split called test
    labelled: int = 0  # of these records alone, equally many of each class, batches are made; 0: of all
    parts: "dict[str, Source] | None" = None  # several sources: a batch is a dict of theirs
    base: "Source | None" = None  # the grey set whose records, three at a time, are the colours of this one's

    @property
    def fits(self) -> bool:
        """Whether the whole set may live on the device (a toy takes no room at all)."""
        return sum(s.n * int(np.prod(s.shape)) for s in (self.parts or {"": self}).values()) <= DEVICE_BYTES
