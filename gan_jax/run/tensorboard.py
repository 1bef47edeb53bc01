"""TensorBoard: rows and pictures of a run as event files, by tensorboardX and without TensorFlow."""

import time
from pathlib import Path

import numpy as np


class Events:
    """The event files in a run's folder `tensorboard`; a resumed run adds one, which takes back the steps it repeats.

    Each event is written when it is given, by the thread that gives it, so that a full disk is an error there.
    """

    def __init__(self, folder: Path, seeds: int, first_seed: int, purge_step: int | None = None):
        """purge_step: the first step of those that were written before and come again."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        folder.mkdir(exist_ok=True)
        self._event, self._seeds, self._first_seed = event_pb2.Event, seeds, first_seed
        # TensorBoard reads the files in the order of their names, which end with the moment
        self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        if purge_step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(step=purge_step, session_log=start)

    def row(self, step: int, metrics: dict) -> None:
        """Write the numbers of a row: of several seeds the mean, and each under NAME/seed7; no lists."""
        from tensorboardX.proto.summary_pb2 import Summary

        numbers = {}
        for name, value in metrics.items():
            value = np.asarray(value, float)
            if value.ndim == (self._seeds > 1):
                numbers[name] = value.mean()
            if value.ndim == 1 and self._seeds > 1:
                numbers |= {f"{name}/seed{seed}": one for seed, one in enumerate(value, self._first_seed)}
        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._write(step=step, summary=Summary(value=values))
        self._writer.flush()

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Write a picture uint8 [h, w, 3]."""
        from tensorboardX import summary

        self._write(step=step, summary=summary.image(name, picture, dataformats="HWC"))

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._writer.close()

    def _write(self, **what):
        self._writer.write_event(self._event(wall_time=time.time(), **what))
