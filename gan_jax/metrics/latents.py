"""Ways through a latent and what lies along them, of any G that is a function z [n, z] -> x [n, ...].

Points of ways are computed on the host, in float64.
"""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax


def lerp(a, b, t):
    """Return the points at t, in [0, 1], of the lines from a to b [..., z]; t: a number, or an array [..., 1]."""
    return (1 - t) * np.asarray(a, np.float64) + t * np.asarray(b, np.float64)


def slerp(a, b, t):
    """Return the points at t, in [0, 1], of the great circles from a to b [..., z]; t: a number, or an array [..., 1].

    White 2016, arXiv 1609.04468: sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, where w is the angle between a and b;
    these keep their lengths. Where they point the same way, or opposite ways, no circle is meant, and it is the line.
    """
    a, b = (np.asarray(one, np.float64) for one in (a, b))
    lengths = np.linalg.norm(a, axis=-1, keepdims=True) * np.linalg.norm(b, axis=-1, keepdims=True)
    cosine = (a * b).sum(-1, keepdims=True) / np.where(lengths == 0, 1, lengths)
    w = np.where(lengths == 0, 0, np.arccos(np.clip(cosine, -1, 1)))
    circle = np.sin(w) > 1e-7
    on_circle = (np.sin((1 - t) * w) * a + np.sin(t * w) * b) / np.where(circle, np.sin(w), 1)
    return np.where(circle, on_circle, lerp(a, b, t))


def grid(anchors, space: int):
    """Return the MINE grid of anchors [r, c, z]: [(r - 1) space + 1, (c - 1) space + 1, z].

    Every `space`-th place in rows and columns is an anchor. All else is slerped, along the rows of anchors first, then
    along all columns (White 2016, arXiv 1609.04468, and the code of its author).
    """
    anchors = np.asarray(anchors, np.float64)
    t = np.arange(space).reshape(-1, 1) / space

    def filled(ends):  # [k, z] -> [(k - 1) space + 1, z]
        return np.concatenate([*(slerp(a, b, t) for a, b in itertools.pairwise(ends)), ends[-1:]])

    rows = np.stack([filled(row) for row in anchors])
    return np.stack([filled(column) for column in rows.swapaxes(0, 1)], 1)


def analogy(a, b, c, side: int):
    """Return the J-diagram of a, b, c [z]: [side, side, z], with a, b in the upper corners, c and b + c - a below.

    White 2016, arXiv 1609.04468: what b is to a, the fourth corner is to c. All between them is slerped.
    """
    a, b, c = (np.asarray(one, np.float64) for one in (a, b, c))
    return grid(np.stack([np.stack([a, b]), np.stack([c, b + c - a])]), side - 1)


class _Reached(Exception):
    """The layer that was looked for made this."""


def first_layer(generate, z_dim: int):
    """Return [z_dim, units]: what each number of a latent adds in the first layer with a kernel that sees the latent.

    That is the layer's kernel itself where the layer is affine and its input is the latent; what else it sees is left
    out, and a scale of the latent is part of it. None where no layer of Flax with a kernel sees the latent.
    """
    probes = jnp.concatenate([jnp.zeros((1, z_dim), jnp.float32), jnp.eye(z_dim, dtype=jnp.float32)])

    def look(call, args, kwargs, context):
        out = call(*args, **kwargs)
        if context.method_name == "__call__" and "kernel" in context.module.variables.get("params", {}):
            # rows come first, or, in `nets.cppn`, last
            seen = out if len(out) == z_dim + 1 else jnp.moveaxis(out, -1, 0)
            if len(seen) == z_dim + 1 and (seen != seen[:1]).any():
                raise _Reached(np.asarray(seen[1:] - seen[:1], np.float64).reshape(z_dim, -1))
        return out

    with jax.disable_jit(), nn.intercept_methods(look):
        try:
            generate(probes)
        except _Reached as reached:
            return reached.args[0]
    return None


def directions(layer, n: int):
    """Return (directions [n, z] of length 1, how far each moves the layer [n]), those that move it most first.

    SeFa, Shen and Zhou 2021, arXiv 2007.06600: the eigenvectors of A^T A of the first layer z -> A z + b, here as
    singular vectors of `layer` = A^T [z, units]; how far: the singular values. The largest number of each is positive.
    """
    u, far, _ = np.linalg.svd(layer, full_matrices=False)
    u = u.T[:n]
    sign = np.sign(np.take_along_axis(u, np.abs(u).argmax(1)[:, None], 1))
    return u * sign, far[:n]


def path_lengths(generate, distance, a, b, t, step: float = 1e-4):
    """Return distance(G(slerp(a, b, t)), G(slerp(a, b, t + step))) / step^2: [n], of a, b [n, z] and t [n, 1].

    Its mean over latents a, b and t uniform in [0, 1] is the perceptual path length in z of Karras et al. 2019, arXiv
    1812.04948, where the distance is theirs, LPIPS. distance: x, y [n, ...] -> [n], squared in the kind of LPIPS.
    """
    ends = (generate(slerp(a, b, at)) for at in (t, t + step))
    return np.asarray(distance(*ends), np.float64) / step**2


def project(loss, z, updates: int = 300, rate: float = 0.1):
    """Return the best latents [n, z] on the way of so many updates of Adam from z, down loss(z) [n], and their losses.

    The rate falls to 0 along a cosine.
    """
    return search(loss, z, optax.adam(optax.cosine_decay_schedule(rate, updates)), updates)


def search(loss, z, tx, updates: int, keep=lambda z: z):
    """Return the best latents [n, z] on the way of so many updates of `tx` from z, down loss(z) [n], and their losses.

    keep: takes each latent back to where it may be, as by `jnp.clip`, after each update.
    """

    def total(z):
        losses = loss(z)
        return losses.sum(), losses

    def better(best, z, losses):
        less = losses < best[1]
        return jnp.where(less[:, None], z, best[0]), jnp.where(less, losses, best[1])

    def update(carry, _):
        z, memory, best = carry
        grads, losses = jax.grad(total, has_aux=True)(z)
        moves, memory = tx.update(grads, memory)
        return (keep(optax.apply_updates(z, moves)), memory, better(best, z, losses)), None

    @jax.jit
    def found(z):
        begun = z, tx.init(z), (z, jnp.full(len(z), jnp.inf, jnp.float32))
        (z, _, best), _ = jax.lax.scan(update, begun, None, updates)
        return better(best, z, loss(z))

    return found(keep(jnp.asarray(z, jnp.float32)))
