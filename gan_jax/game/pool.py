"""Pools of old fakes, so that D does not forget what G did before."""

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


def remembered(key, pool, kept, fakes):
    """Return (as many old fakes [b, ...] as there are new ones, the pool afterwards [n, ...], how many it holds).

    The new ones are kept in order while there is room; later they take the places of b others, no two the same, drawn
    at random. Old ones are drawn with repetition; where there is none yet, the new ones are returned. SimGAN's way
    (Shrivastava et al. 2017, arXiv 1612.07828, section 2.3).

    pool: old fakes [n, ...], n at least b. kept: how many of them there are. fakes: new ones [b, ...].
    """
    n, b = len(pool), len(fakes)
    old = pool[jax.random.randint(key, (b,), 0, jnp.maximum(kept, 1))]
    others = jax.random.choice(jax.random.fold_in(key, 1), n, (b,), replace=False)
    at = jnp.where(kept < n, (kept + jnp.arange(b)) % n, others)
    return jnp.where(kept > 0, old, fakes), pool.at[at].set(fakes), jnp.minimum(kept + b, n)
