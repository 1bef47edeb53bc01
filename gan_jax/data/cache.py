"""What is kept between runs and can be made again: decoded records, classifiers, compiled programs."""

import os
import tempfile
from pathlib import Path

import numpy as np

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan_jax"


def write_arrays(file: Path, arrays: dict[str, np.ndarray]):
    """Write arrays to an .npz, whole or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as temporary:
            np.savez(temporary, **arrays)
        os.replace(temporary.name, file)
    except OSError:  # the cache saves time and nothing else
        pass
