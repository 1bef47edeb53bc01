"""How well what is unknown is told from what is known, and what is known named, inside jit."""

import jax
import jax.numpy as jnp

from gan_jax.metrics import roc


def best_f(score: jax.Array, right: jax.Array, known: jax.Array, there: jax.Array) -> jax.Array:
    """Return the best F of all thresholds: rows [n] whose score is not below it are answered, the others unknown.

    right: [n], whether the answer is the class, where it is known; there: [n], which rows count. Precision is the share
    of answers that are right, recall that of the known rows that are.
    """
    order = jnp.argsort(jnp.where(there, score, -jnp.inf), descending=True)
    ranked, counts = score[order], there[order]
    right = (right & known)[order] & counts
    f = 2 * right.cumsum() / (counts.cumsum() + (known & there).sum())
    ends = jnp.append(ranked[1:] < ranked[:-1], True)  # a threshold keeps all rows of a score, or none
    return jnp.where(ends & counts, f, 0).max()


def openness(trained: int, tested: int) -> float:
    """Return 1 - sqrt(2 trained / (trained + tested)), of numbers of classes (Scheirer et al. 2013)."""
    return 1 - (2 * trained / (trained + tested)) ** 0.5


def told(p: jax.Array, y: jax.Array, known: int, classes: int) -> dict[str, jax.Array]:
    """Return {"auroc", "accuracy", "F at 0.00", ...} of probabilities p [n, known] of rows with labels y [n].

    Labels from `known` on are unknown classes. accuracy: of the known rows, none rejected. F at OPENNESS: the best one,
    of the rows of all known classes and of none, one, ... of the unknown ones.
    """
    score, right, is_known = p.max(1), p.argmax(1) == y, y < known
    found = {"auroc": roc.of_rows(score, is_known), "accuracy": (right & is_known).sum() / is_known.sum()}
    for n in range(known, classes + 1):
        found[f"F at {openness(known, n):.2f}"] = best_f(score, right, is_known, y < n)
    return found
