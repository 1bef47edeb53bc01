"""Whose face it is: features of made pictures against those of pictures of people."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gan_jax.metrics import labels


def kept(features: Callable, made: dict, of: tuple, others: tuple) -> dict:
    """Return how much of people is kept in pictures of them: {cosine/NAME, rank1/NAME, rank1_of_all/NAME}.

    features: pictures [n, h, w, c] -> [n, d]. made: {NAME: pictures [n, h, w, c]}. of: (the true pictures, who is on
    them [n, ...]), row for row what was to be made. others: (pictures, who), of people who are in the way. cosine:
    between the features of made and true, on average, in [-1, 1]. rank1: how often the nearest of the true pictures, by
    the cosine, is of that person, in [0, 1]; of_all: the nearest of the true ones and those of others. Who is unknown
    does not count for these two.
    """
    unit = lambda x: _unit(features(x))
    (truth, who), (beside, whose) = of, others
    known, whose = unit(jnp.concatenate([truth, beside])), jnp.concatenate([who, whose])
    n, found, there = len(truth), {}, labels.known(who)
    same = (who[:, None] == whose[None]).reshape(n, len(whose), -1).all(2)  # [n, n + others]
    for name, x in made.items():
        near = unit(x) @ known.T  # [n, n + others]
        first = lambda m, near=near: jnp.take_along_axis(same, near[:, :m].argmax(1)[:, None], 1)[:, 0]
        right = lambda m, first=first: (first(m) & there).sum() / there.sum()
        found |= {f"cosine/{name}": jnp.diagonal(near).mean(), f"rank1/{name}": right(n)}
        found[f"rank1_of_all/{name}"] = right(len(whose))
    return found


def verified(one: jax.Array, other: jax.Array) -> jax.Array:
    """Return how well rows i of both [n, d] are told from rows i and j: the share of cosines of others that are lower.

    On average over i it is the area under the curve of true and false positives: 1 at best, 1/2 by chance.
    """
    near = _unit(one) @ _unit(other).T
    return (jnp.diagonal(near)[:, None] > near).sum() / (len(near) * (len(near) - 1))


def _unit(x: jax.Array) -> jax.Array:
    return x / (jnp.linalg.norm(x, axis=1, keepdims=True) + 1e-9)
