"""What is kept between runs and can be made again: decoded records, classifiers, compiled programs."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan_jax"


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
    file = FOLDER / f"{name}.npz"
    found = _read(file)
    if found is None or not fits(found):
        found = make()
        write_arrays(file, found)
    return found


def _read(file):
    """Return the arrays of an .npz, or None where it is missing or cut short."""
    try:
        with file.open("rb") as opened, np.load(opened) as found:
            return dict(found)
    except Exception:
        return None


def write_arrays(file: Path, arrays: dict[str, np.ndarray]):
    """Write arrays to an .npz, whole or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as temporary:
            np.savez(temporary, **arrays)
        os.replace(temporary.name, file)
    except OSError:  # the cache saves time and nothing else
        pass
