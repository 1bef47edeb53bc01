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
from gan_jax.errors import UserError, first_line, printable


def found(name: str, others: Iterable[str] = ()) -> tuple[Any, str]:
    """Return the builder of a set, prepared, and the command that prepares it."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS warns about OpenCV and about unprepared folders
    data_dir = os.path.expanduser(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    again = f"{Path(sys.executable).name} -m gan_jax.prepare {name}"
    return (_digits(data_dir) if name == "digits" else _builder(name, data_dir, again, others)), again


def _digits(data_dir):
    import tensorflow_datasets as tfds

    from gan_jax.data.digits import Digits

    def made(place):
        (place / "tfds").mkdir(exist_ok=True)
        builder = Digits(data_dir=cache.plain(place / "tfds"), file_format="array_record")
        if not builder.is_prepared():
            tfds.disable_progress_bar()
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare()
        return builder

    with contextlib.suppress(OSError):
        builder = Digits(data_dir=cache.plain(cache.FOLDER / "tfds"), file_format="array_record")
        if builder.is_prepared():
            return builder
    return cache.prepared("digits", made)  # several processes may begin at once: the first one prepares


def _builder(name, data_dir, again, others):
    import tensorflow_datasets as tfds

    # a config.json may come from afar: no path, and no namespace, whose sets TFDS would fetch
    if not re.fullmatch(r"[A-Za-z]\w*(/\w[\w.-]*)?(:[\d.*]+)?", name):
        raise _unknown(name, data_dir, others)
    try:
        _check_files(os.path.join(data_dir, re.split("[/:]", name)[0]))
        builder = of_tfds(name, cache.plain(data_dir))
        if builder.name != re.split("[/:]", name)[0]:  # TFDS takes capitals for the set of that name without them
            raise _unknown(name, data_dir, others)
        if builder.is_prepared():
            return builder
    except UserError:
        raise
    except Exception as error:
        there = os.path.isdir(os.path.join(data_dir, re.split("[/:]", name)[0]))
        missing = isinstance(error, tfds.core.registered.DatasetNotFoundError)
        if missing or (isinstance(error, ValueError) and not there):
            raise _unknown(name, data_dir, others) from None
        raise UserError(f"{name} in {printable(data_dir)} can't be read: {first_line(error)}") from None
    _prepare(name, data_dir, again)
    return of_tfds(name, cache.plain(data_dir))


def _check_files(folder):
    """Raise UserError where something below the folder is no file, but would be waited for when it is opened."""
    for above, _, files in os.walk(folder):
        for file in (os.path.join(above, name) for name in files):
            if os.path.exists(file) and not os.path.isfile(file):
                raise UserError(f"{printable(file)} is not a file: the data set can't be read.")


def _unknown(name, data_dir, others) -> UserError:
    import tensorflow_datasets as tfds

    known = [*others, *tfds.list_builders(with_community_datasets=False)]
    letters = lambda name: re.sub(r"[\W_]", "", name).lower()
    same = [other for other in known if letters(other) == letters(name)]
    close = same or difflib.get_close_matches(name, known, 3)
    return UserError(
        f"there is no data set {name!r}{'; did you mean ' + ' or '.join(close) + '?' if close else '.'}\n"
        f"Choose from {', '.join(others)}, a TFDS set (mnist, cifar10, ...), or one that is prepared in "
        f"{printable(data_dir)} (docs/sets.md says how)."
    )


def of_tfds(name: str, data_dir: str | None, **how: Any) -> Any:
    """Return TFDS's builder of a set. Its files may name no class but features of TFDS: UserError."""
    import tensorflow_datasets as tfds

    with _features_of_tfds_alone():
        return tfds.builder(name, data_dir=data_dir, **how)


@contextlib.contextmanager
def _features_of_tfds_alone():
    """Let TFDS look up no class of features but its own: of another one it would import the module."""
    from tensorflow_datasets.core.features.feature import FeatureConnector

    usual = FeatureConnector.__dict__["cls_from_name"]

    def checked(cls, name):
        if not re.fullmatch(r"tensorflow_datasets\.core\.features\.\w+\.\w+", name):
            raise UserError(f"the data set's features.json names {name!r}, which is no feature of TFDS: not imported.")
        return usual.__get__(None, cls)(name)

    FeatureConnector.cls_from_name = classmethod(checked)
    try:
        yield
    finally:
        FeatureConnector.cls_from_name = usual


def _prepare(name, data_dir, again):
    """Let TFDS download and prepare `name` in a process of its own: it needs TensorFlow, and training must not."""
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"{name} is not in {data_dir}. TFDS needs TensorFlow once, to prepare it:\n"
            f"pip install tensorflow && {again}"
        )
    if subprocess.run([sys.executable, "-m", "gan_jax.prepare", name]).returncode:
        raise UserError(f"{name} could not be prepared in {data_dir}; see above, then try again: {again}")
