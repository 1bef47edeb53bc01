"""The benchmark of adapted classifiers: it runs both ways, and its baseline never sees the target."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.quality import adaptation
from experiments.pairs import cogan

TINY = "--steps=2 --batch-size=8 --width=2 --d-width=2"


@pytest.mark.slow
@pytest.mark.parametrize("name, numbers", [("cogan", ["target", "seen", "source"]), ("unit", ["target", "source"])])
def test_it_runs(name, numbers, tmp_path, monkeypatch, capsys):
    """A row for each way, with a number for each seed, in the table and in the file."""
    monkeypatch.setitem(adaptation.SETS, 28, {"mnist": ("digits16", 100), "usps": ("digits16", 90)})
    given = {"seeds": 2, "alone": 2, "flags": TINY, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    adaptation.main((name,), **given)
    (line,) = (json.loads(one) for one in (tmp_path / "adaptation.jsonl").read_text().splitlines())
    assert [(row["way"], row["config"]["images"]) for row in line["rows"]] == [("mnist-usps", 90), ("usps-mnist", 100)]
    for row in line["rows"]:
        found = [row[number] for number in (*numbers, "alone")]
        assert all(len(one) == 2 and set(np.clip(one, 0, 1)) == set(one) for one in found) and row["steps"] == 2
    table = (tmp_path / "adaptation.md").read_text()
    assert table.count(f"| {name} |") == 2 == capsys.readouterr().out.count(f"| {name} |")


def test_the_whole_setting_holds_nothing_back():
    """Its flags say 0 images, which is all; the small one's say how many of which set, of the size that is asked for."""
    assert adaptation.flags_of("usps-mnist", "whole")[2:] == ["--source-images=0", "--images=0"]
    small = ["--source=usps,size=28", "--dataset=mnist", "--source-images=1800", "--images=2000"]
    assert adaptation.flags_of("usps-mnist", "small") == small
    assert adaptation.flags_of("mnist-usps", "whole", 16)[:2] == ["--source=mnist,size=16", "--dataset=usps"]


@pytest.mark.long
def test_a_classifier_alone_learns_the_source():
    """Where both sets are one, 150 updates read most of its test split, whatever the target's records are."""
    cfg = dataclasses.replace(cogan.PRESETS["tiny"], batch_size=32, d_width=4, source_images=0, lr=3e-3)
    found = adaptation.unadapted(cogan, cfg, 0, 150)
    assert found > 0.7 and adaptation.unadapted(cogan, cfg, 0, 0) < 0.4
    assert adaptation.unadapted(cogan, dataclasses.replace(cfg, images=50), 0, 150) == found
