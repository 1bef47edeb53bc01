"""A player: one net of the game with everything that it carries from step to step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

COMPUTE = None  # the type in which nets compute, where it is not that of their params: `--precision bf16`. Read while
# tracing: what is already compiled stays as it is.


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

    Keep the stats of the reals where D scores reals and fakes apart: D is used on data afterwards. With COMPUTE the net
    sees params and inputs in that type; its output, the stats and all gradients are float32 again.
    """
    variables, inputs = {"params": _cast(params, COMPUTE), **stats}, _cast(inputs, COMPUTE)
    if not train:
        return _cast(net.apply(variables, *inputs, train=False), COMPUTE and jnp.float32), stats
    output, new = net.apply(variables, *inputs, train=True, mutable=list(stats))
    return _cast((output, new), COMPUTE and jnp.float32)


def _cast(tree, dtype):
    """Return the tree with its arrays of floating point in this type, if there is one; whole numbers stay."""
    floating = lambda a: hasattr(a, "dtype") and jnp.issubdtype(a.dtype, jnp.floating)
    return jax.tree.map(lambda a: a.astype(dtype) if floating(a) else a, tree) if dtype else tree


def falling(lr, share, updates):
    """Return the rate lr, which over the last `share` of so many updates goes down to 0 in a straight line."""
    last = round(share * updates)
    return optax.linear_schedule(lr, 0, last, updates - last) if last else lr


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
