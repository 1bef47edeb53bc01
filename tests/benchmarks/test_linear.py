"""What a linear classifier reads: its SVM is the one of scikit-learn, its grid and its layers are where they should be."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.svm import LinearSVC

from benchmarks import linear
from gan_jax.game import Player


class Halves(nn.Module):
    """x [b, n, c] -> [b, n, c], by eleven norms one after the other."""

    @nn.compact
    def __call__(self, x, train=True):
        for _ in range(11):
            x = nn.BatchNorm(not train)(x)
        return x


def test_features_are_what_comes_out_of_the_layers_named():
    """Each norm halves x, the eleventh being the tenth's half: their maxima, leaky, in the order asked for."""
    D, x = Halves(), jnp.arange(-4.0, 4).reshape(1, 8, 1).repeat(2, 0)
    variables = D.init(jax.random.key(0), x)
    stats = jax.tree.map(lambda a: jnp.full_like(a, 0), variables["batch_stats"])
    stats = {name: {"mean": one["mean"], "var": one["mean"] + 4 - 1e-5} for name, one in stats.items()}
    d = Player(variables["params"], {"batch_stats": stats}, None)
    assert linear.layers(d) == [f"BatchNorm_{i}" for i in range(11)]
    found = linear.activations(D, d, x, ("BatchNorm_10", "BatchNorm_0"), 2)
    np.testing.assert_allclose(found[1], [-0.2 / 2**11, 3 / 2**11, -0.1, 1.5], rtol=1e-4)


def test_svm_is_that_of_scikit_learn():
    """The same weights, on three overlapping clouds."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    x = (rng.normal(size=(120, 4)) + y[:, None] * np.array([[1, -1, 0, 0.5]])).astype(np.float32)
    w, b = linear.svm(jnp.asarray(x), jnp.asarray(y), 120, 0.1, 3, 100)
    theirs = LinearSVC(C=0.1, loss="squared_hinge", dual=False, tol=1e-8, intercept_scaling=1e3).fit(x, y)
    np.testing.assert_allclose(w.T, theirs.coef_, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(b, theirs.intercept_, rtol=1e-2, atol=1e-3)


def test_grid_of_maxima():
    """Of 8 rows, two a cell; of 7, cells share a row."""
    assert linear.pooled(jnp.arange(8.0).reshape(1, 8, 1, 1).repeat(4, 2))[0, :, 0, 0].tolist() == [1, 3, 5, 7]
    assert linear.pooled(jnp.arange(7.0).reshape(1, 7, 1, 1).repeat(4, 2))[0, :, 0, 0].tolist() == [1, 3, 5, 6]


def test_grid_of_a_solid():
    """Of 4^3 voxels, the largest of eight corners each; of blocks of 4^3, their means."""
    x = jnp.arange(64.0).reshape(1, 4, 4, 4, 1)
    corners = [x[0, i : i + 2, j : j + 2, k : k + 2].max() for i in (0, 2) for j in (0, 2) for k in (0, 2)]
    np.testing.assert_array_equal(linear.pooled(x, 2).ravel(), corners)
    np.testing.assert_allclose(linear.shrunk(jnp.concatenate([x, x + 1], 3)), [[31.5, 32.5]])
