"""What a run leaves behind while it goes: rows, a live line, curves, and how long it trained."""

import sys
import time

import numpy as np

from gan_jax.run import log, plots


class Recorder:
    """Of the process that writes: `metrics.jsonl`, `seconds`, `curves.png`, and the live line."""

    def __init__(self, folder, at: int, end: int, resumed: bool):
        self._folder, self._rows = folder, log.Rows(folder / "metrics.jsonl", at)
        self._live = log.Live(end, at)
        self._file = folder / "seconds"  # of training until the last save, all parts of the run together
        self._clock = time.monotonic() - (log.number(self._file) if resumed else 0)
        last = self._rows.last  # the row of the step at which the run goes on
        self.ended = bool(np.all(last.get("stop", 0)))  # whether the run's own rule ended it there
        self.undone = last.pop("evaluated", True) is False  # whether an evaluation there was cut short
        self._last = last

    def __enter__(self):
        self._live.__enter__()
        return self

    def __exit__(self, *_):
        self._live.__exit__()

    @property
    def seconds(self) -> float:
        """Return the seconds of training so far."""
        return round(time.monotonic() - self._clock, 1)

    def redo(self, at, scores):
        """Put the scores of an evaluation that was cut short into the row of its step."""
        self._rows.write(at, self._last | scores)

    def say(self, at, metrics):
        """Show where the run is."""
        self._live.say(at, metrics)

    def write(self, at, row):
        """Write a row, if there is anything in it."""
        if row:
            self._rows.write(at, row)

    def saved(self):
        """Note how long training took until this save."""
        log.write_whole(self._file, f"{self.seconds}\n")

    def curves(self):
        """Draw the rows so far."""
        plots.curves(self._folder / "curves.png", self._folder / "metrics.jsonl")

    def end(self, line: str):
        """End the live line with a last word."""
        self._live.__exit__()
        print(line, file=sys.stderr)


class Silent:
    """Of the other processes: nothing is written, nothing said."""

    ended = undone = False
    seconds = 0.0

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def redo(self, *_):
        """Write nothing."""

    say = write = saved = curves = end = redo
