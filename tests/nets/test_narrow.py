"""Convolutions with the batch last: the same numbers and derivatives as lax's own, in float64."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gan_jax.nets import conv, narrow

SIZES = [((28, 28), 3, 2), ((7, 5), 3, 2), ((8, 6), 3, 1), ((5, 9), 4, 2), ((6, 7), 5, 3)]


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def last(x):
    """Return x [b, h, w, c] as [c, h, w, b]."""
    return x.transpose(3, 1, 2, 0)


def lax_conv(x, kernel, stride):
    return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def drawn(size, k, stride):
    rng = np.random.default_rng(0)
    small = [-(-n // stride) for n in size]
    x, y = rng.normal(size=(3, *size, 2)), rng.normal(size=(3, *small, 4))
    return jnp.asarray(x), jnp.asarray(y), jnp.asarray(rng.normal(size=(k, k, 2, 4)))


@pytest.mark.parametrize(("size", "k", "stride"), SIZES)
def test_values(size, k, stride):
    """conv is lax's; conv_transpose is its adjoint."""
    x, y, kernel = drawn(size, k, stride)

    @jax.jit
    def both(x, y, kernel):
        out, pull = jax.vjp(lambda x: lax_conv(x, kernel, stride), x)
        ours = narrow.conv(last(x), kernel, stride), narrow.conv_transpose(last(y), kernel, stride, size)
        return ours, (last(out), last(pull(y)[0]))

    chex.assert_trees_all_close(*both(x, y, kernel), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives(order):
    """All gradients, to the third order."""
    x, y, kernel = drawn((7, 5), 3, 2)
    ours = lambda x, y, kernel: (
        jnp.sin(narrow.conv(last(x), kernel, 2) + last(y)).sum()
        + jnp.cos(narrow.conv_transpose(last(y), kernel, 2, (7, 5))).sum()
    )
    transposed = lambda x, y, kernel: jax.vjp(lambda x: lax_conv(x, kernel, 2), x)[1](y)[0]
    theirs = lambda x, y, kernel: jnp.sin(lax_conv(x, kernel, 2) + y).sum() + jnp.cos(transposed(x, y, kernel)).sum()
    for _ in range(order):
        ours, theirs = (
            functools.partial(lambda f, *a: sum((g**2).sum() for g in jax.grad(f, (0, 1, 2))(*a)), f)
            for f in (ours, theirs)
        )
    for a, b in zip(*(jax.jit(jax.grad(f, (0, 1, 2)))(x, y, kernel) for f in (ours, theirs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * float(jnp.abs(b).max()))


def test_layers():
    """The layers take the parameters of `nets.conv`'s, and give the same."""
    x, y, _ = drawn((7, 5), 3, 2)
    for ours, theirs, a in (
        (narrow.Conv(4, 3, 2), conv.Conv(4, 3, 2), x),
        (narrow.ConvTranspose(2, 3, 2, (7, 5)), conv.ConvTranspose(2, 3, 2, size=(7, 5)), y),
    ):
        variables = theirs.init(jax.random.key(0), a)
        variables = jax.tree.map(lambda p: p + 0.1 * jnp.arange(p.size).reshape(p.shape), variables)
        assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, ours.init(jax.random.key(0), last(a)))
        np.testing.assert_allclose(
            ours.apply(variables, last(a)), last(theirs.apply(variables, a)), rtol=1e-12, atol=1e-12
        )
