"""`hoisted` is the function that it is given, less the work that no argument changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.game.hoist import hoisted

X = np.float32([[0.3, -1.0], [0.7, 2.0]])


def body(x):
    """Return a function of (w, i) that makes sinh(x), and sinh(x)^2, of x alone."""

    def f(w, i):
        columns = jnp.sinh(x)
        w = {"w": w["w"] - 0.1 * (columns @ w["w"]) * (columns**2).sum(0) + i}
        return w, jnp.zeros(3) + w["w"].sum()

    return f


def names(jaxpr):
    """Return the primitives of a jaxpr."""
    return [eqn.primitive.name for eqn in jaxpr.eqns]


def of(x, w):
    return {"w": w}, jnp.float32(2.0)


def test_it_gives_what_f_gives_of_any_arguments():
    """Of the arguments that it was made with, and of others, trees in the same order."""
    f, g = body(X), hoisted(body(X), *of(X, jnp.ones(2)))
    for w in (jnp.ones(2), jnp.float32([3.0, -2.0])):
        jax.tree.map(np.testing.assert_array_equal, g(*of(X, w)), f(*of(X, w)))


def test_what_is_of_x_alone_is_made_outside():
    """The function that comes back has no sinh and no square, but the product with w and the zeros."""
    inside = names(jax.make_jaxpr(hoisted(body(jnp.asarray(X)), *of(X, jnp.ones(2))))(*of(X, jnp.ones(2))))
    assert not {"sinh", "integer_pow", "square"} & set(inside) and "dot_general" in inside
    assert "broadcast_in_dim" in inside  # zeros are made anew
    assert "sinh" in names(jax.make_jaxpr(body(X))(*of(X, jnp.ones(2))))


def test_once_for_all_turns_of_a_loop():
    """Traced, with x a value of the outer program: sinh stands in it once, before the loop, and not in its body."""

    def program(x, w):
        g = hoisted(body(x), *of(x, w))
        return jax.lax.scan(lambda w, i: (g(w, i)[0], None), {"w": w}, jnp.arange(5.0))[0]["w"]

    traced = jax.make_jaxpr(program)(X, jnp.ones(2))
    assert "sinh" in names(traced)
    (loop,) = (eqn for eqn in traced.eqns if eqn.primitive.name == "scan")
    assert "sinh" not in str(loop)
    w = {"w": jnp.ones(2)}
    for i in range(5):
        w = body(X)(w, jnp.float32(i))[0]
    np.testing.assert_allclose(jax.jit(program)(X, jnp.ones(2)), w["w"], rtol=1e-5)


def test_the_gradient_flows_through_both_halves():
    """With respect to x, by way of what was made outside, and to w: that of f."""
    value = lambda x, w, make: sum(a.sum() for a in jax.tree.leaves(make(body(x), *of(x, w))(*of(x, w))))
    ours = jax.grad(value, (0, 1))(X, jnp.ones(2), hoisted)
    plain = jax.grad(value, (0, 1))(X, jnp.ones(2), lambda f, *_: f)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, plain)
    assert np.abs(plain[0]).min() > 1e-3


@pytest.mark.parametrize("f", [lambda w: jnp.asarray(X) + 0 * w.sum(), lambda w: (w, jnp.asarray(X)), lambda w: 3.0])
def test_odd_functions(f):
    """One that returns what it closes over, its argument, or a number alone."""
    w = jnp.ones(2)
    jax.tree.map(np.testing.assert_array_equal, hoisted(f, w)(w), f(w))


def test_effects_stay_where_they_are():
    """A debug print happens every turn, though it depends on no argument."""
    seen = []

    def f(w):
        jax.debug.callback(lambda a: seen.append(float(a.sum())), jnp.asarray(X))
        return w + 1

    g = hoisted(f, jnp.ones(2))
    jax.effects_barrier()
    assert not seen
    jax.block_until_ready(jax.jit(lambda w: jax.lax.scan(lambda w, _: (g(w), None), w, length=3)[0])(jnp.ones(2)))
    jax.effects_barrier()
    assert len(seen) == 3
