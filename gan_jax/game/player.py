"""A player: one net of the game with everything that it carries from step to step."""

from typing import Any, NamedTuple

import jax
import optax


class Player(NamedTuple):
    """A net's values; the net itself, a Linen module, is a function of them."""

    params: Any  # what its gradient moves
    stats: Any  # the net's other collections, such as {"batch_stats": ...}; {} where it has none
    opt: Any  # its optimiser's state


def create(net, tx, key, *inputs) -> Player:
    """Return a new player for the Linen module `net` and the optimiser `tx`; `inputs` give the shapes."""
    variables = dict(net.init(key, *inputs))
    params = variables.pop("params")
    return Player(params, variables, tx.init(params))


def forward(net, params, stats, *inputs, train=True):
    """Return (the net's output, its new stats); with train=False the stats are used, and come back as they are.

    Keep the stats of the reals where D scores reals and fakes apart: D is used on data afterwards.
    """
    if not train:
        return net.apply({"params": params, **stats}, *inputs, train=False), stats
    return net.apply({"params": params, **stats}, *inputs, train=True, mutable=list(stats))


def descend(player: Player, grads, tx, stats=None) -> Player:
    """Return the player after one update of `tx` along `grads`, with `stats` put in where they are given."""
    updates, opt = tx.update(grads, player.opt, player.params)
    params = optax.apply_updates(player.params, updates)
    return Player(params, player.stats if stats is None else stats, opt)


def ema(average, new, decay):
    """Return decay * average + (1 - decay) * new, leaf by leaf (params and stats alike; whole numbers are copied)."""
    return jax.tree.map(
        lambda a, n: a * decay + n * (1 - decay) if jax.numpy.issubdtype(n.dtype, jax.numpy.inexact) else n,
        average,
        new,
    )
