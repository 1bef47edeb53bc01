"""The benchmark of 3D-GAN's features: it runs, and a pooled layer stands where it should."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.quality import dcgan_features, gan3d_features


@pytest.mark.long
def test_it_runs(tmp_path, capsys):
    """Three kinds of features on primitives, a line in the file."""
    given = {"rows": 200, "iterations": 20, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    gan3d_features.main("--preset=tiny --steps=2 --no-measure", **given)
    rows = json.loads((tmp_path / "gan3d_features.jsonl").read_text())["rows"]
    assert [(r["features"], r["dims"]) for r in rows] == [("voxels", 64), ("D, random", 48), ("D, trained", 48)]
    assert [(r["train"], r["test"], r["steps"], r["width"]) for r in rows] == [(200, 150, 2, 2)] * 3
    assert "ShapeNet" in capsys.readouterr().out


def test_grid_of_a_solid():
    """Of 4^3 voxels, the largest of eight corners each; of blocks of 4^3, their means."""
    x = jnp.arange(64.0).reshape(1, 4, 4, 4, 1)
    corners = [x[0, i : i + 2, j : j + 2, k : k + 2].max() for i in (0, 2) for j in (0, 2) for k in (0, 2)]
    np.testing.assert_array_equal(dcgan_features.pooled(x, 2).ravel(), corners)
    np.testing.assert_allclose(gan3d_features.shrunk(jnp.concatenate([x, x + 1], 3)), [[31.5, 32.5]])
