"""Pictures made of gradients: the Poisson equation, by which one picture is blended into another without a seam."""

import jax
import jax.numpy as jnp


def blended(known, guide, hole):
    """Return pictures [b, h, w, c] that are `known` outside the hole, and have the gradients of `guide` in it.

    hole [b, h, w, 1]: 1 or true inside. The least sum of squares of (f_p - f_q) - (guide_p - guide_q), over all pairs
    of neighbours p, q of which one is in the hole or both are (Perez, Gangnet and Blake 2003); beyond the border of a
    picture is no neighbour. A guide of one value gives the smooth filling, the membrane that hangs in the rim. By
    conjugate gradients, to 1e-6 of the right side.
    """
    hole = jnp.asarray(hole, bool)
    return jax.vmap(jax.vmap(_blended, (-1, -1, None), -1))(known, guide, hole[..., 0])


def _blended(known, guide, hole):
    """The same of one channel [h, w]: the guide, and a membrane that makes up for what it lacks on the rim."""
    inside = lambda u: jnp.where(hole, u, 0)
    rim = jnp.where(hole, 0, known - guide)
    membrane, _ = jax.scipy.sparse.linalg.cg(lambda u: inside(_laplace(u)), inside(-_laplace(rim)), tol=1e-6)
    return jnp.where(hole, guide + membrane, known)


def _laplace(u):
    """Return the sum over the neighbours q of each pixel p of u_p - u_q, [h, w]."""
    down, right = jnp.diff(u, axis=0), jnp.diff(u, axis=1)
    before = lambda d, axis: jnp.pad(d, [(1, 0) if k == axis else (0, 0) for k in range(2)])
    after = lambda d, axis: jnp.pad(d, [(0, 1) if k == axis else (0, 0) for k in range(2)])
    return before(down, 0) - after(down, 0) + before(right, 1) - after(right, 1)
