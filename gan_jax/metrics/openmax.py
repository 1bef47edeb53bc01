"""OpenMax: logits corrected by how far a row lies from its class, by extreme values, with room for no class at all.

Bendale and Boult 2016, arXiv 1511.06233. All of it runs inside jit.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

SCALE = 200  # of Euclidean distances beside those of angles, as in the authors' code
BISECTIONS = 50


class Tails(NamedTuple):
    """Of each of K classes: its mean logits, and the Weibull distribution of the largest distances from them."""

    means: jax.Array  # [K, v]
    start: jax.Array  # [K], where the distribution is 0
    shape: jax.Array  # [K]
    scale: jax.Array  # [K]
    rows: jax.Array  # [K], how many distances it was fitted to


def distances(logits, means):
    """Return [n, K]: of logits [n, v] from means [K, v], 1 less the cosine, and the Euclidean distance / SCALE."""
    far = jnp.sqrt(((logits[:, None] - means[None]) ** 2).sum(2))
    norms = jnp.linalg.norm(logits, axis=1)[:, None] * jnp.linalg.norm(means, axis=1)[None]
    return far / SCALE + 1 - logits @ means.T / (norms + 1e-9)


def fitted(logits: jax.Array, y: jax.Array, classes: int, tail: int = 20) -> Tails:
    """Return the tails of the rows [n, classes] whose likeliest class is their label y [n]: the `tail` farthest.

    As libmr fits them: moved so that the least is 1, by maximum likelihood.
    """
    of = jax.nn.one_hot(jnp.where(logits.argmax(1) == y, y, -1), classes, dtype=logits.dtype)  # [n, K]
    means = (of.T @ logits) / jnp.maximum(of.sum(0), 1)[:, None]
    d = jnp.where(of > 0, distances(logits, means), -jnp.inf).T  # [K, n]
    d = jax.lax.top_k(d, min(tail, len(logits)))[0]  # [K, tail]
    there = jnp.isfinite(d)
    start = jnp.where(there, d, jnp.inf).min(1) - 1
    start = jnp.where(jnp.isfinite(start), start, 0)
    shape, scale = weibull(jnp.where(there, d - start[:, None], 1), there)
    return Tails(means, start, shape, scale, there.sum(1))


def weibull(x: jax.Array, there: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the likeliest (shape [k], scale [k]) of Weibull distributions of rows x [k, n] > 0, where `there` [k, n].

    Shapes are kept between 1e-2 and 1e4.
    """
    most = jnp.where(there, x, 0).max(1, keepdims=True)
    u = x / jnp.where(most > 0, most, 1)
    n = jnp.maximum(there.sum(1), 1)
    log_u = jnp.where(there, jnp.log(u), 0)

    def slope(shape):  # of the likelihood; it falls
        weight = jnp.where(there, jnp.exp(shape[:, None] * log_u), 0)
        mean = (weight * log_u).sum(1) / jnp.maximum(weight.sum(1), 1e-30)
        return 1 / shape + log_u.sum(1) / n - mean

    def halve(ends, _):
        low, high = ends
        middle = (low + high) / 2
        up = slope(jnp.exp(middle)) > 0
        return (jnp.where(up, middle, low), jnp.where(up, high, middle)), None

    ends = jnp.full(len(x), jnp.log(1e-2), x.dtype), jnp.full(len(x), jnp.log(1e4), x.dtype)
    (low, high), _ = jax.lax.scan(halve, ends, length=BISECTIONS)
    shape = jnp.exp((low + high) / 2)
    weight = jnp.where(there, jnp.exp(shape[:, None] * log_u), 0).sum(1) / n
    return shape, most[:, 0] * weight ** (1 / shape)


def beyond(tails: Tails, d: jax.Array) -> jax.Array:
    """Return [n, K]: how probable it is that distances in the tail are below d [n, K]; 0 of a class without a tail."""
    x = jnp.maximum(d - tails.start[None], 0) / jnp.where(tails.rows > 0, tails.scale, 1)[None]
    return -jnp.expm1(-(x ** tails.shape[None])) * (tails.rows > 0)[None]


def recalibrated(logits: jax.Array, tails: Tails, alpha: int, room: bool = True) -> jax.Array:
    """Return the probabilities [n, K + 1] of K classes, and last of none; without room, [n, K] of the classes alone.

    The logit of the i-th likeliest of `alpha` classes loses its part that is `beyond`, times (alpha + 1 - i) / alpha;
    what all lose is the logit of none.
    """
    alpha = min(alpha, logits.shape[1])
    rank = jnp.argsort(jnp.argsort(logits, axis=1, descending=True), axis=1)  # [n, K], 0 for the likeliest
    weight = jnp.maximum(alpha - rank, 0) / alpha
    lost = logits * weight * beyond(tails, distances(logits, tails.means))
    none = [lost.sum(1, keepdims=True)] if room else []
    return jax.nn.softmax(jnp.concatenate([logits - lost, *none], 1), axis=1)


def probabilities(logits, y, asked, tail: int, alpha: int, room: bool = True) -> jax.Array:
    """Return what is `recalibrated` of the logits asked [m, K], by the tails of training rows: logits [n, K], y [n]."""
    return recalibrated(asked, fitted(logits, y, asked.shape[1], tail), alpha, room)
