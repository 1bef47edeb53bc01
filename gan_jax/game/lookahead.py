"""Ways to let one player see ahead of the other."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

from gan_jax.game.player import Player, descend


def unroll(loss, player: Player, tx, k: int, *, remat=True, first_order=False) -> Player:
    """Return the player after `k` differentiable descents of `loss` by its own optimiser `tx`, state and all.

    Unrolled GAN (Metz et al. 2017, arXiv 1611.02163): the gradient flows through every update, Adam's moments included.

    loss: (params, i) -> scalar, i = 0..k-1 (fold it into a key to draw a new minibatch each time).
    remat: recompute each descent in the backward pass; memory then hardly grows with k.
    first_order: stop the gradient at the answer, so that the opponent merely faces a player that is k updates ahead.
    """
    update = lambda player, i: (descend(player, jax.grad(loss)(player.params, i), tx), None)
    body = _hoisted(update, player, jnp.zeros((), int))

    if remat:
        body = jax.checkpoint(body, prevent_cse=False)  # safe: scan already keeps XLA from merging the two passes
    ahead, _ = lax.scan(body, player, jnp.arange(k))
    return lax.stop_gradient(ahead) if first_order else ahead


def _hoisted(f, *args):
    """Return f, for arguments of these shapes, less what does not depend on them: that is computed here, once.

    Else the loop, and its backward pass, would do it anew every turn: for a D that first cuts x into patches, up to a
    quarter of the work.
    """
    closed, shape = jax.make_jaxpr(f, return_shape=True)(*args)
    jaxpr, of = closed.jaxpr, lambda vs: [v for v in vs if not isinstance(v, core.Literal)]
    once, rest, fixed, varies = [], [], set(jaxpr.constvars), set(jaxpr.invars)
    for eqn in jaxpr.eqns:
        if eqn.effects or varies.intersection(of(eqn.invars)):
            rest.append(eqn)
            varies.update(eqn.outvars)
        elif fixed.intersection(of(eqn.invars)):
            once.append(eqn)
            fixed.update(eqn.outvars)
        else:  # of numbers alone, such as zeros: better made anew than kept
            once.append(eqn)
            rest.append(eqn)
    needed = {v for eqn in rest for v in of(eqn.invars)}.union(of(jaxpr.outvars))
    kept = [v for v in (*jaxpr.constvars, *(v for eqn in once for v in eqn.outvars)) if v in needed & fixed]
    leaves = jax.tree.leaves(args)
    values = core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr.replace(eqns=once, outvars=kept), closed.consts))(*leaves)
    rest = core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr.replace(eqns=rest, constvars=kept), values))
    return lambda *args: jax.tree.unflatten(jax.tree.structure(shape), rest(*jax.tree.leaves(args)))
