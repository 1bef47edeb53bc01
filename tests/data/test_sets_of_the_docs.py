"""docs/sets.md: which sets have to be made, what is in them, and how one is made."""

import dataclasses
import importlib
import os
import re
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from experiments import modules
from gan_jax import data
from gan_jax.data import builders
from gan_jax.errors import UserError

PAGE = (Path(__file__).parents[2] / "docs" / "sets.md").read_text()
CELLS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]
ROWS = {name.strip("`"): cells for name, *cells in CELLS}


def defaults(module):
    """Return the names of the sets that an experiment's default says, without their choices."""
    cfg = next(iter(module.PRESETS.values()))
    texts = [value for value in vars(cfg).values() if isinstance(value, str)]
    return {name for text in texts for name in re.split(r"[/:,+|=]", text)} & ROWS.keys()


def test_a_default_that_has_to_be_made_is_on_the_page():
    """With the experiments whose defaults it is; and every other default is made here, or TFDS has it."""
    of = {name: defaults(importlib.import_module(module)) for name, module in modules().items()}
    for name, (users, *_) in ROWS.items():
        assert users == ", ".join(stem for stem, sets in of.items() if name in sets), name
    known = {*data.DATASETS, *tfds.list_builders(with_community_datasets=False), *ROWS}
    for module in modules().values():
        cfg = next(iter(importlib.import_module(module).PRESETS.values()))
        for field in {"dataset", "source", "unknown"} & {f.name for f in dataclasses.fields(cfg)}:
            name = re.split("[/:,]", getattr(cfg, field))[0]
            assert not name or name in known or re.fullmatch(r"(ring|gaussians)\d+", name), (module, name)


@pytest.mark.parametrize("name", ROWS)
def test_what_a_set_holds_is_what_the_page_says(name):
    """The names of the features and how many records a split has."""
    try:
        (builder, _), (_, features, splits, _) = builders.found(name), ROWS[name]
    except UserError:
        pytest.skip(f"{name} is not prepared here")
    said = [re.split(r" [\[(\dn]", part)[0] for part in re.split(r", (?![^\[]*\])", features)]
    assert sorted(said) == sorted(builder.info.features)
    assert splits == ", ".join(f"{split} {info.num_examples}" for split, info in builder.info.splits.items())


def test_the_builder_of_the_page_makes_a_set(tmp_path, monkeypatch):
    """As it stands there, with pictures in the place of the download; a run reads it."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    faces, people = np.random.default_rng(0).random((6, 64, 64)).astype(np.float32), np.arange(6)
    made = types.SimpleNamespace(images=faces, target=people)
    monkeypatch.setattr("sklearn.datasets.fetch_olivetti_faces", lambda: made)
    monkeypatch.chdir(tmp_path)
    exec(code, {"__name__": "olivetti"})
    monkeypatch.setenv("TFDS_DATA_DIR", os.fspath(tmp_path / "sets"))
    source = data.load("olivetti_faces,x=image")
    rows = source.whole()
    order = np.argsort(rows["y"])
    assert source.shape == (64, 64, 1) and source.fields["y"].classes == 40
    np.testing.assert_array_equal(rows["x"][order][..., 0], np.round(faces * 255))
    data.load.cache_clear()
