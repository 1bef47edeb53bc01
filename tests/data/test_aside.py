"""A column set aside: gone from x, there as a label, in the split that is held out too."""

import jax
import numpy as np
import pytest

from gan_jax import UserError, data


def rows(source):
    return jax.jit(lambda: source.make(source.whole(), jax.random.key(0), 0, source.n))()


def test_a_column_becomes_a_label():
    plain = data.load("binary_digits")
    for source, of in ((data.aside(plain, 20, 0.5), plain), (data.aside(plain, 20, 0.5).test, plain.test)):
        x, found = np.asarray(rows(of)["x"]), rows(source)
        np.testing.assert_array_equal(found["x"], np.delete(x, 20, 1))
        np.testing.assert_array_equal(found["s"], x[:, 20] > 0.5)
        assert source.row["s"].classes == 2 and source.shape == (63,)
        np.testing.assert_array_equal(found["y"], rows(of)["y"])


def test_another_column_is_another_set():
    a, b = (data.aside(data.load("binary_digits"), column, 0.5) for column in (20, 21))
    assert a.fingerprint != b.fingerprint or not a.fingerprint


def test_what_can_t_be_set_aside_is_said():
    with pytest.raises(UserError, match="columns 0 to 63, and no column 64"):
        data.aside(data.load("binary_digits"), 64, 0.5)
    with pytest.raises(UserError, match="its x is of kind image"):
        data.aside(data.load("digits"), 0, 0.5)
