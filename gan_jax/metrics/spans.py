"""Of answers that stand in a text, from a first to a last word: the likeliest one, and how near it is to the right one.

Exact match and F1 are those of SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250): of the words of both answers, without
articles and marks.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data.tokens import PAD, SPECIAL

ARTICLES = "a", "an", "the"


def counted(names: Sequence[str]) -> np.ndarray:
    """Return which words count, bool [v]: those with a letter or a digit that are no articles."""
    none = {*ARTICLES, *SPECIAL}
    return np.array([any(c.isalnum() for c in name) and name.lower() not in none for name in names])


def best(log_p: jax.Array, longest: int) -> jax.Array:
    """Return the likeliest span, int32 [b, 2], of at most `longest` words; log_p [b, p, 2]: of the first, the last."""
    b, p, _ = log_p.shape
    size = jnp.arange(p)[None] - jnp.arange(p)[:, None]  # [first, last], one less than the words
    both = log_p[:, :, None, 0] + log_p[:, None, :, 1]  # [b, first, last]
    at = jnp.where((size >= 0) & (size < longest), both, -jnp.inf).reshape(b, -1).argmax(1)
    return jnp.stack([at // p, at % p], 1).astype(jnp.int32)


def exact(found: jax.Array, right: jax.Array, context: jax.Array, counts: jax.Array) -> jax.Array:
    """Return whether the words of two spans [b, 2] of a text [b, p] are the same in the same order, bool [b].

    counts: which words do at all, bool [v].
    """
    return (words(found, context, counts) == words(right, context, counts)).all(1)


def f1(found: jax.Array, right: jax.Array, context: jax.Array, counts: jax.Array) -> jax.Array:
    """Return the harmonic mean [b] of the shares of words that two spans have in common; arguments as of `exact`.

    A word that stands there twice counts twice. Without any word in common it is 0.
    """
    inside = [_inside(span, context) & counts[context] for span in (found, right)]  # [b, p]
    same = context[:, :, None] == context[:, None]  # [b, p, p]
    of_found, of_right = ((same & one[:, None]).sum(2) for one in inside)  # [b, p] how often the word there is inside
    common = (inside[0] * jnp.minimum(of_found, of_right) / jnp.maximum(of_found, 1)).sum(1)
    return 2 * common / jnp.maximum(inside[0].sum(1) + inside[1].sum(1), 1)


def words(span: jax.Array, context: jax.Array, counts: jax.Array) -> jax.Array:
    """Return the words of spans [b, 2] of a text [b, p] that count (bool [v]), from the left, then padding: [b, p]."""
    inside = _inside(span, context) & counts[context]
    place = jnp.where(inside, inside.cumsum(1) - 1, context.shape[1])
    rows = jnp.arange(len(context))[:, None]
    return jnp.full_like(context, PAD).at[rows, place].set(context, mode="drop")


def _inside(span, context):
    places = jnp.arange(context.shape[1])[None]
    return (span[:, :1] <= places) & (places <= span[:, 1:])
