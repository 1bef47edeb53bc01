"""What a run says: rows in metrics.jsonl, and a live line on the terminal."""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Rows:
    """`metrics.jsonl`: one JSON object a row. Rows after `step` are cut off, so that a resumed run repeats none.

    last: the row of `step`, {} where there is none; another one of that step takes its place.
    """

    def __init__(self, file: Path, step: int = 0):
        self._file, self._step, self.last, kept = file, step, {}, []
        for line in file.read_text().splitlines(keepends=True) if file.exists() else []:
            try:
                row = json.loads(line)
                if not line.endswith("\n") or row["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):  # cut short by a crash
                break
            self.last = row if row["step"] == step else {}
            kept.append(line)
        write_whole(file, "".join(kept))
        self._before = "".join(kept[:-1])

    def write(self, step: int, metrics: dict):
        """Append one row: numbers as they are, one for each seed as a list."""
        row = json.dumps({"step": step} | {k: np.asarray(v).tolist() for k, v in metrics.items()}) + "\n"
        if self.last and step == self._step:
            write_whole(self._file, self._before + row)
            return
        with self._file.open("a") as file:
            file.write(row)


def write_whole(file: Path, text: str):
    """Write a text file whole or not at all, whenever the process is killed."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    os.replace(new, file)


def number(file: Path) -> float:
    """Return the number that a file holds; 0 where there is none, or none that was written whole."""
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return 0.0


def spread(value) -> str:
    """Return a number, or several as mean ± standard deviation (n - 1)."""
    value = np.asarray(value, float)
    if value.size == 1:
        value = value.reshape(())
        return f"{value:.0f}" if value == value.round() else f"{value:.4g}"
    if not np.isfinite(value).all():
        return f"inf in {(~np.isfinite(value)).sum()} of {value.size}"
    std = float(f"{value.std(ddof=1):.2g}")
    return f"{value.mean():.4g} ± {std:g}"  # 230, not 2.3e+02


def tell(line: str):
    """Print a line to the user; where nobody listens any more (a broken pipe), the work goes on unheard."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class Live:
    """A live line: bar, step, rate, metrics, time left. Off a terminal, a plain line every ten seconds."""

    def __init__(self, total: int, at: int = 0, title: str = ""):
        console = Console(stderr=True)
        self._plain, self._title = not console.is_terminal, title
        if title:
            tell(f"training {title}")
        self._bar = Progress(
            TextColumn("{task.description}"),
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

    def say(self, step: int, metrics: dict):
        """Show where the run is."""
        now = time.monotonic()
        self._first = self._first or (now, step)
        rate = (step - self._first[1]) / max(now - self._first[0], 1e-9)
        numbers = "  ".join(f"{k} {np.mean(v):.3g}" for k, v in list(metrics.items())[:4])
        says = f"{rate:.0f} steps/s  {numbers}" if rate >= 10 else f"{rate:.2g} steps/s  {numbers}"
        self._bar.update(self._task, completed=step, description=f"training {self._title}".strip(), says=says)
        if self._plain and now - self._said > 10:
            self._said = now
            tell(f"step {step}/{self._total}  {says}")
