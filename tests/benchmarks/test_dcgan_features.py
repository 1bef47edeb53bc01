"""The benchmark of D's features: it runs, its SVM is the one of scikit-learn, its grid is where it should be."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.svm import LinearSVC

from benchmarks.quality import dcgan_features


@pytest.mark.long
def test_it_runs(tmp_path, capsys):
    """Three kinds of features on the digits, all far above chance, a line in the file."""
    dcgan_features.main(("digits",), steps=2, width=8, batch_size=8, rows=300, iterations=20, out=str(tmp_path))
    rows = json.loads((tmp_path / "dcgan_features.jsonl").read_text())["rows"]
    assert [(r["features"], r["dims"]) for r in rows] == [("pixels", 64), ("D, random", 128), ("D, trained", 128)]
    assert min(r["accuracy"] for r in rows) > 0.6
    assert "not comparable" in capsys.readouterr().out


def test_svm_is_that_of_scikit_learn():
    """The same weights, on three overlapping clouds."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    x = (rng.normal(size=(120, 4)) + y[:, None] * np.array([[1, -1, 0, 0.5]])).astype(np.float32)
    w, b = dcgan_features.svm(jnp.asarray(x), jnp.asarray(y), 120, 0.1, 3, 100)
    theirs = LinearSVC(C=0.1, loss="squared_hinge", dual=False, tol=1e-8, intercept_scaling=1e3).fit(x, y)
    np.testing.assert_allclose(w.T, theirs.coef_, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(b, theirs.intercept_, rtol=1e-2, atol=1e-3)


def test_grid_of_maxima():
    """Of 8 rows, two a cell; of 7, cells share a row."""
    assert dcgan_features.pooled(jnp.arange(8.0).reshape(1, 8, 1, 1).repeat(4, 2))[0, :, 0, 0].tolist() == [1, 3, 5, 7]
    assert dcgan_features.pooled(jnp.arange(7.0).reshape(1, 7, 1, 1).repeat(4, 2))[0, :, 0, 0].tolist() == [1, 3, 5, 6]
