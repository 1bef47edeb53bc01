"""Compiled programs, kept from one run to the next. They are code: only their owner may write them."""

import contextlib
import os
import re
import stat
import warnings
from pathlib import Path

import jax

from gan_jax.data import cache
from gan_jax.run import log

SAID = "Error (?:reading|writing) persistent compilation cache entry"  # what a warning of JAX begins with


def keep() -> None:
    """Keep compiled programs on disk, so that the next run of the same step starts at once.

    They are in JAX_COMPILATION_CACHE_DIR or in the cache. A folder that others may write, or that is somebody else's,
    is not used, and that is said. A program that can't be read or written is removed, and compiled anew.
    """
    named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = Path(named) if named else cache.room("xla", 0o700)
    if named:
        with contextlib.suppress(OSError):
            os.makedirs(named, 0o700, exist_ok=True)
    if folder and (wrong := distrusted(folder)):
        log.tell(f"{folder} {wrong}: compiled programs are neither read nor kept. Remove it, or chmod 700 it, empty.")
        folder = None
    jax.config.update("jax_compilation_cache_dir", folder and str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    if folder:
        mend(folder)


def distrusted(folder: Path) -> str:
    """Return why programs in this folder may be somebody else's; "" where they are our own."""
    try:
        found = folder.stat()
    except OSError:  # JAX says what is wrong, and goes on without
        return ""
    if found.st_uid != os.geteuid():
        return "belongs to somebody else"
    return "may be written by others" if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else ""


def mend(folder: Path) -> None:
    """Remove programs that JAX warns of: it compiles them anew, and would never write over what is there."""
    usual = warnings.showwarning

    def show(message, *where, **how):
        damaged = re.match(rf"{SAID} for '([\w.<>-]+)'", str(message))
        if not damaged:
            usual(message, *where, **how)
            return
        for file in folder.glob(f"{damaged[1]}*-cache"):
            with contextlib.suppress(OSError):
                file.unlink()

    warnings.showwarning = show
    warnings.filterwarnings("always", message=SAID)
