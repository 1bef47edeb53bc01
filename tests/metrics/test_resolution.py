"""How super-resolution is measured: MATLAB's published values, closed forms, and bicubic enlargement of Set5."""

import jax
import numpy as np
import pytest

from gan_jax.data import filters, records
from gan_jax.metrics import resolution

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)


def test_the_weights_are_matlab_s():
    """0 to 15 in four rows at 3x3, as a port that was compared with MATLAB has them in its documentation.

    It prints 6.1505 for 6.1501, which is as far from the middle as its 8.8499.
    """
    rows = resolution._weights(4, 3)
    found = rows @ np.arange(16.0).reshape(4, 4) @ rows.T
    expected = [[0.7506, 2.1004, 3.4503], [6.1501, 7.5000, 8.8499], [11.5497, 12.8996, 14.2494]]
    np.testing.assert_allclose(found, expected, atol=6e-5)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_what_is_measured_on_is_what_is_trained_on(factor):
    """Shrunk on the host as in jit, bit for bit, with the borders: weights are whole numbers of 2^-16 there."""
    small = resolution.resized(NOISE, (24 // factor, 40 // factor))
    np.testing.assert_array_equal(small, jax.jit(filters.matlab, static_argnums=1)(np.int32(NOISE), factor))


def test_columns_come_first_unless_rows_shrink_more():
    """Each axis is rounded, so the order shows: MATLAB begins with the axis that shrinks most, with rows of equal ones."""
    one = lambda v, axis, m: np.floor(np.apply_along_axis(lambda a: resolution._weights(len(a), m) @ a, axis, v) + 0.5)
    of = lambda v, *axes: [v := one(v, axis, m).clip(0, 255) for axis, m in axes][-1]
    v = np.float64(NOISE)
    np.testing.assert_array_equal(resolution.resized(NOISE, (6, 10)), of(v, (0, 6), (1, 10)))
    np.testing.assert_array_equal(resolution.resized(NOISE, (12, 10)), of(v, (1, 10), (0, 12)))
    assert (of(v, (0, 6), (1, 10)) != of(v, (1, 10), (0, 6))).any()


def test_the_luma_of_pure_colours():
    """`rgb2ycbcr` of black, white, red, green, blue (ITU-R BT.601), and of a grey picture."""
    v = np.uint8([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    assert resolution.luma(v).tolist() == [[16, 235, 81, 145, 41]]
    assert resolution.luma(v[:, :2, :1]).tolist() == [[16, 235]]


def test_psnr_and_the_border():
    """A level of difference is 48.13 dB; at the border it counts for nothing, and equal pictures have an SSIM of 1."""
    grey = np.full((24, 20, 3), 100, np.uint8)
    found = resolution.compared(grey, np.full_like(grey, 101))
    assert found["psnr"] == pytest.approx(20 * np.log10(255)) and found["ssim"] < 1
    framed = grey.copy()
    framed[:4], framed[-4:], framed[:, :4], framed[:, -4:] = 0, 255, 255, 0
    assert resolution.compared(framed, grey) == {"psnr": np.inf, "ssim": pytest.approx(1)}
    assert resolution.compared(framed, grey, border=3)["psnr"] < 20


def test_bicubic_enlargement_of_set5(tfds_dir):
    """28.42 dB and 0.810, as MATLAB's tables have it: of a luma from 0 to 255 it would be 1.3 dB less."""
    found = []
    for v in records.each("set5"):
        h, w = (side // 4 for side in v.shape[:2])
        v = v[: 4 * h, : 4 * w]
        made = resolution.resized(resolution.resized(v, (h, w)), v.shape[:2])
        found.append(list(resolution.compared(made, v).values()))
    psnr, ssim = np.mean(found, 0)
    assert psnr == pytest.approx(28.42, abs=0.05) and ssim == pytest.approx(0.8104, abs=0.001)
