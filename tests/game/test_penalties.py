"""Penalties against closed forms: critics whose gradient is known everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.game import penalties

ALL = {name: getattr(penalties, name) for name in ("wgan_gp", "r1", "r2", "dragan")}
KEY = jax.random.key(7)
W = np.array([0.6, -1.1, 0.3])


def points(seed, shape=(5, 3)):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def linear(x):
    return x @ jnp.asarray(W, x.dtype)


def seen_by(penalty, real, fake, key=KEY):
    """Return the x at which the penalty takes the critic's gradient."""
    seen = []

    def critic(x):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), x)
        return x.reshape(len(x), -1).sum(1)

    penalty(critic, real, fake, key)
    jax.effects_barrier()
    (x,) = seen
    return x


@pytest.mark.parametrize("name", ALL)
def test_linear_critic(name):
    """D(x) = w.x: |w|^2 for R1 and R2, (|w| - 1)^2 for the penalties on the norm."""
    expected = np.sum(W**2) if name in ("r1", "r2") else (np.sqrt(np.sum(W**2)) - 1) ** 2
    value = ALL[name](linear, points(0), points(1), KEY)
    assert value.shape == (5,) and value.dtype == jnp.float32
    np.testing.assert_allclose(value, np.full(5, expected), rtol=1e-5)


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_quadratic_critic(name):
    """D(x) = x.Ax / 2 + w.x has the gradient Ax + w: R1 at the reals, R2 at the fakes."""
    A = np.array([[2.0, 0.5, 0.0], [0.5, -1.0, 0.2], [0.0, 0.2, 0.7]])
    real, fake = points(0), points(1)
    value = ALL[name](lambda x: ((x @ jnp.float32(A)) * x).sum(1) / 2 + linear(x), real, fake, KEY)
    expected = [sum(v**2 for v in A @ np.float64(x) + W) for x in {"r1": real, "r2": fake}[name]]
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_norm_is_over_all_axes_of_a_row(name):
    """Images [b, h, w, c]: one number a row, the norm over h, w and c, of that row alone."""
    real, fake = points(0, (3, 4, 2, 2)), points(1, (3, 4, 2, 2))
    weight = np.random.default_rng(2).normal(size=(4, 2, 2))
    scale = jnp.float32([1, 0.5, 3])  # a critic that treats rows apart
    value = ALL[name](lambda x: scale * jnp.einsum("bhwc,hwc->b", x, jnp.float32(weight)), real, fake, KEY)
    norm = np.array([1, 0.5, 3]) * np.sqrt(sum(v**2 for v in weight.ravel()))
    np.testing.assert_allclose(value, norm**2 if name in ("r1", "r2") else (norm - 1) ** 2, rtol=1e-5)


def test_wgan_gp_is_on_the_segment():
    """x lies between its own real and fake, at one uniform place for all numbers of a row."""
    real, fake = points(0, (2000, 2, 3, 1)), points(1, (2000, 2, 3, 1))
    x = np.float64(seen_by(penalties.wgan_gp, real, fake))
    real, fake = np.float64(real), np.float64(fake)
    t = ((x - fake) * (real - fake)).sum((1, 2, 3)) / ((real - fake) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(x, fake + t[:, None, None, None] * (real - fake), atol=1e-6)
    counts = np.histogram(t, 10, (0, 1))[0]
    assert counts.sum() == 2000
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # chi-square, 9 degrees: 1 in 1000


def test_wgan_gp_value_at_its_point():
    """D(x) = x^2 / 2 in one dimension: the penalty is (|x| - 1)^2 at the x that the same key draws."""
    real, fake = jnp.full((50, 1), 2.0), jnp.full((50, 1), 5.0)
    x = seen_by(penalties.wgan_gp, real, fake)[:, 0]
    value = penalties.wgan_gp(lambda x: (x**2).sum(1) / 2, real, fake, KEY)
    np.testing.assert_allclose(value, (x - 1) ** 2, rtol=1e-5)
    assert len(set(x.tolist())) > 45


def test_dragan_is_around_the_data():
    """x - real is in [0, std / 2), scaled by one number a row and by another for each of its numbers."""
    real = 3 * points(0, (400, 8, 8, 1)) + 1
    std = np.float64(real).std()
    noise = (seen_by(penalties.dragan, real, jnp.full_like(real, 1e6)) - np.float64(real)) / (std / 2)
    assert noise.min() > -1e-5 and noise.max() < 1
    assert abs(noise.mean() - 1 / 4) < 0.03  # E t * E u
    row = noise.max((1, 2, 3))  # of 64 numbers: about t
    assert abs(row.mean() - 1 / 2) < 0.06 and abs(row.std() - 12**-0.5) < 0.04
    within = noise.reshape(400, -1) / row[:, None]
    assert abs(within.mean() - 1 / 2) < 0.02 and abs(within.std() - 12**-0.5) < 0.02


@pytest.mark.parametrize("name", ["wgan_gp", "dragan"])
def test_key_decides(name):
    """The same key gives the same points, another key others."""
    real, fake = points(0), points(1)
    x, same, other = (seen_by(ALL[name], real, fake, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(x, same)
    assert (x != other).all()


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_no_noise(name):
    """R1 is taken at the reals and R2 at the fakes, unchanged."""
    real, fake = points(0), points(1)
    np.testing.assert_array_equal(seen_by(ALL[name], real, fake), {"r1": real, "r2": fake}[name])


@pytest.mark.parametrize("name", ALL)
def test_flat_critic(name):
    """Where the critic's gradient is exactly 0 the value is exact and its own gradient finite."""
    real, fake = points(0), points(1)

    def loss(w, act):
        return ALL[name](lambda x: act(x) @ w, real, fake, KEY)

    for w, act in (np.zeros(3), lambda x: x), (W, lambda x: jax.nn.relu(x - 1e6)), (W, lambda x: x * 0):
        value, grad = loss(jnp.float32(w), act), jax.grad(lambda w, act: loss(w, act).sum())(jnp.float32(w), act)
        np.testing.assert_array_equal(value, np.full(5, 0.0 if name in ("r1", "r2") else 1.0))
        np.testing.assert_array_equal(grad, np.zeros(3))


@pytest.mark.parametrize("name", ALL)
def test_nan_is_not_hidden(name):
    """A critic whose gradient is NaN gives NaN, not a norm of 0."""
    assert np.isnan(ALL[name](lambda x: linear(x) * jnp.nan, points(0), points(1), KEY)).all()


@pytest.mark.parametrize("name", ALL)
def test_gradient_through_params(name):
    """The gradient with respect to D's parameters (second order) is that of finite differences, in float64."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        real, fake = (jnp.asarray(rng.normal(size=(4, 2, 3))) for _ in range(2))
        w, v = rng.normal(size=(6, 5)), rng.normal(size=5)

        @jax.jit
        def loss(w, v):
            return ALL[name](lambda x: jnp.tanh(x.reshape(4, 6) @ w) @ v, real, fake, KEY).mean()

        grads = jax.grad(loss, (0, 1))(w, v)
        for _ in range(5):
            dw, dv = rng.normal(size=w.shape), rng.normal(size=v.shape)
            h = 1e-5
            slope = (loss(w + h * dw, v + h * dv) - loss(w - h * dw, v - h * dv)) / (2 * h)
            np.testing.assert_allclose((grads[0] * dw).sum() + (grads[1] * dv).sum(), slope, rtol=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_under_jit_and_vmap(name):
    """jit and a vmap over keys change nothing."""
    real, fake = points(0), points(1)
    keys = jax.random.split(KEY, 3)
    penalty = lambda key: ALL[name](lambda x: jnp.tanh(linear(x)), real, fake, key)
    plain = np.array([penalty(key) for key in keys])
    np.testing.assert_allclose(jax.jit(jax.vmap(penalty))(keys), plain, rtol=1e-5)
