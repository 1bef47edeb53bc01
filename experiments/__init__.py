"""One generative adversarial network a file, by family; `python -m experiments` lists them."""

import functools
from pathlib import Path


@functools.cache
def modules() -> dict[str, str]:
    """Return {stem: name of the module} of all experiments, those on top first, then family by family."""
    root = Path(__file__).parent
    files = sorted(root.rglob("*.py"), key=lambda f: (f.parent != root, f.parts))
    names = {f.stem: ".".join(f.relative_to(root.parent).with_suffix("").parts) for f in files}
    return {stem: name for stem, name in names.items() if not stem.startswith("__")}
