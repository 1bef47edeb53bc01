"""The contents of files: of a file that may be none, and a digest of many, of which only the changed are read again."""

import contextlib
import errno
import functools
import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gan_jax.data import cache

SETTLED = 2 * 10**9  # nanoseconds after which a change of a file shows in its times, on any file system


def of(file: Path) -> bytes:
    """Return the bytes of a file. Raises OSError where it is none: a pipe would be waited for, a device has no end."""
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "it is not a file", str(file))
    return file.read_bytes()


def digest(path: str, files: list[str], about: Any) -> str:
    """Return the digest of what `about` says (what JSON can hold) and of the bytes of the files."""
    found = hashlib.blake2b(json.dumps(about).encode(), digest_size=16)
    for one in _digests(path, files):
        found.update(one.encode())
    return found.hexdigest()


def _digests(path, files) -> list[str]:
    """Return the digest of the bytes of each file. Those whose times and size are as they were are not read again.

    The cache keeps a list of them for each path.
    """
    name = hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest()
    index, now = cache.FOLDER / "folders" / f"{name}.index", time.time_ns()
    try:
        known = {file: list(one) for file, one in json.loads(of(index)).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        known = {}

    def read(file):
        stamp = _stamp(file)
        try:
            with open(file, "rb") as opened:
                found = hashlib.file_digest(opened, functools.partial(hashlib.blake2b, digest_size=16)).hexdigest()
            # of a file that was written just now, a change to come may show in no time
            return [*(stamp if max(stamp[:2]) < now - SETTLED else []), found]
        except OSError:  # said when it is decoded
            return [""]

    found = {file: known[file] for file in files if file in known and known[file][:-1] == _stamp(file)}
    with ThreadPoolExecutor(8) as pool:
        missing = [file for file in files if file not in found]
        found |= zip(missing, pool.map(read, missing), strict=True)
    settled = {file: one for file, one in found.items() if len(one) > 1}
    if settled != known:
        with contextlib.suppress(OSError), cache.whole(index) as new:
            new.write(json.dumps(settled).encode())
    return [found[file][-1] for file in files]


def _stamp(file) -> list[int]:
    """Return what changes with a file's contents; [] where it is not there."""
    try:
        about = os.stat(file)
    except OSError:
        return []
    return [about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino]
