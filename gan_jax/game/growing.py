"""Nets that grow with the run (PGGAN, Karras et al. 2018, arXiv 1710.10196): what of them is in use, and reals for it.

The nets begin at images of `first` pixels a side. Each level after the first doubles the side. It is faded in, beside
the enlarged images of the level below, while `fade` images are shown, and learns on alone for `stable` ones.
"""

import jax
import jax.numpy as jnp

from gan_jax.errors import UserError


def sizes(shape, first=4):
    """Return the sides (first, 2 first, ...) of square images [h, w, c]. Raises UserError where these don't end so."""
    h, w, _ = shape
    found = [first]
    while found[-1] < h:
        found.append(2 * found[-1])
    if h != w or found[-1] != h:
        raise UserError(
            f"images of {h}x{w} can't be grown from {first}x{first} by doubling: choose squares of {found[-1]}, by "
            f"size={found[-1]} after the name of a set of pictures."
        )
    return tuple(found)


def stage(shown, stable, fade, levels):
    """Return (the finest level in use, int32; how much of it counts, float32 in (0, 1]) after `shown` images.

    As in the authors' code: `stable` images on each level, then `fade` with the next one, which counts more and more.
    """
    done, rest = jnp.divmod(jnp.asarray(shown, jnp.int32), max(stable + fade, 1))
    fading = (rest > stable) & (done < levels - 1)
    level = jnp.minimum(done + fading, levels - 1)
    return level, jnp.where(fading, jnp.float32(rest - stable) / max(fade, 1), jnp.float32(1))


def changed(now, before):
    """Return whether two stages differ in their level, or in whether it is being faded in: moments are reset then."""
    return (now[0] != before[0]) | ((now[1] < 1) != (before[1] < 1))


def restarted(player, tx, when):
    """Return the player with the state that its optimiser begins with, where `when` is true."""
    pick = lambda new, old: jnp.where(when, new, old)
    return player._replace(opt=jax.tree.map(pick, tx.init(player.params), player.opt))


def halved(x):
    """Return x [b, h, w, c] half as large, by the mean of each 2x2 pixels."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def doubled(x):
    """Return x [b, h, w, c] twice as large, by repeating each pixel."""
    return x.repeat(2, 1).repeat(2, 2)


def lerp(old, new, alpha):
    """Return (1 - alpha) old + alpha new: exactly one of them where alpha is 0 or 1."""
    return (1 - alpha) * old + alpha * new


def reals(x, side, alpha):
    """Return x [b, h, w, c] as a level of `side` pixels sees it: shrunk, then blurred as far as the fade has to go."""
    while x.shape[1] > side:
        x = halved(x)
    return lerp(doubled(halved(x)), x, alpha)


def padded(x, side):
    """Return images x [b, h, w, c] in the middle of squares of `side` pixels, -1 around them."""
    around = [(side - n) // 2 for n in x.shape[1:3]]
    pads = [(before, side - n - before) for before, n in zip(around, x.shape[1:3], strict=True)]
    return jnp.pad(x, [(0, 0), *pads, (0, 0)], constant_values=-1)


def cropped(x, shape):
    """Return the middle [b, *shape] of images x [b, side, side, c]: what was `padded`."""
    top, left = ((side - n) // 2 for side, n in zip(x.shape[1:3], shape[:2], strict=True))
    return x[:, top : top + shape[0], left : left + shape[1]]
