"""Layers with equalised rates and their filters, against plain loops and SciPy's up-and-down filter."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import upfirdn

from gan_jax.nets import equalized


def filtered(x, taps, up=1, down=1, before=0):
    """The zeros between, filter and every `down`-th pixel of one image [h, w, c], by SciPy; `before`: pixels cut."""
    taps = np.array(taps) / sum(taps) * up
    for axis in 0, 1:
        n = x.shape[axis] * up // down
        whole = upfirdn(taps, x, up, 1, axis=axis)
        pad = [(0, 0)] * 3
        pad[axis] = (0, 8)
        whole = np.pad(whole, pad)
        x = np.take(whole, before + down * np.arange(n), axis)
    return x


def correlated(x, kernel, stride=1, size=None):
    """One image [h, w, c], already padded, with kernel [k, k, c, o]."""
    k = len(kernel)
    n, m = ((s - k) // stride + 1 for s in x.shape[:2])
    out = np.zeros((n, m, kernel.shape[3]))
    for i in range(n):
        for j in range(m):
            out[i, j] = np.einsum("hwc,hwco->o", x[i * stride : i * stride + k, j * stride : j * stride + k], kernel)
    return out


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 6, 4, 3))


@pytest.mark.parametrize("taps, before", [((1, 3, 3, 1), 1), ((1, 2, 1), 0), ((1, 1), 0)])
def test_upsampled_pixels_stand_where_scipys_do(x, taps, before):
    with jax.enable_x64(True):
        ours = equalized.upsample(jnp.asarray(x), taps)
    np.testing.assert_allclose(ours, [filtered(i, taps, up=2, before=before) for i in x], atol=1e-12)


def test_the_nearest_pixel_is_a_filter_of_two_taps(x):
    with jax.enable_x64(True):
        twice = equalized.upsample(jnp.asarray(x), (1, 1))
    np.testing.assert_allclose(twice, x.repeat(2, 1).repeat(2, 2), atol=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_convolutions_that_resize_are_filter_and_plain_loops(x, k):
    kernel = np.random.default_rng(1).normal(size=(k, k, 3, 5))
    with jax.enable_x64(True):
        up = equalized.conv_up(jnp.asarray(x), jnp.asarray(kernel))
        down = equalized.conv_down(jnp.asarray(x), jnp.asarray(kernel))
    for i, image in enumerate(x):
        spread = np.zeros((12, 8, 3))
        spread[::2, ::2] = image
        # the full correlation of the image with zeros between, then the filter, cut so that the middle stays
        wide = correlated(np.pad(spread, [(k - 1, k - 1)] * 2 + [(0, 0)]), kernel)
        whole = filtered(np.pad(wide, [(4, 4), (4, 4), (0, 0)]), (1, 3, 3, 1)) * 4
        start = 7 - (6 - k) // 2
        np.testing.assert_allclose(up[i], whole[start : start + 12, start : start + 8], atol=1e-10)
        pad = 4 + k - 3
        soft = filtered(np.pad(image, [(8, 8), (8, 8), (0, 0)]), (1, 3, 3, 1))
        before = 11 - (pad + 1) // 2
        soft = soft[before : before + 6 + k - 2, before : before + 4 + k - 2]
        np.testing.assert_allclose(down[i], correlated(soft, kernel, 2), atol=1e-10)


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
def test_a_filter_has_the_gradients_of_a_sum_of_its_taps(x, up, down):
    def plain(x, taps=(1, 3, 4, 1), pad=(2, 1)):
        for axis in 1, 2:
            around = [(0, 0, 0)] * 4
            around[axis] = (*pad, up - 1)
            x = jax.lax.pad(x, 0.0, around)
            n = x.shape[axis] - 3
            x = sum(jax.lax.slice_in_dim(x, i, i + n, down, axis) * t / 9 for i, t in enumerate(taps))
        return x

    def found(f):
        cubes = lambda x: (f(x) ** 3).sum()
        slope = lambda x: (jax.grad(cubes)(x) ** 2).sum()  # differentiated once more, as in R1
        return f(x), jax.grad(cubes)(x), jax.grad(slope)(x), jax.jvp(f, (x,), (x,)), jax.vmap(f)(jnp.stack([x, 2 * x]))

    with jax.enable_x64(True):
        x = jnp.asarray(x)
        ours, theirs = found(lambda x: equalized.fir(x, (1, 3, 4, 1), (2, 1), up, down)), found(plain)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), ours, theirs)


def test_resizing_keeps_a_flat_picture_inside_its_border():
    flat = jnp.ones((1, 8, 8, 1))
    one = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    for big in equalized.upsample(flat), equalized.conv_up(flat, one):
        np.testing.assert_allclose(big[:, 2:-2, 2:-2], 1, atol=1e-6)
    np.testing.assert_allclose(equalized.conv_down(flat, one)[:, 1:-1, 1:-1], 1, atol=1e-6)


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_a_slow_layer_begins_alike_and_moves_less(rate):
    layer = equalized.Dense(4000, gain=1.0, rate=rate, bias=1.0)
    x = jnp.ones((1, 25))
    params = layer.init(jax.random.key(0), x)
    kernel = params["params"]["kernel"]
    assert float(kernel.std()) * rate == pytest.approx(1, rel=0.02)
    y = layer.apply(params, x)
    assert float(y.std()) == pytest.approx(1, rel=0.05)
    assert float(y.mean()) == pytest.approx(1, abs=0.06)
    moved = jax.tree.map(lambda p: p + 1.0, params)
    expected = rate + 25 * rate / math.sqrt(25)  # bias and weights, all moved by one
    np.testing.assert_allclose(layer.apply(moved, x) - y, expected, rtol=1e-3)


def test_pixel_norm_gives_each_pixel_a_mean_square_of_one(x):
    normed = equalized.pixel_norm(jnp.asarray(x))
    np.testing.assert_allclose(jnp.square(normed).mean(-1), 1, rtol=1e-5)


def test_a_group_is_every_mth_image_and_no_other():
    x = np.random.default_rng(0).normal(size=(8, 2, 2, 3)).astype(np.float32)
    spread = np.asarray(equalized.group_std(jnp.asarray(x), 4))[..., 3]
    for i in range(8):
        others = x[i % 2 :: 2]
        expected = np.sqrt(others.var(0) + 1e-8).mean()
        np.testing.assert_allclose(spread[i], expected, rtol=1e-5)
    np.testing.assert_allclose(
        equalized.group_std(jnp.asarray(x[:6]), 4)[..., 3], equalized.group_std(x[:6], 2)[..., 3]
    )
