"""Texts with a number that is computed of them."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from gan_jax.data import tokens
from gan_jax.data.recipes import suit
from gan_jax.data.source import Field, Source


@functools.cache
def described(source: Source, field: str, name: str, of: Callable[[str], float]) -> Source:
    """Return the source of texts x with one field more, float32 [1]: the number `of` the text, which is called `name`.

    It is computed once, of a whole split, on the host. Raises UserError where x is no text, or has that field.
    """
    suit(source, "described", ("tokens",), field)
    names = source.row["x"].names

    @functools.cache
    def values():
        return np.array([[of(tokens.text(x, names))] for x in source.whole()["x"]], np.float32)

    return dataclasses.replace(
        source,
        fields=source.fields | {field: Field((1,), "row", names=(name,))},
        read=lambda indices: source.read(indices) | {field: values()[np.asarray(indices, int)]},
        whole=lambda: source.whole() | {field: values()},
        test=source.test and described(source.test, field, name, of),
        nbytes=source.nbytes + 4 * source.n,
    )
