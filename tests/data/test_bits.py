"""Images as rows of bits: which pixel is where, and that a batch is made of the same records."""

import jax
import numpy as np

from gan_jax import data


def test_a_row_says_which_pixels_are_bright():
    """Row by row of pixels, 1 above half; training and held-out records and their labels are the images' own."""
    for bits, images in (
        (data.load("binary_digits"), data.load("digits")),
        (data.load("binary_digits").test, data.load("digits").test),
    ):
        x, own = bits.whole(), images.whole()
        assert bits.row["x"].kind == "row" and bits.shape == (64,) and bits.n == images.n
        np.testing.assert_array_equal(x["x"].reshape(-1, 8, 8, 1), own["x"] >= 128)
        np.testing.assert_array_equal(x["y"], own["y"])
        assert x["x"].dtype == np.float32 and bits.nbytes == bits.n * 64 * 4 + own["y"].nbytes


def test_a_batch_is_of_the_records():
    source = data.load("binary_digits")
    batch = data.batch(source, data.resident(source), jax.random.key(0), 3, 10)
    rows = source.pick(jax.random.key(0), 3, 10)
    np.testing.assert_array_equal(batch["x"], source.whole()["x"][np.asarray(rows)])
