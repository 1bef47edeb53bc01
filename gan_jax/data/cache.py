"""What is kept between runs and can be made again: decoded records, prepared folders, classifiers, compiled programs.

A cache saves time and nothing else: where it can't be read or written, everything is made anew.
"""

import contextlib
import fcntl
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from gan_jax.errors import UserError

Made = TypeVar("Made")


@functools.cache
def temporary() -> Path:
    """Return a folder that goes with this process."""
    temporary.kept = tempfile.TemporaryDirectory(prefix="gan_jax-")
    return Path(temporary.kept.name)


def _place() -> Path:
    """Return where the cache is: below XDG_CACHE_HOME or ~/.cache; without a home nothing outlives the process."""
    above = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(above, "gan_jax") if os.path.isabs(above) else temporary()


FOLDER = _place()
LINKS: dict[str, str] = {}  # folder -> the path that `plain` gave


def arrays(
    name: str,
    make: Callable[[], dict[str, np.ndarray]],
    fits: Callable[[dict[str, np.ndarray]], bool] = lambda found: True,
) -> dict[str, np.ndarray]:
    """Return what `make` makes, kept under this name from one run to the next. Without a name nothing is kept.

    A name must say all that the arrays depend on. fits: whether arrays that were kept are what is looked for.
    """
    if not name:
        return make()
    found = kept(name)
    if found is None or not fits(found):
        found = make()
        keep(name, found)
    return found


def kept(name: str) -> dict[str, np.ndarray] | None:
    """Return the arrays that are kept under this name, or None where there are none, or they are cut short."""
    file = FOLDER / f"{name}.npz"
    if not file.is_file():  # a pipe would be waited for
        return None
    try:
        with file.open("rb") as opened, np.load(opened) as found:
            return dict(found)
    except Exception:
        return None


def keep(name: str, found: dict[str, np.ndarray]) -> None:
    """Keep arrays under this name, where the cache can be written: it saves time and nothing else."""
    with contextlib.suppress(OSError), whole(FOLDER / f"{name}.npz") as opened:
        np.savez(opened, **found)


def drop(name: str) -> None:
    """Keep no longer what is kept under this name."""
    with contextlib.suppress(OSError):
        (FOLDER / f"{name}.npz").unlink(missing_ok=True)


@contextlib.contextmanager
def whole(file: Path) -> Iterator[BinaryIO]:
    """Give a file to write bytes to, which takes the place of `file` where all went well and leaves no trace else."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tidy(file.parent)
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".new-", delete=False) as new, held(new.name):
        try:
            yield new
            new.close()
            os.replace(new.name, file)
        except BaseException:
            os.unlink(new.name)
            raise


@contextlib.contextmanager
def held(path: os.PathLike | str) -> Iterator[None]:
    """Lock a file or folder that is being made, until it is: what goes with the process, however it ends."""
    number = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)


def tidy(folder: Path) -> None:
    """Remove what processes that are gone left half made in a folder of the cache."""
    for path in folder.glob(".new-*"):
        with contextlib.suppress(OSError):
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where its maker is alive
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(number)


def plain(folder: os.PathLike | str) -> str:
    """Return a path of a folder in which no library sees a pattern: its own, or that of a link, of this process.

    TFDS takes brackets for a pattern, and array_record no path that is not UTF-8.
    """
    folder = os.fspath(folder)
    if re.fullmatch(r"[\w./ +,=@:~-]*", folder, re.ASCII) or not os.path.isdir(folder):
        return folder
    target = os.path.abspath(folder)
    if target not in LINKS:
        link = temporary() / f"link-{len(LINKS)}"
        link.symlink_to(target, target_is_directory=True)
        LINKS[target] = str(link)
    return LINKS[target]


def original(path: str) -> str:
    """Return a path as it is without the links of `plain`."""
    return next((target + path[len(link) :] for target, link in LINKS.items() if path.startswith(f"{link}/")), path)


def prepared(name: str, make: Callable[[Path], Made]) -> Made:
    """Return make(folder), where the folder is the cache, and no other process is making anything of that name there.

    Where the cache can't be written, the folder is one of this process. What make raises beside OSError is raised; with
    no room anywhere, UserError.
    """
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        # of a pipe that nobody reads, this is an error at once
        at_once = lambda path, how: os.open(path, how | os.O_NONBLOCK)
        with open(FOLDER / f"{name}.lock", "w", opener=at_once) as lock:
            with contextlib.suppress(OSError):  # not every file system has locks; then each makes its own
                fcntl.flock(lock, fcntl.LOCK_EX)
            return make(FOLDER)
    except OSError:
        try:
            return make(temporary())
        except OSError as error:
            reason = f"{error.filename or tempfile.gettempdir()}: {error.strerror or error}"
            raise UserError(
                f"there is no room to prepare data: {reason}.\nSet XDG_CACHE_HOME to a disk with room."
            ) from None


def forget() -> None:
    """Remove this process's folder, for a process that ends without Python's own farewell."""
    if temporary.cache_info().currsize:
        temporary.kept.cleanup()


def room(name: str, mode: int = 0o777) -> Path | None:
    """Return a folder of the cache to write files to, made where it is missing; None where there can be none."""
    folder = FOLDER / name
    with contextlib.suppress(OSError):
        folder.mkdir(mode, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    return None
