"""How well rows of numbers [n, d] stand for others, inside jit: by columns, by pairs, in clusters, to a classifier."""

import jax
import jax.numpy as jnp
import optax

from gan_jax.metrics.descent import minimised
from gan_jax.nets import mlp

LLOYD = 20  # rounds of k-means
WIDTH, STEPS, RATE = 32, 200, 0.02  # of a classifier: units of a hidden layer, full-batch updates of Adam, its rate


def apart(real, made):
    """Return how far the columns are apart [d]: the largest difference of their distribution functions (Kolmogorov)."""

    def one(a, b):
        both = jnp.concatenate([a, b])
        share = lambda x: jnp.searchsorted(jnp.sort(x), both, side="right") / len(x)
        return jnp.abs(share(a) - share(b)).max()

    return jax.vmap(one, 1)(real, made)


def correlated(real, made):
    """Return (the mean difference in size of two columns' correlations, the share of triples that agree).

    Triples are columns (i, j, k), all different; they agree where corr(i, j) > corr(i, k) says the same of both, as
    half of them do by chance (Kumar, Biswas and Sanyal 2018, arXiv 1801.03244, who draw 100,000). A column without
    spread correlates with none.
    """
    p, q = (jnp.nan_to_num(jnp.corrcoef(x, rowvar=False)) for x in (real, made))
    d = len(p)
    off = ~jnp.eye(d, dtype=bool)

    def agreeing(i):
        greater = lambda c: c[i][:, None] > c[i][None]  # [j, k]
        counted = off & off[i][:, None] & off[i][None]
        return ((greater(p) == greater(q)) & counted).sum(), counted.sum()

    same, of = jax.lax.map(agreeing, jnp.arange(d))
    return (jnp.abs(p - q) * off).sum() / off.sum(), same.sum() / of.sum()


def centres(key, x, k):
    """Return the centres [k, d] of clusters of rows x, of k-means from k of the rows; one that loses all rows stays."""

    def move(centres, _):
        of = jax.nn.one_hot(cluster(x, centres), k, dtype=x.dtype)  # [n, k]
        counts = of.sum(0)[:, None]
        return jnp.where(counts > 0, of.T @ x / jnp.maximum(counts, 1), centres), None

    return jax.lax.scan(move, jax.random.choice(key, x, (k,), replace=False), length=LLOYD)[0]


def cluster(x, centres):
    """Return the number of the nearest centre of each row [n]."""
    return ((centres**2).sum(1)[None] - 2 * x @ centres.T).argmin(1)


def table(a, b, k):
    """Return which share of rows has the clusters a [n] and b [n], of k each: [k, k]."""
    a, b = (jax.nn.one_hot(of, k, dtype=jnp.float32) for of in (a, b))
    return a.T @ b / len(a)


def variation(p, q):
    """Return half the differences of shares p and q in all: 0 for equal ones, 1 where they have nothing in common."""
    return jnp.abs(p - q).sum() / 2


def told(key, real, made, depth):
    """Return the share of rows, half of them made, of which a perceptron says rightly which they are: 1/2 by chance.

    It has `depth` hidden layers (0: logistic regression), sees the first halves, and is asked about the second ones.
    """
    mean, deviation = real.mean(0, keepdims=True), real.std(0, keepdims=True) + 1e-6
    seen, asked = zip(*(jnp.split((x - mean) / deviation, [len(x) // 2]) for x in (real, made)), strict=True)
    net = mlp.D(WIDTH, depth)

    def loss(params):
        a, b = (net.apply(params, x) for x in seen)
        return (jax.nn.softplus(-a).mean() + jax.nn.softplus(b).mean()) / 2

    params = minimised(loss, net.init(key, seen[0][:1]), optax.adam(RATE), STEPS)
    a, b = (net.apply(params, x) for x in asked)
    return ((a > 0).mean() + (b <= 0).mean()) / 2
