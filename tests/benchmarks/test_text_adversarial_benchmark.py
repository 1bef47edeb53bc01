"""The benchmark of adversarial training for text: which run has which flags, and what its table says."""

import json

import pytest

from benchmarks.quality import text_adversarial
from gan_jax.run import cli


@pytest.mark.parametrize("way, weights", [("plain", (0, 0)), ("AT", (1, 0)), ("VAT", (0, 1)), ("both", (1, 1))])
def test_each_way_has_its_weights(way, weights):
    """AT without VAT and the other way round, on each set."""
    module = text_adversarial.text_adversarial
    for name, preset in text_adversarial.SETS.items():
        cfg, _ = cli.parse(module.Config, module.PRESETS, [f"--preset={preset}", *text_adversarial.WAYS[way]])
        assert (cfg.adversarial, cfg.virtual) == weights and cfg.dataset.startswith(f"{name},")


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    """A row for each way with an error for each seed, in the table and in the file; nothing is trained twice."""
    monkeypatch.setattr(text_adversarial, "SETS", {"phrases": "tiny"})
    for _ in range(2):
        text_adversarial.main(
            ("phrases",), ("plain", "both"), 2, "--steps=3", "r", str(tmp_path), str(tmp_path / "runs")
        )
    first, again = (json.loads(line)["rows"] for line in (tmp_path / "r.jsonl").read_text().splitlines())
    assert [row["way"] for row in first] == ["plain", "both"]
    assert all(len(row["error"]) == 2 and 0 <= min(row["error"]) <= max(row["error"]) <= 1 for row in first)
    assert [row["seconds"] for row in first] == [row["seconds"] for row in again]
    assert (tmp_path / "r.md").read_text().count("| phrases | 20 |") == 2
