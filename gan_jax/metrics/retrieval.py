"""How a gallery is ranked for queries by features: rank-1 and mean average precision, as in re-identification."""

import jax
import jax.numpy as jnp


def among_others(features: jax.Array, who: jax.Array) -> dict[str, jax.Array]:
    """Return {"rank1", "mAP"} where each picture is asked for in turn among all others.

    features: [n, d]; who: [n], the label of each.
    """
    return ranked(features, who, features, who, jnp.eye(len(who), dtype=bool))


def ranked(query: jax.Array, who: jax.Array, gallery: jax.Array, whose: jax.Array, junk: jax.Array) -> dict:
    """Return {"rank1": share of queries whose nearest is right, "mAP": mean average precision}, both in [0, 1].

    query: features [q, d], of labels who [q]; gallery: [n, d], of whose [n]; nearest is what has the greatest cosine.
    junk [q, n], bool: what does not count, as if it were not there. Average precision is the area under precision over
    recall by trapezia, as Market-1501's code has it (Zheng et al. 2015); a query without a right answer has 0.
    """
    near = _unit(query) @ _unit(gallery).T  # [q, n]
    order = jnp.argsort(jnp.where(junk, -jnp.inf, near), axis=1, descending=True)
    right = jnp.take_along_axis((who[:, None] == whose[None]) & ~junk, order, 1)
    precision = right.cumsum(1) / jnp.arange(1, len(gallery) + 1)[None]
    before = jnp.pad(precision[:, :-1], ((0, 0), (1, 0)), constant_values=1)
    average = (right * (precision + before) / 2).sum(1) / jnp.maximum(right.sum(1), 1)
    return {"rank1": right[:, 0].mean(), "mAP": average.mean()}


def nearest(features: jax.Array, rows: int, n: int) -> jax.Array:
    """Return [rows, n]: of each of the first `rows` of features [m, d], the n others that are nearest, best first."""
    near = _unit(features[:rows]) @ _unit(features).T
    return jax.lax.top_k(jnp.where(jnp.eye(rows, len(features), dtype=bool), -jnp.inf, near), n)[1]


def _unit(x):
    return x / (jnp.linalg.norm(x, axis=1, keepdims=True) + 1e-9)
