"""The benchmark of pix2pix's five ways runs, with a few steps, and reads photographs as it reads translations."""

import json
import sys

import numpy as np
import pytest

import gan_jax.data.cache
from benchmarks.quality import pix2pix as five_ways
from experiments.pairs import pix2pix
from gan_jax.metrics import segmenter
from gan_jax.run import cli


def test_the_ways_are_the_paper_s():
    """Each has the weights and the D of its name."""
    found = {}
    for way, (flags, _) in five_ways.WAYS.items():
        cfg, _ = cli.parse(pix2pix.Config, pix2pix.PRESETS, ["--preset=labels", "--cpu", *flags])
        found[way] = cfg.l1, cfg.adversarial, cfg.sees_input
    assert found.pop("L1")[:2] == (100, 0)
    assert found == {"GAN": (0, 1, False), "cGAN": (0, 1, True), "L1+GAN": (100, 1, False), "L1+cGAN": (100, 1, True)}


@pytest.mark.slow
def test_five_ways(tfds_dir, tmp_path, monkeypatch):
    """A row for each way that is asked for and one for real photographs, a table, a picture; nothing is trained twice."""
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path / "cache")
    monkeypatch.setattr(segmenter, "STEPS", 100)
    monkeypatch.setattr(segmenter, "WIDTH", 4)
    given = {"steps": 2, "seeds": 2, "width": 2, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    five_ways.main(("L1", "GAN"), **given)
    (line,) = (tmp_path / "pix2pix_ways.jsonl").read_text().splitlines()
    protocol, truth, *rows = json.loads(line)["rows"]
    assert "233 test pictures" in protocol["protocol"] and [row["way"] for row in rows] == ["L1", "GAN"]
    assert all(len(row["per_pixel"]) == len(row["iou"]) == 2 and row["trained"] for row in rows)
    assert truth["per_pixel"] > max(np.max(row["per_pixel"]) for row in rows)
    assert "| GAN |" in (tmp_path / "pix2pix_ways.md").read_text()
    assert (tmp_path / "pix2pix_ways.png").stat().st_size > 1000
    monkeypatch.setattr(sys.modules["gan_jax.run.program"], "trained", lambda *_: pytest.fail("trained again"))
    five_ways.main(("L1", "GAN"), **given)
