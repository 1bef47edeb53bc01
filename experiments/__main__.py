"""`python -m experiments`: lists all experiments by family; `python -m experiments NAME [flags]` runs one.

`python -m experiments --table` prints the table of docs/experiments.md, `--short-table` that of the README.
"""

import ast
import difflib
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path

from experiments import modules


def summary(name: str) -> str:
    """Return the first paragraph of an experiment's docstring as one line, without importing it."""
    try:
        tree = ast.parse(Path(importlib.util.find_spec(name).origin).read_bytes())
    except SyntaxError as error:  # a draft: the others are there all the same
        return f"can't be read: {error.msg}, line {error.lineno}"
    return " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())


RESULTS = Path("benchmarks/quality/results")  # in the repository


def families() -> dict[str, list[str]]:
    """Return {family: the stems of its experiments}; "games" are those on top."""
    found = {}
    for stem, name in modules().items():
        found.setdefault("-".join(name.split(".")[1:-1]) or "games", []).append(stem)
    return found


def recorded() -> dict[str, dict]:
    """Return {stem: its last row of `python -m benchmarks defaults`}; {} outside of the repository."""
    file = RESULTS / "defaults.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return {row["experiment"]: row for line in lines for row in json.loads(line)["rows"]}


def table(root="") -> str:
    """Return a Markdown table of all experiments, with data, time and samples; root: the way to the repository."""
    rows, lines = recorded(), ["| experiment | idea | data, time on two cores | samples |", "| --- | --- | --- | --- |"]
    for stem, name in modules().items():
        ran = said(rows[stem]) if stem in rows else ""
        picture = shown(f"{stem}.png", 100, root)
        lines.append(f"| [`{stem}`]({link(name, root)}) | {summary(name)} | {ran} | {picture} |")
    return "\n".join(lines)


def short_table() -> str:
    """Return a Markdown table with a row for each family."""
    rows, lines = recorded(), ["| family | experiments (data, time on two cores) | samples |", "| --- | --- | --- |"]
    for family, stems in families().items():
        of = lambda stem: f" ({said(rows[stem])})" if stem in rows else ""
        names = ", ".join(f"[{stem}]({link(modules()[stem])}){of(stem)}" for stem in stems)
        lines.append(f"| {family} | {names} | {shown(f'family-{family}.png', 420)} |")
    return "\n".join(lines)


def shown(picture: str, width: int, root="") -> str:
    """Return what shows a picture of the samples; nothing where there is none yet."""
    there = (RESULTS / "defaults" / picture).exists()
    return f'<img src="{root}{RESULTS}/defaults/{picture}" width="{width}">' if there else ""


def link(name: str, root="") -> str:
    """Return the path of a module's file."""
    return root + name.replace(".", "/") + ".py"


def said(row: dict) -> str:
    """Return the set, without its choices, and the time of a run, as one would say it."""
    seconds = row["seconds"]
    return f"{row['data'].partition(',')[0]}, {f'{seconds:.0f} s' if seconds < 90 else f'{seconds / 60:.0f} min'}"


def listing() -> str:
    """Return a line for each experiment, under its family."""
    width, lines = max(map(len, modules())), []
    for family, stems in families().items():
        lines += [family, *(f"  {stem:{width}}  {summary(modules()[stem])}" for stem in stems), ""]
    return "\n".join([*lines, "python -m experiments NAME --help says what it can do."])


def say(text: str):
    """Print the text to whoever still reads: `python -m experiments | head` is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end


def main(argv):
    """Run the experiment that the first argument names, with the others as its flags."""
    try:
        modules()
    except Exception as error:  # a UserError, for whose class a list need not wait
        print(error, file=sys.stderr)
        sys.exit(2)
    if not argv or argv[0] in ("-h", "--help"):
        say(listing())
        return
    if argv in (["--table"], ["--short-table"]):
        say(table("../") if argv == ["--table"] else short_table())
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
