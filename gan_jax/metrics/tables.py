"""How well rows of numbers that are 0 or 1 [n, d] stand for others, inside jit: number by number, and as whole rows."""

import jax
import jax.numpy as jnp
import optax

from gan_jax.metrics.descent import minimised

STEPS, RATE, L2 = 150, 0.1, 1e-4  # of the logistic regressions: full-batch Adam


def shares(real, made):
    """Return the correlation of how often each number is 1, and the largest difference of these shares.

    Dimension-wise probability (Choi et al. 2017, arXiv 1703.06490), where it is a scatter plot. NaN if all are alike.
    """
    p, q = real.mean(0), made.mean(0)
    return jnp.corrcoef(p, q)[0, 1], jnp.abs(p - q).max()


def predictors(x):
    """Return (kernel [d, d], bias [d]): for each number a logistic regression on the others, fitted to the rows x.

    Their losses are means over rows, with L2 / 2 times the squares of the kernel; its diagonal is 0.
    """
    d = x.shape[1]
    off = 1 - jnp.eye(d)

    def loss(params):
        kernel, bias = params
        each = optax.sigmoid_binary_cross_entropy(x @ (kernel * off) + bias[None], x)
        return each.mean(0).sum() + L2 / 2 * (kernel**2).sum()

    kernel, bias = minimised(loss, (jnp.zeros((d, d)), jnp.zeros(d)), optax.adam(RATE), STEPS)
    return kernel * off, bias


def f1(predictors, x):
    """Return the F1 [d] with which each number of the rows x is told of the others; 0 where no 1 is told rightly.

    Dimension-wise prediction of the same paper, where predictors are fitted to made rows and x is held out.
    """
    kernel, bias = predictors
    said = (x @ kernel + bias[None] > 0).astype(x.dtype)
    return 2 * (said * x).sum(0) / jnp.maximum(said.sum(0) + x.sum(0), 1)


def nearest(rows, among, batch=256):
    """Return in how many numbers each of `rows` [n] differs from the nearest one of `among` [m, d]: 0 for a copy."""
    ones = among.sum(1)
    of_one = lambda row: (row.sum() + ones - 2 * among @ row).min()
    return jax.lax.map(of_one, rows, batch_size=batch)
