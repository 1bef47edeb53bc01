"""The benchmark of fraud: all ways see the same splits, and logistic regression never sees what is held out."""

import json

import jax
import numpy as np
import pytest

from benchmarks.quality import fraud
from gan_jax import data


@pytest.mark.long
def test_logistic_regression_sees_the_records_of_the_run(monkeypatch):
    """Of labels that say nothing it finds no more than by chance, of those that it has seen it finds all."""
    module = fraud.fraud
    cfg, source = module.PRESETS["tiny"], data.load("binary_digits")
    noise = data.composed.of_arrays(
        "noise",
        {"x": data.Field((64,), "row"), "y": data.label(2)},
        {
            "x": np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32),
            "y": (np.arange(100) % 4 > 0).astype(np.int32),
        },
    )
    assert fraud.sizes(cfg)["sought"] == round(0.5 * np.bincount(source.whole()["y"]).min())
    monkeypatch.setattr(data, "load", lambda name: noise)
    keys = jax.random.split(jax.random.key(0), 3)
    assert np.mean(fraud.regression(cfg, keys)["precision"]) < 0.5
    monkeypatch.setattr(data, "dealt", lambda *_: 2 * ((np.arange(0, 100, 4), np.arange(1, 100, 4)),))
    assert np.mean(fraud.regression(cfg, keys)["precision"]) == 1


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    """A row for each way with a number for each seed, in the table and in the file; nothing is trained twice."""
    for _ in range(2):
        fraud.main(("tiny",), 2, "--steps=3", "r", str(tmp_path), str(tmp_path / "runs"))
    first, again = (json.loads(line)["rows"] for line in (tmp_path / "r.jsonl").read_text().splitlines())
    assert [row["way"] for row in first] == ["game", "autoencoder", "alone", "logistic"] and first == again
    assert all(len(row["precision"]) == 2 and 0 < min(row["precision"]) <= max(row["precision"]) <= 1 for row in first)
    assert (tmp_path / "r.md").read_text().count("| binary_digits |") == 4
