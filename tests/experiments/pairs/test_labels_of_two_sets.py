"""Translators between two sets with labels: a share of right answers only where the labels mean the same."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.pairs import cogan, conditional_translation, cyclegan, dtn, unit
from gan_jax import data
from gan_jax.run.program import game


@pytest.fixture
def garments(monkeypatch):
    """The digits under other names, of as many classes."""
    source = data.load("digits16")
    y = data.label(10, tuple("abcdefghij"))
    renamed = lambda split: dataclasses.replace(split, fields=split.fields | {"y": y})
    renamed_whole = dataclasses.replace(renamed(source), test=renamed(source.test))
    monkeypatch.setitem(data.DATASETS, "garments", lambda name: renamed_whole)


@pytest.mark.parametrize("experiment", [conditional_translation, cyclegan, dtn])
def test_no_judge_of_other_labels(garments, experiment):
    cfg = experiment.PRESETS["tiny"]
    judged = lambda dataset: experiment.judged(dataclasses.replace(cfg, source="digits16", dataset=dataset))
    assert judged("digits16") and not judged("garments")


@pytest.mark.parametrize("experiment", [cogan, unit])
def test_no_accuracy_on_other_labels(garments, experiment):
    """The head learned digits: what it says of garments is neither right nor wrong."""
    for dataset, there in (("digits16", True), ("garments", False)):
        parts = game(experiment, dataclasses.replace(experiment.PRESETS["tiny"], dataset=dataset))
        state = jax.eval_shape(parts.init, jax.random.key(0))
        few = lambda split: jax.tree.map(lambda a: np.asarray(a[:120]), split.whole())
        splits = few(parts.setup.source), few(parts.setup.source.test)
        found = jax.eval_shape(parts.measure, state, jax.random.key(0), *splits)
        assert "accuracy/source" in found and ("accuracy/target" in found) is there
        assert experiment is unit or ("accuracy/target_seen" in found) is there
