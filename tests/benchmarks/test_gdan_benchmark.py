"""The benchmark of GDAN: which run has which flags, and what its table says."""

import json

import pytest

from benchmarks.quality import gdan
from gan_jax.run import cli


def test_each_way_is_a_row_of_the_paper():
    """(weight of G's questions in D, tags, weight of the reward) of each, on each set."""
    module, found = gdan.gdan, {}
    for name, preset in gdan.SETS.items():
        for way, flags in gdan.WAYS.items():
            cfg, _ = cli.parse(module.Config, module.PRESETS, [f"--preset={preset}", *flags])
            found[way] = cfg.generated > 0, cfg.tags and cfg.generated > 0, cfg.reinforce > 0
            assert cfg.dataset == name and cfg.labelled == 0.1
    assert list(found.values()) == [(False,) * 3, (True, False, False), (True, True, False), (True,) * 3]


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    """A row for each way with values for each seed, in the table and in the file; nothing is trained twice."""
    monkeypatch.setattr(gdan, "SETS", {"facts": "tiny"})
    for _ in range(2):
        gdan.main(("facts",), ("real", "GDAN"), 2, "--steps=3", "r", str(tmp_path), str(tmp_path / "runs"))
    first, again = (json.loads(line)["rows"] for line in (tmp_path / "r.jsonl").read_text().splitlines())
    assert [row["way"] for row in first] == ["real", "GDAN"]
    assert all(len(row["test/f1"]) == 2 and 0 <= min(row["test/exact"]) <= max(row["test/f1"]) <= 1 for row in first)
    assert [row["seconds"] for row in first] == [row["seconds"] for row in again]
    assert (tmp_path / "r.md").read_text().count("| facts | 20 % |") == 2
