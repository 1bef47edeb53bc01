"""Records of one shape, prepared once: pictures as array_record, which is read at random without TensorFlow.

A prepared folder holds `info.json` and, for each split, SPLIT.array_record (a picture a record: its pixels) or, of
points and rows, SPLIT.npy; of pairs SPLIT.FIELD.array_record for each further picture.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from gan_jax.data import cache, contents

SAY_EVERY = 10  # seconds, while pictures are prepared


def kept(digest: str, make: Callable[[Path], dict]) -> tuple[Path, dict]:
    """Return (folder, info) of what is prepared under this digest, made first where it is not there.

    make: fills an empty folder and returns its info, a dict that JSON can hold.
    """
    name = f"folders/{digest}"
    found = _info(cache.FOLDER / name)
    if found is not None:
        return cache.FOLDER / name, found

    def made(place):
        folder = place / name
        info = _info(folder)  # another process may have made it meanwhile
        if info is None:
            info = _made(folder, make)
        return folder, info

    return cache.prepared("folders", made)


def _info(folder) -> dict | None:
    """Return what info.json says; None where it says nothing, or not all files are there as they were written."""
    try:
        info = json.loads(contents.of(folder / "info.json"))
        return info if info["files"] == _sizes(folder) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sizes(folder) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir() if file.name != "info.json"}


def _made(folder, make) -> dict:
    folder.parent.mkdir(parents=True, exist_ok=True)
    cache.tidy(folder.parent)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    with cache.held(new):
        try:
            info = make(new)
            info["files"] = _sizes(new)
            (new / "info.json").write_text(json.dumps(info))
            shutil.rmtree(folder, ignore_errors=True)  # what is there can't be read
            os.rename(new, folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
    return info


def write_pictures(files: list[Path], rows: Iterable[Iterable[np.ndarray]], total: int, name: str) -> None:
    """Write rows of pictures [h, w, c], each into its own file; a grey one may have one channel, others three.

    total, name: how many, and of what, for a line on stderr now and then. Raises OSError where the disk is full.
    """
    from array_record.python.array_record_module import ArrayRecordWriter

    said, n = time.monotonic(), 0
    try:
        # each record can be read alone
        begun = lambda file: ArrayRecordWriter(f"{cache.plain(file.parent)}/{file.name}", "group_size:1")
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(contextlib.closing(begun(file))) for file in files]
            for n, row in enumerate(rows, 1):
                for writer, picture in zip(writers, row, strict=True):
                    writer.write(picture.tobytes())
                if time.monotonic() > said + SAY_EVERY:
                    said = time.monotonic()
                    print(f"preparing {name}: {n:,} of {total:,}", file=sys.stderr, flush=True)
    except RuntimeError as error:
        raise OSError(f"{files[0].parent} can't be written: {error}") from None


def part(split: str, field: str) -> str:
    """Return the name, without an ending, of the file of a field of a split."""
    return split if field == "x" else f"{split}.{field}"


def reader(file: Path, shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> Callable[[Iterable[int]], np.ndarray]:
    """Return (indices [k]) -> x [k, *shape] of a split, `file` being its name without an ending."""
    rows = file.with_name(f"{file.name}.npy")
    if rows.exists():
        x = np.load(rows, mmap_mode="r", allow_pickle=False)
        return lambda indices: np.asarray(x[np.asarray(indices, int)])
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    records = ArrayRecordDataSource(f"{cache.plain(file.parent)}/{file.name}.array_record")

    def read(indices):
        indices = [int(i) for i in indices]
        out = np.empty((len(indices), *shape), dtype)
        for row, raw in zip(out, records.__getitems__(indices) if indices else [], strict=True):
            row[...] = np.frombuffer(raw, dtype).reshape(*shape[:-1], -1)  # one channel, or all
        return out

    return read
