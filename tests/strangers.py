"""Prepared TFDS sets for the tests: written here, without TensorFlow, and then made to contradict themselves."""

import io
import json
import shutil

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


def written(folder, name, features, **splits):
    """Write a set with TFDS: {split: examples}. Return its folder of files."""

    class Written(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = None

        def _info(self):
            features_of = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=features_of, disable_shuffling=True)

        def _split_generators(self, _):
            return {split: enumerate(examples) for split, examples in splits.items()}

        def _generate_examples(self):
            raise NotImplementedError

    Written.name = name
    tfds.disable_progress_bar()
    Written(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder / name / "1.0.0"


def file_of(picture, form="PNG", **how):
    """Return the bytes of a picture's file."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **how)
    return buffer.getvalue()


def prepared(folder):
    """Write a set called strokes, 12 pictures in 3 classes to train on and 4 held out; return (folder, its records)."""
    features = {"image": tfds.features.Image(shape=(3, 4, 3)), "label": tfds.features.ClassLabel(num_classes=3)}
    levels = range(0, 160, 10)
    records = [{"image": file_of(Image.new("RGB", (4, 3), (v,) * 3)), "label": v % 3} for v in levels]
    written(folder, "strokes", features, train=records[:12], test=records[12:])
    x = np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (16, 3, 4, 3))
    return folder, {"x": x, "y": np.array([v % 3 for v in levels])}


def copied(folder, change, name="other"):
    """Return the folder of a copy of `strokes` under another name, its files changed by `change`."""
    shutil.copytree(folder / "strokes", folder / name)
    place = folder / name / "1.0.0"
    for file in place.iterdir():
        file.rename(file.with_name(file.name.replace("strokes", name)))
    info = place / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"name": name}))
    change(place)
    return place


def contradicted(draw, said):
    """Return what a features.json or dataset_info.json says with one number or name in it changed."""
    text = json.dumps(said)
    numbers = ["0", "-1", "1", "2", "5", "100", "4294967296", "9223372036854775807"]
    changes = {
        "Image": ["Text", "Tensor", "Video"],
        "core.features.image_feature": ["core.features", "evilmod", "os.path", "tensorflow_datasets.core"],
        "tensorflow_datasets.core.features.class_label_feature.ClassLabel": ["evilmod.Evil", "evilmod", ""],
        "class_label_feature.ClassLabel": ["scalar.Scalar", "tensor_feature.Tensor"],
        '"numClasses": "3"': [f'"numClasses": "{n}"' for n in numbers],
        '"3"': [f'"{n}"' for n in numbers],
        '"4"': [f'"{n}"' for n in numbers],
        '"12"': [f'"{n}"' for n in numbers],
        "uint8": ["float32", "int64", "string", "uint16", "nothing"],
        "array_record": ["tfrecord", "parquet", "../x", "nothing"],
        "{DATASET}": ["../{DATASET}", "{NOTHING}", "/etc/passwd"],
        "train": ["test", "../x", "all"],
    }
    there = [what for what in changes if what in text]
    if not there:
        return said
    what = draw.choice(there)
    return json.loads(text.replace(what, draw.choice(changes[what]), draw.choice([1, -1])))
