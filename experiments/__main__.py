"""`python -m experiments`: lists all experiments by family; `python -m experiments NAME [flags]` runs one.

`python -m experiments --table` prints the table of the README.
"""

import ast
import difflib
import importlib
import importlib.util
import json
import sys
from pathlib import Path

from experiments import modules


def summary(name: str) -> str:
    """Return the first paragraph of an experiment's docstring as one line, without importing it."""
    source = Path(importlib.util.find_spec(name).origin).read_text()
    return " ".join(ast.get_docstring(ast.parse(source)).split("\n\n")[0].split())


RESULTS = Path("benchmarks/quality/results")


def table() -> str:
    """Return a Markdown table of all experiments, with data, time and samples of `python -m benchmarks defaults`."""
    rows = {}
    for line in (RESULTS / "defaults.jsonl").read_text().splitlines():
        rows |= {row["experiment"]: row for row in json.loads(line)["rows"]}
    lines = ["| experiment | idea | data, time on two cores | samples |", "| --- | --- | --- | --- |"]
    for stem, name in modules().items():
        file, row, picture = name.replace(".", "/") + ".py", rows.get(stem), RESULTS / "defaults" / f"{stem}.png"
        ran = f"{row['data']}, {time_of(row['seconds'])}" if row else ""
        shown = f'<img src="{picture}" width="80">' if picture.exists() else ""
        lines.append(f"| [`{stem}`]({file}) | {summary(name)} | {ran} | {shown} |")
    return "\n".join(lines)


def time_of(seconds: float) -> str:
    """Return a time as one would say it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


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
    if argv == ["--table"]:
        print(table())
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
