"""The benchmark of the features of 3D-GAN's D: it runs."""

import json

import pytest

from benchmarks.quality import gan3d_features


@pytest.mark.long
def test_it_runs(tmp_path, capsys):
    """Three kinds of features on primitives, a line in the file."""
    given = {"rows": 200, "iterations": 20, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    gan3d_features.main("--preset=tiny --steps=2 --no-measure", **given)
    rows = json.loads((tmp_path / "gan3d_features.jsonl").read_text())["rows"]
    assert [(r["features"], r["dims"]) for r in rows] == [("voxels", 64), ("D, random", 48), ("D, trained", 48)]
    assert [(r["train"], r["test"], r["steps"], r["width"]) for r in rows] == [(200, 150, 2, 2)] * 3
    assert "ShapeNet" in capsys.readouterr().out
