"""Of short texts, as tokens of a vocabulary: what words say of a label, how likely they follow one another, copies."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data.tokens import PAD

SHARES = 0.6, 0.3, 0.1  # of bigrams, single words and any word alike, in the probability of a word


def odds(x: jax.Array, y: jax.Array, classes: int) -> Callable[[jax.Array], jax.Array]:
    """Return tokens [n, t] -> log odds [n] that the label is 1, as naive Bayes learns them from x [m, t] and y [m].

    y is 0 or 1, or -1 of a text without a label, which does not count. Every word counts as often as it stands there,
    with 1 added to each count; padding does not.
    """
    seen = 1 + jnp.zeros((2, classes)).at[y[:, None], x].add((x != PAD) & (y >= 0)[:, None])
    of_word = jnp.diff(jnp.log(seen / seen.sum(1, keepdims=True)), axis=0)[0]  # [v]
    prior = jnp.log((1 + (y == 1).sum()) / (1 + (y == 0).sum()))
    return lambda x: prior + (of_word[x] * (x != PAD)).sum(1)


def ranked(odds: jax.Array, y: jax.Array) -> jax.Array:
    """Return how often, of two rows with labels 1 and 0, the first has the larger odds [n] (the area under ROC)."""
    above = (odds[:, None] > odds[None]) + 0.5 * (odds[:, None] == odds[None])
    pairs = y[:, None] * (1 - y)[None]
    return (above * pairs).sum() / pairs.sum()


def bigram(x: jax.Array, classes: int) -> Callable[[jax.Array], jax.Array]:
    """Return tokens [n, t] -> their perplexity under a model that counted the words of x [m, t].

    A word's probability is that after the word before it, its own, and an even one, mixed by SHARES. Ends count,
    padding does not.
    """
    before = lambda x: jnp.pad(x[:, :-1], ((0, 0), (1, 0)), constant_values=PAD)
    pairs = jnp.zeros((classes, classes)).at[before(x), x].add(x != PAD)
    each, after = pairs.sum(0), jnp.maximum(pairs.sum(1), 1)

    def perplexity(x):
        b = before(x)
        p = SHARES[0] * pairs[b, x] / after[b] + SHARES[1] * each[x] / each.sum() + SHARES[2] / classes
        return jnp.exp(-(jnp.log(p) * (x != PAD)).sum() / (x != PAD).sum())

    return perplexity


def distinct(x: jax.Array) -> jax.Array:
    """Return how many different texts there are among x [n, t], as a share of them."""
    same = (x[:, None] == x[None]).all(-1)
    return (same.argmax(1) == jnp.arange(len(x))).mean()


def copied(x: jax.Array, of: jax.Array) -> jax.Array:
    """Return the share of texts x [n, t] that are one of those in `of` [m, t]."""
    return (x[:, None] == of[None]).all(-1).any(1).mean()


def overlaps(x: jax.Array, of: jax.Array, classes: int) -> dict[str, jax.Array]:
    """Return {"overlapN": overlap(x, of, classes, N)}, with the largest N up to 4 for which runs have such a number."""
    n = max(n for n in range(1, 5) if classes**n < 2**31)
    return {f"overlap{n}": overlap(x, of, classes, n)}


def overlap(x: jax.Array, of: jax.Array, classes: int, n: int) -> jax.Array:
    """Return the share of the runs of n tokens in x [b, t] that stand somewhere in `of` [m, t] (precision of n-grams).

    Padding comes last, and a run that has some is none. Raises ValueError where runs have no number of 31 bits.
    """
    if classes**n >= 2**31:
        raise ValueError(f"there are too many runs of {n} of {classes} tokens; take a smaller n.")

    def runs(x):
        starts = x.shape[1] - n + 1
        number = sum(x[:, i : i + starts] * np.int32(classes**i) for i in range(n))
        return jnp.where(x[:, n - 1 :] != PAD, number, -1).ravel()

    known, seen = jnp.sort(runs(of)), runs(x)
    at = jnp.minimum(jnp.searchsorted(known, seen), len(known) - 1)
    return ((known[at] == seen) & (seen >= 0)).sum() / jnp.maximum((seen >= 0).sum(), 1)
