"""The benchmark of single tips: which run has which, and what its table says."""

import json

import pytest

from benchmarks.quality import tips
from gan_jax.metrics import classifier


def test_health_in_a_word():
    """Findings without their figures, with the number of seeds where these differ."""
    well, bad = "no sign of trouble", "low quality: samples are 1.6 times as far"
    assert tips.said({"health": [well, well]}) == "well" and tips.said({"health": bad}) == "low quality"
    assert tips.said({"health": [well, f"collapsed: 3 of 8; {bad}"]}) == "well (1), collapsed; low quality (1)"


@pytest.mark.slow
def test_tips(tmp_path, monkeypatch):
    """Alone, none and all, then on top of others: a row each with its tips, and what the data score; nothing twice."""
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    monkeypatch.setattr(classifier, "LEAST_STEPS", 50)
    monkeypatch.setattr(classifier, "_LOADED", {})
    monkeypatch.setattr("gan_jax.data.cache.FOLDER", tmp_path / "cache")
    given = {"steps": 2, "samples": 40, "flags": "--batch-size=4 --width=2", "out": str(tmp_path)}
    given["runs"] = str(tmp_path / "runs")
    for base, names in (((), ("none", "smooth", "ganhacks")), (("tanh",), ("none", "tanh", "smooth"))):
        for _ in range(2):
            tips.main(names, base, **given)
    name_of = lambda file: [json.loads(line)["rows"] for line in (tmp_path / file).read_text().splitlines()]
    (first, *rows), (_, *again) = name_of("tips.jsonl")
    assert {row["tip"]: row["tips"] for row in rows} == {
        "none": [],
        "smooth": ["smooth"],
        "ganhacks": [*tips.tips.HACKS],
    }
    assert [row["number"] for row in rows] == [None, 6, None] and [r["seconds"] for r in rows] == [
        r["seconds"] for r in again
    ]
    assert all(len(row["frechet"]) == len(row["health"]) == 2 for row in rows) and first["itself"]["frechet"] > 0
    _, *based = name_of("tips-based.jsonl")[0]
    assert {row["tip"]: row["tips"] for row in based} == {"none": ["tanh"], "smooth": ["tanh", "smooth"]}
    table = (tmp_path / "tips.md").read_text()
    assert "| smooth | 6 |" in table and "| the training data |" in table
