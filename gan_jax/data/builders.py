"""Where TFDS sets are found, and prepared where they are not: the digits offline, all others by TFDS."""

import contextlib
import difflib
import importlib.util
import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gan_jax.data import cache
from gan_jax.errors import UserError, first_line


def found(name: str, others: Iterable[str] = ()) -> tuple[Any, str]:
    """Return the builder of a set, prepared, and the command that prepares it."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS warns about OpenCV and about unprepared folders
    data_dir = os.environ.get("TFDS_DATA_DIR") or os.path.expanduser("~/tensorflow_datasets")
    again = f"{Path(sys.executable).name} -m gan_jax.prepare {name}"
    return (_digits(data_dir) if name == "digits" else _builder(name, data_dir, again, others)), again


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
            f"Choose from {', '.join(others)}, or any TFDS set by name (mnist, cifar10, ...)."
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
