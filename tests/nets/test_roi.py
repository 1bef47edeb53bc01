"""Features of boxes, against loops over cells and places."""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.nets import roi


def by_loops(features, box, size, samples):
    """Each place's four neighbours by their distances; what lies beyond the outermost middles is as these are."""
    h, w, c = features.shape
    top, left, bottom, right = np.float64(box) * [h, w, h, w]
    out = np.zeros((size, size, c))
    for i, j in np.ndindex(size * samples, size * samples):
        y = np.clip(top + (i + 0.5) * (bottom - top) / (size * samples) - 0.5, 0, h - 1)
        x = np.clip(left + (j + 0.5) * (right - left) / (size * samples) - 0.5, 0, w - 1)
        for k, l in np.ndindex(2, 2):
            a, b = min(int(y) + k, h - 1), min(int(x) + l, w - 1)
            weight = abs(1 - k - (y - int(y))) * abs(1 - l - (x - int(x)))
            out[i // samples, j // samples] += weight * features[a, b] / samples**2
    return out


def test_pooled_is_bilinear():
    """Of boxes within pictures, over their edges, and of no size; of each picture its own."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(2, 5, 7, 3)).astype(np.float32)
    box = np.float32([[[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1], [-0.2, 0.6, 0.3, 1.4]], [[0.5, 0.5, 0.5, 0.5]] * 3])
    for size, samples in ((3, 2), (4, 1)):
        found = jax.jit(roi.pooled, static_argnums=(2, 3))(features, box, size, samples)
        assert found.shape == (2, 3, size, size, 3)
        for p, n in np.ndindex(2, 3):
            np.testing.assert_allclose(found[p, n], by_loops(features[p], box[p, n], size, samples), atol=1e-5)


def test_all_of_a_picture_is_the_picture():
    x = jax.random.normal(jax.random.key(0), (1, 6, 6, 2))
    whole = jnp.array([[[0.0, 0, 1, 1]]])
    np.testing.assert_allclose(roi.pooled(x, whole, 6, 1)[0], x, atol=1e-6)
    halves = x.reshape(1, 3, 2, 3, 2, 2).mean((2, 4))
    np.testing.assert_allclose(roi.pooled(x, whole, 3, 2)[0], halves, atol=1e-6)
