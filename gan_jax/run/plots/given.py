"""What a picture of samples is made of."""

from typing import Any, NamedTuple

import numpy as np

from gan_jax.data.source import Field

Panels = dict[str, np.ndarray]  # {title: x [n, ...]}, one for each seed


class Given(NamedTuple):
    """What is known beside the samples: the field that they are of, real data [m, ...], and the modes of the data."""

    field: Field
    real: np.ndarray | None = None
    modes: Any = None

    def units(self, x: np.ndarray) -> np.ndarray:
        """Return numbers in the units of the records, where a recipe took them out of these."""
        return np.asarray(x if self.field.undo is None else self.field.undo(x))
