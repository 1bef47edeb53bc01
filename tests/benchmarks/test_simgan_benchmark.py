"""The benchmark of SimGAN's refined pictures: what is trained on what, and tested on what."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.quality import simgan
from gan_jax import data
from gan_jax.metrics import classifier


def test_a_classifier_of_new_pictures_is_tested_on_real_ones(monkeypatch):
    """It learns from the pictures given, 8-bit, with the labels of the simulated ones; the test is that of the others."""
    source, real = data.load("digits"), data.load("digits16")
    seen = []
    monkeypatch.setattr(
        classifier, "load", lambda s: seen.append(s) or dataclasses.make_dataclass("C", ["accuracy"])(1)
    )
    x = np.zeros((source.n, 16, 16, 1), np.float32)
    assert simgan.accuracy(source, real, x) == 1
    (made,) = seen
    assert made.test is real.test and made.shape == (16, 16, 1) and not made.fingerprint and made.classes == 10
    assert (made.whole()["x"] == 128).all() and (made.whole()["y"] == source.whole()["y"]).all()
    assert made.read(np.array([3, 1]))["y"].tolist() == source.whole()["y"][[3, 1]].tolist()


@pytest.mark.slow
def test_simgan(tmp_path, monkeypatch):
    """Two seeds: a row with the accuracies of three kinds of classifiers, a picture; nothing is trained twice."""
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    monkeypatch.setattr(classifier, "LEAST_STEPS", 50)
    monkeypatch.setattr(classifier, "_LOADED", {})
    monkeypatch.setattr("gan_jax.data.cache.FOLDER", tmp_path / "cache")
    for _ in range(2):
        simgan.main(2, "--preset=tiny --steps=3", str(tmp_path), str(tmp_path / "runs"))
    lines = [json.loads(line) for line in (tmp_path / "simgan.jsonl").read_text().splitlines()]
    (row,), (again,) = (line["rows"] for line in lines)
    assert row["accuracy"].keys() == {"simulated", "refined", "real"} and len(row["accuracy"]["refined"]) == 2
    assert row["seconds"] == again["seconds"] and row["accuracy"] == again["accuracy"] and row["steps"] == 3
    assert len(row["label_kept/refined"]) == 2 and (tmp_path / "simgan.png").stat().st_size > 1000
