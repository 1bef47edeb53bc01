"""What experiments reach, cost and survive; `python -m benchmarks` lists all benchmarks.

A file in `quality`, `speed` or `reliability` is a benchmark; what they share stands beside this one.
"""

import functools
from pathlib import Path


@functools.cache
def modules() -> dict[str, str]:
    """Return {stem: name of the module} of all benchmarks, kind by kind."""
    root = Path(__file__).parent
    names = {f.stem: f"benchmarks.{f.parent.name}.{f.stem}" for f in sorted(root.glob("*/*.py"))}
    return {stem: name for stem, name in names.items() if not stem.startswith("__")}
