"""`python -m experiments`: lists all experiments by family; `python -m experiments NAME [flags]` runs one."""

import ast
import difflib
import importlib
import importlib.util
import sys
from pathlib import Path

from experiments import modules


def summary(name: str) -> str:
    """Return the first paragraph of an experiment's docstring as one line, without importing it."""
    source = Path(importlib.util.find_spec(name).origin).read_text()
    return " ".join(ast.get_docstring(ast.parse(source)).split("\n\n")[0].split())


def listing() -> str:
    """Return a line for each experiment, under its family."""
    lines, width, last = [], max(map(len, modules())), None
    for stem, name in modules().items():
        family = name.split(".")[1:-1]
        if family != last:
            lines += ["", "/".join(family) or "games"]
            last = family
        lines.append(f"  {stem:{width}}  {summary(name)}")
    return "\n".join([*lines[1:], "", "python -m experiments NAME --help says what it can do."])


def main(argv):
    """Run the experiment that the first argument names, with the others as its flags."""
    if not argv or argv[0] in ("-h", "--help"):
        print(listing())
        return
    name, *flags = argv
    if name not in modules():
        close = difflib.get_close_matches(name, modules(), 3)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        print(f"there is no experiment {name!r}.\n{hint}python -m experiments lists all.", file=sys.stderr)
        sys.exit(2)
    from gan_jax.run import cli  # not for a list

    cli.run(lambda: importlib.import_module(modules()[name]).main(flags))


if __name__ == "__main__":
    main(sys.argv[1:])
