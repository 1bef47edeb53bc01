"""What the tables of docs/results say stands in the records that their sections name."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import harness

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "results").glob("*.md"))
RECORDS = {file.stem: file for file in sorted((ROOT / "benchmarks").glob("*/results/*.jsonl"))}
NUMBER = re.compile(r"(?<![\w.-])-?\d[\d,]*(?:\.\d+)?")
# Columns of what was chosen, or what words mean.
SET = re.compile(r"^(data|steps?|side|size|known|images that D sees|measured|command|when|of the data itself|K)$")
OTHERS = re.compile(r"publish|paper|°")  # others' figures, and ours that stand in no record
ASIDE = {"config", "trained", "protocol", "each"}  # of a row: not what was measured, or not what a page says


def sections(text):
    """Yield (heading, text) of each section of a page."""
    for part in re.split(r"(?m)^(?=##? )", text):
        yield part.partition("\n")[0], part


@functools.cache
def recorded(name) -> list:
    """Return the rows of a record, of all its lines."""
    return [row for line in RECORDS[name].read_text().splitlines() for row in json.loads(line)["rows"]]


def rows_of(section) -> dict:
    """Return {record: its rows} of the records that a section names; of the defaults' those of its experiments."""
    words = {*re.findall(r"[\w-]+", section), *re.findall(r"\w+", section)}
    commands = set(re.findall(r"python -m benchmarks (\w+)", section))
    found = {}
    for name in RECORDS:
        if name in words | {"defaults"} or any(re.match(f"{command}([-_]|$)", name) for command in commands):
            found[name] = recorded(name)
    if "benchmarks defaults`" not in section:
        found["defaults"] = [row for row in found["defaults"] if row["experiment"] in words]
    return found


def figures(rows):
    """Yield the numbers of a record's rows; of several in a row, say one a seed, their mean and spread, too."""
    if isinstance(rows, dict):
        rows = [value for name, value in rows.items() if name not in ASIDE]
    if isinstance(rows, list):
        if len(rows) > 1 and all(type(a) in (int, float) for a in rows):
            yield from (np.mean(rows), np.std(rows), std := np.std(rows, ddof=1), np.median(rows))
            yield float(f"{std:.2g}")  # as `log.spread` says it
        for row in rows:
            yield from figures(row)
    elif type(rows) in (int, float):
        yield rows


def tables(section):
    """Yield (heading, first cell of the row, cell) of all cells of a section's tables."""
    for table in re.findall(r"(?m)(?:^\|.*\n)+", section):
        head, _, *rows = (
            [cell.strip() for cell in line[1:].rpartition("|")[0].split("|")] for line in table.splitlines()
        )
        for row in rows:
            yield from ((title, row[0], cell) for title, cell in zip(head[1:], row[1:], strict=False))


def stands(number: str, said: str, known) -> bool:
    """Return whether a number, rounded as it is, is one of those that are known; `said` may tell another unit of it."""
    value, digits = float(number.replace(",", "")), len(number.partition(".")[2])
    scales = [
        scale for word, scale in {"": 1, "%": 100, " s": 1e-3, "million": 1e-6, "MB": 1e-6}.items() if word in said
    ]
    return any(np.any(np.abs(known * scale - value) <= 0.5001 * 10**-digits) for scale in scales)


def missing(section) -> list[str]:
    """Return the cells of a section's tables that have a figure of no record."""
    known = np.array(list(figures(list(rows_of(section).values()))))
    ours = [(t, r, c) for t, r, c in tables(section) if not SET.search(t) and not OTHERS.search(t + r + c)]
    return [
        f"{r} | {t} | {c}"
        for t, r, c in ours
        if not all(stands(n, f"{r} {t} {c}", known) for n in NUMBER.findall(re.sub("`.*?`|°.*", "", c)))
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_figure_of_no_record(page):
    """Each figure of a table is one of the records that its section names, or is marked as others' or not recorded."""
    found = {heading: cells for heading, section in sections(page.read_text()) if (cells := missing(section))}
    assert not found, json.dumps(found, indent=1, ensure_ascii=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_rows_of_unlike_protocols(page):
    """What a section has of one experiment on the same test data is of the same counts, split and classifiers.

    A classifier trained once more is another one: a section that has both says so, by their digests.
    """
    for _, section in sections(page.read_text()):
        alike, words = {}, re.findall(r"\b[0-9a-f]{16}\b", section)
        for name, rows in rows_of(section).items():
            for row in (row for row in rows if isinstance(row.get("protocol"), dict)):
                of = row["protocol"] | {"seeds": [0]}  # more seeds have a spread: the page says which have
                of["classifiers"] = {k: "any" if v in words else v for k, v in of["classifiers"].items()}
                data = str([of[part] for part in ("data", "shape", "says", "test")])
                alike.setdefault((row.get("experiment"), data), {})[name] = of
        for protocols in alike.values():
            harness.check_alike(protocols, here=False)
