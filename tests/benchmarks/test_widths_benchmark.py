"""The benchmark of GAT's widths: which run has which rate, and what its table says."""

import json

import pytest

from benchmarks.quality import widths
from gan_jax.metrics import classifier


@pytest.mark.slow
def test_widths(tmp_path, monkeypatch):
    """A row for each width and rate; at the narrowest both rates are one; nothing is trained twice."""
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    monkeypatch.setattr(classifier, "LEAST_STEPS", 50)
    monkeypatch.setattr(classifier, "_LOADED", {})
    monkeypatch.setattr("gan_jax.data.cache.FOLDER", tmp_path / "cache")
    given = {"dataset": "digits", "steps": 2, "samples": 40, "flags": "--batch-size=4 --patch=2 --depth=4"}
    for _ in range(2):
        widths.main((32, 16), **given, out=str(tmp_path), runs=str(tmp_path / "runs"))
    (_, *rows), (_, *again) = [
        json.loads(line)["rows"] for line in (tmp_path / "widths.jsonl").read_text().splitlines()
    ]
    assert [(row["width"], row["way"]) for row in rows] == [(16, "1 / width"), (32, "1 / width"), (32, "fixed")]
    narrow, wide, fixed = (row["config"] for row in rows)
    assert narrow["lr"] == fixed["lr"] == 2 * wide["lr"] == 5e-4 * 48 / 16 and fixed["lr_width"] == 0
    assert [row["seconds"] for row in rows] == [row["seconds"] for row in again]
    assert "| 32 | fixed |" in (tmp_path / "widths.md").read_text() and (tmp_path / "widths.png").stat().st_size > 1000
