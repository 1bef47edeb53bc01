"""Pictures made of gradients: the Poisson equation, by which one picture is blended into another without a seam."""

import jax
import jax.numpy as jnp
import numpy as np


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
    laplace = lambda u: _gathered(jnp.diff(u, axis=0), jnp.diff(u, axis=1))
    inside = lambda u: jnp.where(hole, u, 0)
    rim = jnp.where(hole, 0, known - guide)
    membrane, _ = jax.scipy.sparse.linalg.cg(lambda u: inside(laplace(u)), inside(-laplace(rim)), tol=1e-6)
    return jnp.where(hole, guide + membrane, known)


def _gathered(down, right):
    """Return the sum over the neighbours q of each pixel p of u_p - u_q, [h, w], of differences [h - 1, w], [h, w - 1].

    It is the transpose of taking differences.
    """
    down = jnp.pad(down, ((1, 0), (0, 0))) - jnp.pad(down, ((0, 1), (0, 0)))
    return down + jnp.pad(right, ((0, 0), (1, 0))) - jnp.pad(right, ((0, 0), (0, 1)))


def of_gradients(down, right, colours, weight: float = 1.0, sigma: float = 0.5):
    """Return the pictures [b, h, w, c] of given gradients that look, blurred, like `colours` [b, h, w, c].

    down [b, h - 1, w, c], right [b, h, w - 1, c]: the differences of neighbours that are wanted. The least sum of
    squares of what these lack, plus `weight` times that of blur(f) - colours: the Gaussian-Poisson equation (Wu et al.
    2019, arXiv 1703.07195). blur: a Gaussian of 3x3 pixels with deviation sigma; pictures are mirrored at their
    borders. Exact: cosines diagonalise both.
    """
    h, w = colours.shape[1:3]
    y, x = np.cos(np.pi * np.arange(h) / h)[:, None], np.cos(np.pi * np.arange(w) / w)[None]
    side = np.exp(-0.5 / sigma**2)
    blur = (1 + 2 * side * y) * (1 + 2 * side * x) / (1 + 2 * side) ** 2
    below = 4 - 2 * y - 2 * x + weight * blur**2
    gain, share = np.float32(1 / below), np.float32(weight * blur / below)

    def one(down, right, colours):
        dct = lambda a: jax.scipy.fft.dctn(a, norm="ortho")
        return jax.scipy.fft.idctn(gain * dct(_gathered(down, right)) + share * dct(colours), norm="ortho")

    return jax.vmap(jax.vmap(one, -1, -1))(down, right, colours)


def over_pyramid(inside, outside, mask, colours, weight: float = 1.0, sigma: float = 0.5):
    """Return `inside` where the mask is, blended into `outside`, in the colours of a small picture: all in [-1, 1].

    inside, outside [b, h, w, c]; mask [b, h, w, 1], 1 or 0; colours [b, h / 2^k, w / 2^k, c]. From the small size on,
    each level has the gradients of both pictures by `of_gradients`, at the rim their mean, and the colours of the level
    before, enlarged (Wu et al. 2019, arXiv 1703.07195, section 3.3).
    """
    factor = inside.shape[1] // colours.shape[1]
    while factor:
        a, b, m = (means(t, factor) for t in (inside, outside, mask))
        colours = jax.image.resize(colours, a.shape, "cubic") if colours.shape != a.shape else colours
        m = (m > 0.5).astype(a.dtype)
        slopes = (_mixed(jnp.diff(a, axis=i), jnp.diff(b, axis=i), m, i) for i in (1, 2))
        colours = jnp.clip(of_gradients(*slopes, colours, weight, sigma), -1, 1)
        factor //= 2
    return colours


def _mixed(a, b, mask, axis):
    """Return differences a along an axis where both ends are in the mask, b where none is, and their mean else."""
    n = mask.shape[axis]
    share = (jax.lax.slice_in_dim(mask, 1, n, axis=axis) + jax.lax.slice_in_dim(mask, 0, n - 1, axis=axis)) / 2
    return share * a + (1 - share) * b


def means(x, factor):
    """Return pictures x [b, h, w, c] smaller by a factor, as means of the pixels that fall together."""
    b, h, w, c = x.shape
    return x.reshape(b, h // factor, factor, w // factor, factor, c).mean((2, 4))
