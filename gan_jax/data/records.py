"""Record sets: any TFDS set of images of one size, and the digits that need no download."""

import contextlib
import difflib
import functools
import hashlib
import importlib.util
import io
import logging
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from gan_jax.data import cache
from gan_jax.data.batches import order
from gan_jax.data.source import Field, Source
from gan_jax.data.source import label as classes
from gan_jax.errors import UserError, first_line
from gan_jax.game import rng


def load(name: str, others=(), **choices) -> Source:
    """Return the TFDS set called `name`, prepared first where it is missing; its train split, with test beside it.

    Looked for in TFDS_DATA_DIR. others: names that are suggested, too, where there is no such set. Raises UserError
    there, and where a set holds no images of one size or can't be prepared or read.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS warns about OpenCV and about unprepared folders
    data_dir = os.environ.get("TFDS_DATA_DIR") or os.path.expanduser("~/tensorflow_datasets")
    again = f"{Path(sys.executable).name} -m gan_jax.prepare {name}"
    builder = _digits(data_dir) if name == "digits" else _builder(name, data_dir, again, others)
    split = "train" if "train" in builder.info.splits else next(iter(builder.info.splits), None)
    if split is None:
        raise UserError(f"{name} in {data_dir} has no splits. Prepare it again: {again}")
    image, label = _features(name, builder.info.features)
    of = lambda split, test=None: _split(name, builder, split, image, label, test, data_dir, again)
    return of(split, of("test") if split != "test" and "test" in builder.info.splits else None)


def _digits(data_dir):
    import tensorflow_datasets as tfds

    from gan_jax.data.digits import Digits

    def made(place):
        builder = Digits(data_dir=place / "tfds", file_format="array_record")
        if not builder.is_prepared():
            tfds.disable_progress_bar()
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare()
        return builder

    with contextlib.suppress(OSError):
        builder = Digits(data_dir=cache.FOLDER / "tfds", file_format="array_record")
        if builder.is_prepared():
            return builder
    return cache.prepared("digits", made)  # several processes may begin at once: the first one prepares


def _builder(name, data_dir, again, others):
    import tensorflow_datasets as tfds

    try:
        if not re.fullmatch(r"[A-Za-z]\w*(/\w[\w.-]*)?(:[\d.*]+)?", name):
            # a config.json may come from afar
            raise ValueError("a path, or a namespace whose sets TFDS would fetch")
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        if not isinstance(error, tfds.core.registered.DatasetNotFoundError | ValueError):
            raise UserError(f"{name} in {data_dir} can't be read: {first_line(error)}") from None
        close = difflib.get_close_matches(name, [*others, *tfds.list_builders(with_community_datasets=False)], 3)
        raise UserError(
            f"there is no data set {name!r}{'; did you mean ' + ' or '.join(close) + '?' if close else '.'}\n"
            f"Choose from {', '.join(others)}, or any TFDS image set by name (mnist, cifar10, ...)."
        ) from None
    if builder.is_prepared():
        return builder
    _prepare(name, data_dir, again)
    return tfds.builder(name, data_dir=data_dir)


def _prepare(name, data_dir, again):
    """Let TFDS download and prepare `name` in a process of its own: it needs TensorFlow, and training must not."""
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"{name} is not in {data_dir}. TFDS needs TensorFlow once, to prepare it:\n"
            f"pip install tensorflow && {again}"
        )
    if subprocess.run([sys.executable, "-m", "gan_jax.prepare", name]).returncode:
        raise UserError(f"{name} could not be prepared in {data_dir}; see above, then try again: {again}")


def _features(name, features):
    """Return ((name, shape) of the image feature, (name, number of classes) of the label or None)."""
    import tensorflow_datasets as tfds

    features = dict(sorted(features.items()))  # TFDS lists them in another order in each process
    images = [k for k, f in features.items() if len(f.shape or ()) == 3 and f.np_dtype == np.uint8]
    if not images:
        raise UserError(
            f"{name} has no image feature (it has {', '.join(features)}); only image sets can be trained on."
        )
    # rather a photo than its label map
    image = min(images, key=lambda k: (k != "image", "label" in k or "mask" in k, k))
    shape = tuple(features[image].shape)
    if None in shape:
        raise UserError(f"the images of {name} have several sizes {shape}; only sets of one size can be used.")
    labels = [(k, f.num_classes) for k, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
    return (image, shape), labels[0] if labels else None


def _split(name, builder, split, image, label, test, data_dir, again):
    """Return one split as a Source."""
    image, shape = image
    try:
        records = builder.as_data_source(split=split)
    except NotImplementedError:
        raise UserError(
            f"{name} in {data_dir} is prepared as {builder.info.file_format.value}, which has no random access.\n"
            f"Prepare it as array_record: {again}"
        ) from None

    def read(indices):
        indices = np.asarray(indices)
        try:
            rows = records.__getitems__([int(i) for i in indices.ravel()])
            raw = {"x": np.stack([row[image] for row in rows])}
            raw |= {"y": np.array([row[label[0]] for row in rows], np.int32)} if label else {}
            return {name: a.reshape(*indices.shape, *a.shape[1:]) for name, a in raw.items()}
        except Exception as error:
            raise UserError(
                f"{name} in {data_dir} can't be read: {first_line(error)}\nPrepare it again: {again}"
            ) from None

    n = builder.info.splits[split].num_examples
    info = Path(builder.data_path / "dataset_info.json").read_bytes()
    digest = hashlib.blake2b(f"{builder.data_path} {split} {image}".encode() + info, digest_size=8).hexdigest()
    fingerprint = f"{name.replace('/', '-')}-{digest}"
    fields = {"x": Field(shape, "image")} | ({"y": classes(label[1])} if label else {})
    return Source(
        name,
        fields,
        n=n,
        pick=lambda key, i, b: order(rng.at(key, 0, "data"), i, b, n),
        read=read,
        whole=functools.partial(whole, name, n, read, fingerprint),
        test=test,
        fingerprint=fingerprint,
        nbytes=n * math.prod(shape),
    )


def whole(name, n, read, fingerprint) -> dict[str, np.ndarray]:
    """Return all n raw records that `read` gives, decoded once and kept in the cache."""

    def decoded():
        print(f"reading {name}: {n} records", file=sys.stderr)
        parts = [read(np.arange(a, min(a + 1000, n))) for a in range(0, n, 1000)]
        return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}

    return cache.arrays(fingerprint and f"arrays/{fingerprint}", decoded)
