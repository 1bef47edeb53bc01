"""The benchmark of MaliGAN: which run has which flags, and what its table says."""

import json

import pytest

from benchmarks.quality import maligan
from gan_jax.run import cli

module = maligan.maligan


@pytest.mark.parametrize("way, mle, mixed", [("likelihood", 1000, 0.5), ("MaliGAN", 500, 0), ("mixed", 500, 0.5)])
def test_each_way_has_its_budget(way, mle, mixed):
    """As many updates of G each; likelihood alone has all of them."""
    for name in maligan.SETS:
        flags = [*maligan.of_set(name), *maligan.of_way(way, module.PRESETS["default"])]
        cfg, _ = cli.parse(module.Config, module.PRESETS, flags)
        assert (cfg.steps, cfg.mle, cfg.mixed, cfg.calm) == (1000, mle, mixed, 0.5) and cfg.dataset.startswith(name)


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    """A row for each way in the table and in the file; nothing is trained twice."""
    monkeypatch.setattr(maligan, "of_set", lambda name: ["--preset=tiny"])
    for _ in range(2):
        maligan.main(("expressions",), maligan.WAYS, 2, "--steps=4", "r", str(tmp_path), str(tmp_path / "runs"))
    first, again = (json.loads(line)["rows"] for line in (tmp_path / "r.jsonl").read_text().splitlines())
    assert [row["way"] for row in first] == list(maligan.WAYS)
    assert all(len(row["kl"]) == 2 and min(row["kl"]) > 0 and max(row["mass"]) < 1 for row in first)
    assert [row["seconds"] for row in first] == [row["seconds"] for row in again]
    assert (tmp_path / "r.md").read_text().count("| expressions |") == 3
