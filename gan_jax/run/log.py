"""What a run says: rows in metrics.jsonl, and a live line on the terminal."""

import contextlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gan_jax.data import contents


class Rows:
    """`metrics.jsonl`: one JSON object a row. Rows after `step` are cut off, so that a resumed run repeats none.

    last: the row of `step`, {} where there is none; another one of that step takes its place. A line that is no row is
    left out, and said.
    """

    def __init__(self, file: Path, step: int = 0, seeds: int = 1):
        self._file, self._step, self.last, kept = file, step, {}, []
        for number, line in enumerate(lines(file), 1):
            row = row_of(line, seeds)
            if row is None:
                print(f"{file}: line {number} is no row, left out", file=sys.stderr)
            elif row["step"] <= step:
                self.last = row if row["step"] == step else {}
                kept.append(line)
        write_whole(file, b"".join(kept))
        self._before = b"".join(kept[:-1])

    def write(self, step: int, metrics: dict) -> None:
        """Append one row: numbers as they are, one for each seed as a list."""
        row = f"{as_json({'step': step} | metrics)}\n".encode()
        if self.last and step == self._step:
            write_whole(self._file, self._before + row)
            return
        with self._file.open("ab") as file:
            file.write(row)


def parsed(text: bytes) -> Any:
    """Return what JSON says. Raises ValueError where it is none, or nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def lines(file: Path) -> list[bytes]:
    """Return the lines of a file, with their ends; [] where there is no file."""
    return contents.of(file).splitlines(keepends=True) if file.exists() else []


def row_of(line: bytes, seeds: int = 1) -> dict | None:
    """Return a line as a row; None where it is none, was cut short by a crash, or holds what no run writes."""
    try:
        row = parsed(line)
        shapes = [np.shape(value) for name, value in row.items() if name not in ("step", "evaluated")]
        fits = all(len(shape) < 2 if seeds == 1 else shape[:1] == (seeds,) for shape in shapes)
        whole = line.endswith(b"\n") and type(row["step"]) is int and row["step"] >= 0
        return row if whole and fits and all(map(_is_number, row.values())) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_number(value) -> bool:
    """Return whether a value of JSON is a number, null, or a list of such."""
    if type(value) is list:
        return all(map(_is_number, value))
    return value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < 2**63)


def read_rows(file: Path, seeds: int = 1) -> list[dict]:
    """Return the rows of a metrics.jsonl; numbers that were not finite are nan. [] where there is no file."""
    rows = (row_of(line, seeds) for line in lines(file))
    return [{k: _number(v) for k, v in row.items()} for row in rows if row is not None]


def alike(rows: list[dict]) -> list[dict]:
    """Return rows without the values whose shape is not that of the last one of their name."""
    last = {name: np.shape(value) for row in rows for name, value in row.items()}
    return [{name: value for name, value in row.items() if np.shape(value) == last[name]} for row in rows]


def _number(value):
    if isinstance(value, list):
        return [_number(v) for v in value]
    return math.nan if value is None else value


def as_json(values: dict) -> str:
    """Return values, arrays among them, as JSON that every reader takes: what is not finite is null."""

    def plain(value):
        if isinstance(value, dict):
            return {name: plain(v) for name, v in value.items()}
        if isinstance(value, list):
            return [plain(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    whole = lambda value: value if isinstance(value, dict) else np.asarray(value).tolist()
    return json.dumps({name: plain(whole(value)) for name, value in values.items()}, allow_nan=False)


def write_whole(file: Path, text: str | bytes) -> None:
    """Write a text file whole or not at all, whenever the process is killed. No link is followed."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)  # of a process that was killed
    try:
        with new.open("xb") as opened:
            opened.write(text.encode() if isinstance(text, str) else text)
        os.replace(new, file)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def number(file: Path) -> float:
    """Return the number that a file holds; 0 where there is none, or none that was written whole."""
    try:
        value = float(contents.of(file))
    except (OSError, ValueError):
        return 0.0
    return value if 0 <= value < math.inf else 0.0


def spread(value: Any) -> str:
    """Return a number, or several as mean ± standard deviation (n - 1)."""
    value = np.asarray(value, float)
    if value.size == 1:
        value = value.reshape(())
        return f"{value:.0f}" if value == value.round() else f"{value:.4g}"
    if not np.isfinite(value).all():
        return f"inf in {(~np.isfinite(value)).sum()} of {value.size}"
    std = float(f"{value.std(ddof=1):.2g}")
    return f"{value.mean():.4g} ± {std:g}"  # 230, not 2.3e+02


def tell(line: str) -> None:
    """Print a line to the user; where nobody listens any more (a broken pipe), the work goes on unheard."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class Line:
    """What is being done, in one line that is written over; off a terminal, a line every ten seconds."""

    def __init__(self):
        self._over, self._said = sys.stderr.isatty(), time.monotonic()

    def say(self, text: str) -> None:
        """Say what is being done."""
        if self._over:
            self._write(f"\r\x1b[K{text}")
        elif time.monotonic() - self._said > 10:
            self._said = time.monotonic()
            tell(text)

    def end(self) -> None:
        """Wipe the line."""
        if self._over:
            self._write("\r\x1b[K")

    def _write(self, text):
        with contextlib.suppress(OSError):
            print(text, end="", file=sys.stderr, flush=True)


def minutes(seconds: float) -> str:
    """Return a duration as a person would say it: in seconds, minutes or hours."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


class Live:
    """A live line: bar, step, rate, metrics, time left. Off a terminal, a plain line every ten seconds."""

    def __init__(self, total: int, at: int = 0, title: str = ""):
        console = Console(stderr=True)
        self._plain, self._title = not console.is_terminal, title
        if title:
            tell(f"training {title}")
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),  # a data set may be called [/x]
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[says]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._total, self._said, self._first = total, time.monotonic(), None
        self._task = self._bar.add_task("compiling", total=total, completed=at, says="")

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def say(self, step: int, metrics: dict) -> None:
        """Show where the run is."""
        now = time.monotonic()
        self._first = self._first or (now, step)
        rate = (step - self._first[1]) / max(now - self._first[0], 1e-9)
        numbers = "  ".join(f"{k} {np.mean(v):.3g}" for k, v in list(metrics.items())[:4])
        says = f"{rate:.0f} steps/s  {numbers}" if rate >= 10 else f"{rate:.2g} steps/s  {numbers}"
        self._bar.update(self._task, completed=step, description=f"training {self._title}".strip(), says=says)
        first = self._title and rate and self._said < self._first[0]  # as soon as it is known how long it takes
        if self._plain and (first or now - self._said > 10):
            self._said = now
            left = f"  about {minutes((self._total - step) / rate)} left" if rate else ""
            tell(f"step {step}/{self._total}  {says}{left}")
