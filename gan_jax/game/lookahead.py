"""Ways to let one player see ahead of the other."""

import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.game.hoist import hoisted
from gan_jax.game.player import Player, descend


def unroll(loss, player: Player, tx, k: int, *, remat=True, first_order=False) -> Player:
    """Return the player after `k` differentiable descents of `loss` by its own optimiser `tx`, state and all.

    Unrolled GAN (Metz et al. 2017, arXiv 1611.02163): the gradient flows through every update, Adam's moments included.

    loss: (params, i) -> scalar, i = 0..k-1 (fold it into a key to draw a new minibatch each time).
    remat: recompute each descent in the backward pass; memory then hardly grows with k.
    first_order: stop the gradient at the answer, so that the opponent merely faces a player that is k updates ahead.
    """
    update = lambda player, i: (descend(player, jax.grad(loss)(player.params, i), tx), None)
    # What all descents share, such as x cut into patches, is up to a quarter of a convolutional D's work.
    body = hoisted(update, player, jnp.zeros((), int))

    if remat:
        body = jax.checkpoint(body, prevent_cse=False)  # safe: scan already keeps XLA from merging the two passes
    ahead, _ = lax.scan(body, player, jnp.arange(k))
    return lax.stop_gradient(ahead) if first_order else ahead
