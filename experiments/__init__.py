"""One generative adversarial network a file, by family; `python -m experiments` lists them."""

import functools
from pathlib import Path


@functools.cache
def modules() -> dict[str, str]:
    """Return {stem: name of the module} of all experiments, those on top first, then family by family.

    Raises UserError where two have one name.
    """
    root, found = Path(__file__).parent, {}
    for file in sorted(root.rglob("*.py"), key=lambda f: (f.parent != root, f.parts)):
        parts = file.relative_to(root.parent).with_suffix("").parts
        if file.stem.startswith("__") or any("." in part for part in parts):  # which no name reaches: an editor's copy
            continue
        name = ".".join(parts)
        if (other := found.setdefault(file.stem, name)) != name:
            from gan_jax import UserError  # not for a list

            raise UserError(f"two experiments are called {file.stem}: {other} and {name}; rename one.")
    return found
