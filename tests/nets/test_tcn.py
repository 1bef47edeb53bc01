"""Causal convolutions against plain sums over the past, what they see, and the sizes of Quant GANs' nets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.nets import forecast, tcn


@pytest.mark.parametrize("step, t", [(1, 5), (3, 11), (4, 8)])
def test_a_causal_convolution_of_steps(step, t):
    """y[i] = k[0] x[i - step] + k[1] x[i] + bias, whether or not the steps divide the length."""
    x = np.random.default_rng(0).normal(size=(2, t, 3)).astype(np.float32)
    layer = tcn.Causal(4, 2, step)
    params = layer.init(jax.random.key(0), x)
    kernel = params["params"]["Conv_0"]["kernel"]  # [2, 3, 4]
    expected = [x[:, i - step] @ kernel[0] + x[:, i] @ kernel[1] for i in range(step, t)]
    np.testing.assert_allclose(layer.apply(params, x), np.stack(expected, 1), rtol=1e-4, atol=1e-5)


def test_a_day_sees_its_field_and_nothing_later():
    """Gradients of one output by the noise: days - 1 before, the day itself, none behind; likewise of the condition."""
    net, field, t = tcn.Net(2, 2), tcn.field(2), 3
    x = np.random.default_rng(0).normal(size=(1, field + t - 1, 2)).astype(np.float32)
    gradients = jax.jit(lambda key: jax.jacrev(lambda x: net.apply(net.init(key, x), x)[0])(x))
    seen = np.abs(gradients(jax.random.key(0)))[:, 0].sum(-1) > 0  # [t, days]
    assert field == 7 and seen.shape == (t, field + t - 1)
    for i in range(t):
        np.testing.assert_array_equal(np.flatnonzero(seen[i]), np.arange(i, i + field))


def test_what_is_known_fades_away():
    """The condition moves the first days of G, and no day that is a whole field later; with `known` every one."""
    g, field = tcn.G(3, 2), tcn.field(2)
    z = np.random.default_rng(0).normal(size=(1, 3 * field, 2)).astype(np.float32)

    @jax.jit
    def moved(key):
        params = g.init(key, z, jnp.ones((1, 1)))
        nets = g, tcn.G(3, 2, known=99)
        return [jnp.abs(jnp.subtract(*(net.apply(params, z, c * jnp.ones((1, 1))) for c in (-1, 1)))) for net in nets]

    once, always = (np.asarray(of)[0, :, 0] for of in moved(jax.random.key(0)))
    assert once.shape == (2 * field + 1,) and (once[:field] > 0).all() and not once[field:].any()
    assert (always > 0).all()


def test_the_published_nets():
    """80 channels, kernel 1 and then steps 1 .. 32 of kernel 2: 127 days, and so many weights, counted by hand."""
    assert tcn.field(6) == 127
    given = jnp.zeros((1, 1))
    layers = lambda c: (c * 80 + 80) + (80 * 80 + 80) + 12 * (2 * 80 * 80 + 80) + 14 + 7 * (80 * 80 + 80) + 81
    for net, x, c in ((tcn.G(), jnp.zeros((1, 253, 3)), 3 + 2), (tcn.D(), jnp.zeros((1, 127, 1)), 2)):
        shapes = jax.eval_shape(net.init, jax.random.key(0), x, given)
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == layers(c)
    assert layers(3) == 206_815  # G without a condition


def test_forecasts_of_any_history():
    """Shapes; a place makes a difference; and hours as days."""
    g, d = forecast.G(2, width=4), forecast.D(2, 4)
    past, y, z = jnp.ones((3, 9 * 24, 1)), jnp.array([0, 1, 1]), jnp.zeros((3, 2))
    x = jax.jit(lambda key: g.apply(g.init(key, past, y, z), past, y, z))(jax.random.key(0))
    assert x.shape == (3, 24, 1) and (x[0] != x[1]).any() and (x[1] == x[2]).all()
    scores = jax.eval_shape(lambda key: d.apply(d.init(key, past, y, x), past, y, x), jax.random.key(0))
    assert scores.shape == (3,)
    np.testing.assert_array_equal(forecast.days(jnp.arange(48.0).reshape(1, 48, 1))[0, 1], np.arange(24, 48))
