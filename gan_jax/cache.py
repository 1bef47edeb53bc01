"""`python -m gan_jax.cache`: where what can be made again is kept, and how large it is; --empty removes it."""

import dataclasses
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import tyro

from gan_jax.data import cache
from gan_jax.errors import UserError
from gan_jax.run import cli

KINDS = {
    "arrays": "records of data sets, decoded",
    "classifiers": "nets that judge, trained once for a set",
    "folders": "pictures of your own, prepared",
    "learnt": "vocabularies, sizes and classes that were found in records",
    "tfds": "the 8x8 digits, prepared",
    "xla": "compiled programs",
}


@dataclasses.dataclass(frozen=True)
class Flags:
    # empty it of these kinds (arrays, classifiers, folders, learnt, tfds, xla), or of all; each is made again at need
    empty: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[KIND ...]")] = None


def kinds() -> dict[str, Path]:
    """Return {kind: its folder} of what there is."""
    try:
        return {entry.name: entry for entry in sorted(cache.FOLDER.iterdir()) if entry.is_dir()}
    except OSError:
        return {}


def size(folder: Path) -> tuple[int, int]:
    """Return how many bytes and files a folder holds."""
    sizes = []
    for above, _, files in os.walk(folder):
        for name in files:
            try:
                sizes.append(os.lstat(os.path.join(above, name)).st_size)
            except OSError:  # gone meanwhile
                continue
    return sum(sizes), len(sizes)


def readable(n: int) -> str:
    """Return bytes as a short number."""
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:,.2f} GB" if n < 1000 else f"{n:,.0f} GB"


def emptied(asked: tuple[str, ...]) -> list[str]:
    """Remove these kinds, all where none is named, and return a line on each. Raises UserError where one can't be."""
    there, lines = kinds(), []
    for name in asked:
        if name not in {**KINDS, **there}:
            raise UserError(f"the cache holds nothing called {name}; choose from {', '.join({**KINDS, **there})}.")
    for name in asked or there:
        if name in there:
            n, _ = size(there[name])
            try:
                shutil.rmtree(there[name])
            except OSError as error:
                raise UserError(f"{error.filename or there[name]} can't be removed: {error.strerror}.") from None
            lines.append(f"{name}: {readable(n)} removed")
    return lines or ["nothing to remove"]


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.cache", description=__doc__)
    if flags.empty is not None:
        print("\n".join(emptied(flags.empty)))
        return
    print(f"{cache.FOLDER}{'' if cache.room('.') else ' (cannot be written: nothing is kept)'}")
    for name, folder in kinds().items():
        n, files = size(folder)
        print(f"  {name:12} {readable(n):>8}  {files:6,} files  {KINDS.get(name, '')}".rstrip())
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        where = os.environ["JAX_COMPILATION_CACHE_DIR"]
        print(f"compiled programs are in {where} (JAX_COMPILATION_CACHE_DIR): not emptied here", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main, compile_cache=False)
