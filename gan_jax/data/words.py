"""What is known of the words of a text: how often they occur, and vectors that others learned for them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import tokens
from gan_jax.data.source import Source
from gan_jax.errors import UserError


@functools.cache
def frequencies(source: Source) -> np.ndarray:
    """Return how often each token occurs in x of a source's records, float32 [classes]; padding does not count."""
    counts = np.bincount(source.whole()["x"].ravel(), minlength=source.row["x"].classes)
    return np.where(np.arange(len(counts)) == tokens.PAD, 0, counts).astype(np.float32)


def last(x: jax.Array) -> jax.Array:
    """Return the place of the last token of each row, int32 [b], of tokens x [b, t]: its end, unless it was cut."""
    return (x != tokens.PAD).sum(1, dtype=jnp.int32) - 1


def with_vectors(table: jax.Array, names: tuple[str, ...], source: Source) -> jax.Array:
    """Return a table of word vectors [..., v, d] with those of `source` for the words `names` that it has.

    source: of vectors x and words y (`glove50d10k,x=vector,y=word:label`); a word that it lacks is looked up in small
    letters. Raises UserError where its vectors have another size, or it has none of the words.
    """
    if source.shape != table.shape[-1:]:
        raise UserError(f"vectors of {source.name} have {source.shape[-1]} numbers, not {table.shape[-1]}.")
    raw, said = source.whole(), source.row["y"].names
    of = dict(zip((said[i] for i in raw["y"]), raw["x"], strict=True))
    found = [of.get(word, of.get(word.lower())) for word in names]
    rows = np.array([i for i, vector in enumerate(found) if vector is not None], int)
    if not len(rows):
        raise UserError(f"{source.name} has a vector of none of the {len(names)} words: choose other vectors.")
    known = np.stack([found[i] for i in rows])
    return table.at[..., rows, :].set(jnp.broadcast_to(known, (*table.shape[:-2], *known.shape)).astype(table.dtype))
