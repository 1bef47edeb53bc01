"""The benchmark of the features of DCGAN's D: it runs."""

import json

import pytest

from benchmarks.quality import dcgan_features


@pytest.mark.long
def test_it_runs(tmp_path, capsys):
    """Three kinds of features on the digits, all far above chance, a line in the file."""
    dcgan_features.main(("digits",), steps=2, width=8, batch_size=8, rows=300, iterations=20, out=str(tmp_path))
    rows = json.loads((tmp_path / "dcgan_features.jsonl").read_text())["rows"]
    assert [(r["features"], r["dims"]) for r in rows] == [("pixels", 64), ("D, random", 128), ("D, trained", 128)]
    assert min(r["accuracy"] for r in rows) > 0.6
    assert "not comparable" in capsys.readouterr().out
