"""Several players of one kind, stacked along a first axis [T, ...]: the learners of an ensemble, and their mixture."""

import jax
import jax.numpy as jnp

from gan_jax.game import player, rng


def create(net, tx, key, learners, *inputs):
    """Return so many new players of one net as one, [T, ...]; each begins by a key of its own."""
    return jax.vmap(lambda key: player.create(net, tx, key, *inputs))(jax.random.split(key, learners))


def each(f, *players):
    """Return f of each player in turn, [T, ...]; `jax.vmap` would make convolutions in groups, slow on a CPU.

    players: trees [T, ...], of which f sees one row each.
    """
    return jax.lax.map(lambda one: f(*one), players)


def one_of(players, t):
    """Return player t of several."""
    return jax.tree.map(lambda a: a[t], players)


def put(players, t, one):
    """Return several players with one in the place of player t."""
    return jax.tree.map(lambda a, b: a.at[t].set(b), players, one)


def latent(key, n, size):
    """Return {"z": noise [n, size], standard normal, "which": [n], even in [0, 1)}, the latents of a mixture."""
    return {"z": rng.normal(rng.at(key, 0, "z"), (n, size)), "which": rng.uniform(rng.at(key, 0, "which"), (n,))}


def pick(made, shares, which):
    """Return samples [n, ...] of a mixture of generators with these shares [T].

    made [T, n, ...]: what each makes of all latents; which [n], even in [0, 1), chooses one of them for each row.
    """
    ends = jnp.cumsum(shares)[:-1]  # the last part ends at 1 however sums are rounded
    return made[(which[:, None] >= ends[None]).sum(1), jnp.arange(len(which))]


def boosted(score, beta):
    """Return the weights [n] of rows of data for a learner that enters a mixture with weight beta; their sum is 1.

    score [n]: that of a C = sigmoid(score) which tells data from the mixture before; r = (1 - C) / C is the ratio of
    their densities. The weights are max(L - (1 - beta) r, 0) / (n beta), for the one L with that sum (AdaGAN,
    Tolstikhin et al. 2017, arXiv 1701.02386, equations 17 and 18); 1e-8 stands beside C as in the authors' code.
    """
    n, ratio = len(score), jax.nn.sigmoid(-score) / (jax.nn.sigmoid(score) + 1e-8)
    below, rows = (1 - beta) * jnp.sort(ratio), jnp.arange(1, n + 1)
    levels = (beta * n + jnp.cumsum(below)) / rows  # L, if so many rows had a weight
    level = levels[jnp.where(below <= levels, rows, 0).max() - 1]
    return jnp.maximum(level - (1 - beta) * ratio, 0) / (n * beta)
