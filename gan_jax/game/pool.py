"""A pool of old fakes, so that D does not forget what G did before."""

import jax
import jax.numpy as jnp


def query(key, pool, seen, fakes):
    """Return (what D is shown [b, ...], the pool afterwards [n, ...]).

    Each fake in turn is kept, and shown itself, while there is room. Later it is shown itself half of the time; else an
    old one, drawn at random, is shown, and it takes that one's place. CycleGAN's way (Zhu et al. 2017, arXiv
    1703.10593), after Shrivastava et al. 2017 (arXiv 1612.07828).

    pool: old fakes [n, ...]. seen: how many fakes there were before these. fakes: new ones [b, ...].
    """

    def one(pool, i_key_x):
        i, key, x = i_key_x
        room = seen + i < len(pool)
        swap = ~room & jax.random.bernoulli(key)
        at = jnp.where(room, seen + i, jax.random.randint(jax.random.fold_in(key, 1), (), 0, len(pool)))
        return pool.at[at].set(jnp.where(room | swap, x, pool[at])), jnp.where(swap, pool[at], x)

    pool, shown = jax.lax.scan(one, pool, (jnp.arange(len(fakes)), jax.random.split(key, len(fakes)), fakes))
    return shown, pool
