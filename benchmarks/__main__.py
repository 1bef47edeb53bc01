"""`python -m benchmarks`: lists all benchmarks by kind; `python -m benchmarks NAME [flags]` runs one."""

import difflib
import runpy
import sys

from benchmarks import modules
from experiments.__main__ import say, summary


def listing() -> str:
    """Return a line for each benchmark, under its kind."""
    lines, width, last = [], max(map(len, modules())), None
    for stem, name in modules().items():
        kind = name.split(".")[1]
        if kind != last:
            lines += ["", kind]
            last = kind
        lines.append(f"  {stem:{width}}  {summary(name).partition('`: ')[2]}")
    return "\n".join([*lines[1:], "", "python -m benchmarks NAME --help says what it can do."])


def main(argv):
    """Run the benchmark that the first argument names as the program, with the others as its flags."""
    if not argv or argv[0] in ("-h", "--help"):
        say(listing())
        return
    name, *flags = argv
    if name not in modules():
        close = difflib.get_close_matches(name, modules(), 3)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        print(f"there is no benchmark {name!r}.\n{hint}python -m benchmarks lists all.", file=sys.stderr)
        sys.exit(2)
    sys.argv[1:] = flags
    runpy.run_module(modules()[name], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
