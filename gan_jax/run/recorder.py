"""What a run leaves behind while it goes: rows, a live line, curves, and how long it trained."""

import time
from typing import Any

import numpy as np

from gan_jax.run import log, plots, rundir
from gan_jax.run.options import Run
from gan_jax.run.tensorboard import Events

# Curves are drawn every so many seconds, or less often: after that many times the seconds that drawing them took
PAUSE, SHARE = 10, 50


class Recorder:
    """Of the process that writes: `metrics.jsonl`, `seconds`, `curves.png`, events of TensorBoard, the live line.

    What can't be written raises UserError.
    """

    def __init__(self, run: Run, at: int, end: int):
        self._folder, self._run, self._at = run.folder, run, at
        with rundir.writing(self._folder):
            self._rows = log.Rows(self._folder / "metrics.jsonl", at, run.seeds)
        self._live = log.Live(end, at)
        self._file = self._folder / "seconds"  # of training until the last save, all parts of the run together
        self._clock = time.monotonic() - (log.number(self._file) if run.resume else 0)
        self._draw_next = time.monotonic() + PAUSE
        last = self._rows.last  # the row of the step at which the run goes on
        self.ended = bool(np.all(last.get("stop", 0)))  # whether the run's own rule ended it there
        self.undone = last.pop("evaluated", True) is False  # whether an evaluation there was cut short
        self._last, self._events = last, None

    def __enter__(self):
        before = self._folder / "tensorboard"
        if self._run.tensorboard or (self._run.resume and before.exists()):
            with rundir.writing(self._folder):
                purge_step = self._new if self._run.resume else None
                self._events = Events(before, self._run.seeds, self._run.seed, purge_step)
        self._live.__enter__()
        return self

    def __exit__(self, *_):
        self._live.__exit__()
        if self._events:
            with rundir.writing(self._folder):
                self._events.close()

    @property
    def _new(self) -> int:
        """The first step of which something is yet to be written."""
        return self._at + (not self.undone)

    @property
    def seconds(self) -> float:
        """Return the seconds of training so far."""
        return round(time.monotonic() - self._clock, 1)

    def redo(self, at: int, scores: dict) -> None:
        """Put the scores of an evaluation that was cut short into the row of its step."""
        self.write(at, self._last | scores)

    def say(self, at: int, metrics: dict) -> None:
        """Show where the run is."""
        self._live.say(at, metrics)

    def write(self, at: int, row: dict) -> None:
        """Write a row, if there is anything in it, and draw the curves again where it is time."""
        if not row:
            return
        with rundir.writing(self._folder):
            self._rows.write(at, row)
            if self._events:
                self._events.row(at, {k: value for k, value in row.items() if k not in ("step", "evaluated")})
        began = time.monotonic()
        if began >= self._draw_next:
            self._curves()
            took = time.monotonic() - began
            self._draw_next = began + took + max(PAUSE, SHARE * took)

    def show(self, at: int, pictures: dict[str, np.ndarray]) -> None:
        """Note the pictures of an evaluation, unless the part of the run before this one did."""
        if self._events and (not self._run.resume or at >= self._new):
            with rundir.writing(self._folder):
                for name, picture in pictures.items():
                    self._events.picture(at, name, picture)

    def saved(self) -> None:
        """Note how long training took until this save."""
        with rundir.writing(self._folder):
            log.write_whole(self._file, f"{self.seconds}\n")

    def conclude(self, at: int) -> None:
        """Draw the curves of all rows, and the animation of the samples until step `at`, the last one."""
        self._curves()
        with rundir.writing(self._folder):
            plots.animation(self._folder, at, ended=True)

    def _curves(self):
        with rundir.writing(self._folder):
            rows = self._folder / "metrics.jsonl"
            loss = (self._run.config or {}).get("loss")
            plots.curves(self._folder / "curves.png", rows, self._run.seeds, self._run.seed, loss)

    def end(self, line: str) -> None:
        """End the live line with a last word."""
        self._live.__exit__()
        log.tell(line)


class Silent:
    """Of the other processes: nothing is written, nothing said."""

    ended = undone = False
    seconds = 0.0

    def __init__(self, *_: Any):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def redo(self, *_: Any, **__: Any) -> None:
        """Write nothing."""

    say = write = show = saved = conclude = end = redo
