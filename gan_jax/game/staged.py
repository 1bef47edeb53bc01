"""What D sees of pictures in several stages, the last of which is to be the finest: x [b, stages, h, w, c].

Of the multi-level noise-perturbed image guidance of GAT (Hyun, Lee and Heo 2025, arXiv 2509.24935), as in the authors'
code (hse1032/GAT).
"""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.game import augment, rng


def levels(stages, least=0.125):
    """Return the share of noise [stages] in what D sees: from 1.01 - `least` to 0.01, the rest a geometric row."""
    return 1.01 - least ** np.linspace(0, 1, stages)[::-1]


def noised(key, x, least=0.125):
    """Return x as (1 - t) x + t noise, t the `levels`; a stage's noise is that of the next one, and some more.

    Both are scaled as the picture is: (1 - t) (x + walk), where the noise walks from the last stage to the first.
    """
    t = levels(x.shape[1], least)
    more = np.sqrt(-np.diff((t / (1 - t)) ** 2, append=0))  # deviation of the walk's steps
    of = lambda a: jnp.asarray(a, x.dtype).reshape(1, -1, 1, 1, 1)
    walk = jax.lax.cumsum(of(more) * rng.normal(key, x.shape), 1, reverse=True)
    return of(1 - t) * (x + walk)


def changed(key, x):
    """Return x in other colours (half of the rows), moved, with a hole, mirrored (0.4 of them), all stages alike."""
    chance = lambda name, share: rng.uniform(rng.at(key, 0, name), (len(x), 1, 1, 1)) < share

    def one(x):
        x = jnp.where(chance("recoloured", 0.5), augment.recolour_evenly(key, x), x)
        x = augment.cutout(key, augment.translate(key, x))
        return jnp.where(chance("mirrored", 0.4), x[:, :, ::-1], x)

    return jax.vmap(one, 1, 1)(x)
