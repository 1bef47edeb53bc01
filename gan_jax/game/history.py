"""A history of fakes, so that D does not forget what G did before."""

import jax
import jax.numpy as jnp


def mixed(key, old, seen, fakes):
    """Return (fakes for D [b, ...], the history afterwards [n, ...]), as Shrivastava et al. 2017 (arXiv 1612.07828)
    thought of it and CycleGAN does it.

    Fake by fake: while there is room it is kept, and shown itself; later, every other time, D is shown one of the old
    ones, drawn at random, and the fake takes its place. seen: how many fakes there were before these.
    """

    def one(old, i_key_x):
        i, key, x = i_key_x
        room = seen + i < len(old)
        swap = ~room & jax.random.bernoulli(key)
        at = jnp.where(room, seen + i, jax.random.randint(jax.random.fold_in(key, 1), (), 0, len(old)))
        return old.at[at].set(jnp.where(room | swap, x, old[at])), jnp.where(swap, old[at], x)

    old, shown = jax.lax.scan(one, old, (jnp.arange(len(fakes)), jax.random.split(key, len(fakes)), fakes))
    return shown, old
