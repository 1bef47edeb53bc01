"""How much of some data lies where a model is likely: AdaGAN's coverage (Tolstikhin et al. 2017, arXiv 1701.02386)."""

import jax
import jax.numpy as jnp


def log_density(x, points, width):
    """Return log p(x) [n] of the mixture of N(point, width^2 I) over `points` [m, c], all alike; x [n, c]."""
    squares = ((x[:, None] - points[None]) ** 2).sum(-1)  # [n, m]
    constant = jnp.log(len(points)) + x.shape[1] * jnp.log(width * jnp.sqrt(2 * jnp.pi))
    return jax.nn.logsumexp(-squares / (2 * width**2), axis=1) - constant


def kernel_width(points, held):
    """Return, of 2^-7 .. 2^6 times the median distance of neighbours in the order given, what suits others best.

    points [m, c], held [n, c]: independent draws of the model. Best is the highest mean log density of `held`.
    """
    median = jnp.maximum(jnp.median(jnp.linalg.norm(points[1:] - points[:-1], axis=1)), 1e-6)  # all may be one point
    widths = median * 2.0 ** jnp.arange(-7, 7, dtype=points.dtype)
    fits = jax.lax.map(lambda width: log_density(held, points, width).mean(), widths)
    return widths[fits.argmax()]


def mass_covered(real, fake, held, share=0.95):
    """Return the share of data where a model's density is above the level that a `share` of its own samples exceeds.

    real [n, c]: data; fake [m, c], held [k, c]: independent samples of the model, whose density is that of Gaussian
    kernels at `fake`, as wide as suits `held`. As in the authors' code (tolstikhin/adagan) the level is that of the
    samples at which the kernels stand. A model that has the data's density reaches about `share`.
    """
    width = kernel_width(fake, held)
    level = jnp.quantile(log_density(fake, fake, width), 1 - share)
    return (log_density(real, fake, width) > level).mean()
