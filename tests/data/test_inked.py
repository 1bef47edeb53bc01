"""Digits with a label for each pixel: which pixel is of which digit, in both splits."""

import numpy as np

from gan_jax import data


def test_ink_has_the_label_of_its_digit():
    """0 on paper; the pictures are as they were, and a batch has their labels."""
    source, digits = data.load("labelled_digits"), data.load("digits")
    for inked, images in ((source, digits), (source.test, digits.test)):
        found, own = inked.whole(), images.whole()
        np.testing.assert_array_equal(found["x"], own["x"])
        for y, x, digit in zip(found["y"][:50], own["x"], own["y"], strict=False):
            assert set(y[x[..., 0] >= 128]) == {digit + 1} and set(y[x[..., 0] < 128]) == {0}
        assert inked.fields["y"].shape == (8, 8) and inked.fields["y"].classes == 11 and inked.classes == 0
        np.testing.assert_array_equal(inked.read(np.array([3, 1]))["y"], found["y"][[3, 1]])
