"""Prepared sets from elsewhere: what names code, what is no picture, what contradicts itself, and odd paths."""

import io
import json
import os
import shutil
import sys

import numpy as np
import pytest
import strangers
import tensorflow_datasets as tfds
from PIL import Image

import gan_jax.data.cache
from experiments import unrolled
from gan_jax import UserError, data
from gan_jax.data import composed
from gan_jax.run import loaded, rundir

IMAGE = "tensorflow_datasets.core.features.image_feature.Image"
ODD = ["run[1]", "a*b?", "back\\slash", "two words", "new\nline", "ünï", "bad\udcff", "[0:3]"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with the set `strokes`, and what is in it."""
    return strangers.prepared(tmp_path_factory.mktemp("base"))


@pytest.fixture
def other(base, tmp_path, monkeypatch):
    """The function that makes a set `other` of `strokes`, its files changed, and returns its folder."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path / "cache")
    data.load.cache_clear()
    shutil.copytree(base[0] / "strokes", tmp_path / "strokes")
    yield lambda change, name="other": strangers.copied(tmp_path, change, name)
    data.load.cache_clear()


def said(file, old, new):
    """Return the change of a set that puts one text in the place of another."""

    def change(place):
        text = (place / file).read_text()
        assert old in text
        (place / file).write_text(text.replace(old, new))

    return change


def refused(words, name="other"):
    """Check that a set is refused in one or two lines with these words."""
    with pytest.raises(UserError, match=words) as error:
        data.load(name).whole()
    assert len(str(error.value).splitlines()) <= 2


# Code


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module in reach that must not be imported."""
    (tmp_path / "mods").mkdir()
    (tmp_path / "mods" / "evilmod.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "mods"))
    yield
    assert "evilmod" not in sys.modules


def nested(name):
    """Return the features.json of a set with a class in features in features, as text in JSON."""
    legacy = {"type": name, "content": {"shape": [3], "dtype": "uint8"}}
    within = {"pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict"}
    inner = within | {"jsonFeature": {"json": json.dumps({"x": legacy})}}
    return within | {"featuresDict": {"features": {"image": inner}}}


NAMES = ["evilmod.Evil", "tensorflow_datasets.core.features.evilmod", "os.path", "tensorflow_datasets.evilmod.x.Evil"]


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_names_no_module(other, evil, name):
    """Its features are TFDS's own, on top, below, in the old form and in dataset_info.json; nothing else is imported."""
    words = "is no feature of TFDS: not imported"
    other(said("features.json", IMAGE, name), "plain")
    other(lambda place: (place / "features.json").write_text(json.dumps(nested(name))), "deep")
    info = {"pythonClassName": name, "image": {"shape": {"dimensions": ["3"]}}}
    put = lambda text: json.dumps(json.loads(text) | {"features": info})
    other(lambda place: (f := place / "dataset_info.json").write_text(put(f.read_text())), "info")
    for set_name in ("plain", "deep", "info"):
        refused(words, set_name)


def test_a_run_names_no_module(other, evil, tmp_path):
    """Nor does the data set of a run that is loaded."""
    other(said("features.json", IMAGE, "evilmod.Evil"))
    config = {"experiment": "experiments.unrolled", "config": {"dataset": "other"}, "seed": 0, "seeds": 1}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert rundir.read(tmp_path / "run")["config"]["dataset"] == "other"
    with pytest.raises(UserError, match="is no feature of TFDS"):
        loaded.load(tmp_path / "run", unrolled)


def test_features_of_tfds_are_taken(other, base):
    """What names no other class is read as it was written, and TFDS is as before."""
    before = tfds.features.FeatureConnector.__dict__["cls_from_name"]
    other(lambda place: None)
    raw = data.load("other").whole()
    np.testing.assert_array_equal(raw["x"], base[1]["x"][:12])
    np.testing.assert_array_equal(raw["y"], base[1]["y"][:12])
    assert tfds.features.FeatureConnector.__dict__["cls_from_name"] is before


# Pictures


@pytest.mark.filterwarnings("ignore:Image size")  # of Pillow, which has a limit of its own
def test_a_record_starts_no_program_and_fills_no_memory(other, tmp_path, monkeypatch):
    """An EPS, for which Pillow would start Ghostscript, and a PNG of 169 megapixels: named; beside others not opened."""
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    raw = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(raw, "PNG")
    good = strangers.file_of(Image.new("RGB", (4, 3), (9, 9, 9)))
    image = tfds.features.Image(shape=(3, 4, 3))
    features = {"image": image, "inner": {"image": image, "n": tfds.features.Scalar(np.int64)}}
    bad = {
        "eps": (strangers.file_of(Image.new("RGB", (4, 3)), "EPS"), "it is no picture"),
        "big": (raw.getvalue(), "100 meg"),
    }
    for name, (file, words) in bad.items():
        records = [{"image": one, "inner": {"image": one, "n": 5}} for one in (good, file)]
        strangers.written(tmp_path, name, features, train=records)
        refused(f"^record 1 of {name}, split train, can't be read: .*{words}", name)
        assert data.load(f"{name},x=inner/n").whole()["x"].tolist() == [5, 5]


# Contradictions

CONTRADICTIONS = {
    "more records": ("dataset_info.json", '"12"', '"15"', "holds 12 records; other's dataset_info.json says 15"),
    "fewer records": ("dataset_info.json", '"12"', '"9"', "holds 12 records; other's dataset_info.json says 9"),
    "no record": ("dataset_info.json", '"12"', '"0"', "split 'train' of other is empty"),
    "a negative count": ("dataset_info.json", '"12"', '"-5"', "can't be read"),
    "too few classes": (
        "features.json",
        '"numClasses": "3"',
        '"numClasses": "2"',
        "record 2 .* has the label 2, .* 0 to 1",
    ),
    "a billion classes": ("features.json", '"numClasses": "3"', '"numClasses": "3000000000"', "has 3000000000 classes"),
    "negative classes": ("features.json", '"numClasses": "3"', '"numClasses": "-3"', "has -3 classes"),
    "a huge shape": ("features.json", '"4"', '"4000000000"', r"has the shape \(3, 4000000000, 3\)"),
    "another shape": ("features.json", '"4"', '"5"', "record 0 of other, split train, .*image is 3x4x3, not 3x5x3"),
    "another file": ("dataset_info.json", "{DATASET}", "../{DATASET}", "can't be read"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_set_that_contradicts_itself(other, name):
    """It is refused, naming the record, the file or the feature."""
    file, old, new, words = CONTRADICTIONS[name]
    other(said(file, old, new))
    refused(words)


def test_the_first_record_is_looked_at_before_the_nets(other):
    """So no net of a shape that no record has is made."""
    other(said("features.json", '"4"', '"5"'))
    with pytest.raises(UserError, match="image is 3x4x3, not 3x5x3"):
        data.check_batch(data.load("other"), 4)
    with pytest.raises(UserError, match="a batch of 13 is more than the 12 records"):
        data.check_batch(data.load("strokes"), 13)


@pytest.mark.parametrize("file", ["features.json", "dataset_info.json", "other-train.array_record-00000-of-00001"])
def test_a_pipe_is_not_waited_for(other, file):
    """A file of the set that is none is named."""
    other(lambda place: ((place / file).unlink(), os.mkfifo(place / file)))
    refused(f"{file} is not a file")


@pytest.mark.parametrize("name", ["metadata.jsonl", "x.png", "x.npy"])
def test_a_pipe_among_pictures_is_not_waited_for(other, tmp_path, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.png").write_bytes(strangers.file_of(Image.new("L", (4, 4), 9)))
    os.mkfifo(tmp_path / "mine" / name)
    source = tmp_path / "mine" / (name if name == "x.npy" else "")
    refused("is not a file|no such folder or file", f"{source}/" if source.is_dir() else str(source))


def test_a_label_that_a_class_can_not_be(other, tmp_path):
    """A label of metadata.jsonl may be any word, also one that no encoding has."""
    (tmp_path / "mine").mkdir()
    for i, label in enumerate(["\ud800", "b"]):
        (tmp_path / "mine" / f"{i}.png").write_bytes(strangers.file_of(Image.new("L", (4, 4), i)))
        with (tmp_path / "mine" / "metadata.jsonl").open("a") as file:
            file.write(json.dumps({"file_name": f"{i}.png", "label": label}) + "\n")
    source = data.load(f"{tmp_path}/mine")
    assert source.row["y"].names == ("b", "\\ud800") and source.whole()["y"].tolist() == [1, 0]


# Labels that are missing


def test_training_by_labels_needs_them(other, tmp_path):
    """A record of -1 has none: it is named where each needs one, and may stay where not."""
    image = {"image": tfds.features.Image(shape=(3, 4, 3)), "label": tfds.features.ClassLabel(num_classes=2)}
    file = strangers.file_of(Image.new("RGB", (4, 3)))
    strangers.written(tmp_path, "some", image, train=[{"image": file, "label": y} for y in (0, 1, -1, 1)])
    source = data.load("some")
    assert source.whole()["y"].tolist() == [0, 1, -1, 1] and len(data.reference(source)["means"]) == 2
    for act in (lambda: composed.labelled(source).whole(), lambda: composed.labelled(source).read(np.array([3, 2]))):
        with pytest.raises(UserError, match=r"record 2 of some has no label \(-1\)"):
            act()
    assert composed.labelled(source).read(np.array([3, 0]))["y"].tolist() == [1, 0]


def test_numbers_that_are_none(other, tmp_path):
    """NaN or infinity in x is named by record and column before training; of another field it may say something."""
    features = {"a": np.float32, "b": np.float32, "row": tfds.features.Tensor(shape=(2,), dtype=np.float32)}
    odd = [(0, 1), (np.nan, 2), (1, np.inf), (3, 4)]
    strangers.written(tmp_path, "table", features, train=[{"a": a, "b": b, "row": [1, a]} for a, b in odd])
    for name, says in {
        "table,x=a+b": "record 1 of table, split train, has the a nan: choose another x",
        "table,x=b": "record 2 of table, split train, has the b inf",
        "table,x=row": "record 1 of table, split train, has the row nan",
    }.items():
        with pytest.raises(UserError, match=says):
            data.load(name).whole()
    assert np.isnan(data.load("table,x=b,score=a,split=train[:2]").whole()["score"][1])


# Paths


def linked(monkeypatch, place):
    """Let the links of a process be made in this folder."""
    place.mkdir()
    monkeypatch.setattr(gan_jax.data.cache, "LINKS", {})
    monkeypatch.setattr(gan_jax.data.cache, "temporary", lambda: place)


@pytest.mark.parametrize("name", ODD)
def test_sets_under_any_path(base, tmp_path, monkeypatch, name):
    """TFDS_DATA_DIR, the cache and the working directory may be called anything; what is kept is found again."""
    place = tmp_path / name
    shutil.copytree(base[0], place / "tfds")
    (place / "mine").mkdir()
    for i in range(2):
        (place / "mine" / f"{i}.png").write_bytes(strangers.file_of(Image.new("L", (2, 2), 100 + i)))
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", place / "cache")
    monkeypatch.chdir(place)
    linked(monkeypatch, tmp_path / "a")
    for where in ("tfds", str(place / "tfds")):
        monkeypatch.setenv("TFDS_DATA_DIR", where)
        data.load.cache_clear()
        source = data.load("strokes")
        np.testing.assert_array_equal(source.whole()["x"], base[1]["x"][:12])
    assert data.load("./mine").whole()["x"][:, 0, 0, 0].tolist() == [100, 101]
    data.load.cache_clear()
    monkeypatch.setattr("gan_jax.data.folder._prepare_pictures", lambda *_: pytest.fail("prepared again"))
    assert data.load("./mine").whole()["x"][:, 0, 0, 0].tolist() == [100, 101]
    kept = {f.name for f in (place / "cache" / "arrays").iterdir()}
    linked(monkeypatch, tmp_path / "b")  # another process has another link
    data.load.cache_clear()
    assert f"{data.load('strokes').fingerprint}.npz" in kept
    data.load.cache_clear()
