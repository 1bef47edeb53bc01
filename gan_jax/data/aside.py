"""One column of a table, set aside: as a label of which a representation should say nothing."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np

from gan_jax.data.recipes import suit, wrapped
from gan_jax.data.source import Source, label
from gan_jax.errors import UserError


@functools.cache
def aside(source: Source, column: int, above: float) -> Source:
    """Return the source of rows without one column, with a label `s` instead: whether its number is above a bound.

    Raises UserError where x is no row with such a column, or `s` is there already.
    """
    suit(source, "set aside", ("row",), "s")
    (columns,) = source.shape
    if not 0 <= column < columns:
        raise UserError(f"{source.name} has columns 0 to {columns - 1}, and no column {column}.")

    def change(batch, *_):
        x = batch["x"]
        return {"x": jnp.delete(x, column, 1), "s": (x[:, column] > above).astype(np.int32)}

    def fields(split):
        x = split.fields["x"]
        names = tuple(name for i, name in enumerate(x.names) if i != column)
        of_s = label(2, (f"at most {above:g}", f"above {above:g}"))
        return {"x": dataclasses.replace(x, shape=(columns - 1,), names=names), "s": of_s}

    return wrapped(source, "aside", fields, change, f"without{column}", modes=None)
