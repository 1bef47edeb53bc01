"""What is kept between runs and can be made again: decoded records, classifiers, compiled programs."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan_jax"


def arrays(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return what `make` makes, kept under this name from one run to the next. Without a name nothing is kept.

    A name must say all that the arrays depend on.
    """
    file = FOLDER / f"{name}.npz"
    try:
        with file.open("rb") as opened, np.load(opened) as found:
            return dict(found)
    except Exception:  # missing, or cut short: make them again
        made = make()
    if name:
        write_arrays(file, made)
    return made


def write_arrays(file: Path, arrays: dict[str, np.ndarray]):
    """Write arrays to an .npz, whole or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as temporary:
            np.savez(temporary, **arrays)
        os.replace(temporary.name, file)
    except OSError:  # the cache saves time and nothing else
        pass
