"""Several processes of one run: joined, compared before the first step, and never waited for in vain.

What the others wait for (a collective, a barrier of a checkpoint) never comes where one of them is stuck or gone. JAX
notices that after minutes, and aborts with a stack. So each process says every second that it is there, and in the end
why it ends, in the key-value store that JAX joined them by; who hears of an end, or nothing for SILENCE seconds, ends
too, in two lines.
"""

import atexit
import contextlib
import ctypes
import functools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax

from gan_jax.errors import UserError, first_line

SILENCE = 12  # seconds after which a process that says nothing is taken for gone
GRACE = 20  # seconds after a signal in which all processes must have come to a stop
AGAIN = "Start again with --resume."
WORDS = "gan_jax/words/"
_watch = None  # of this process, where there are several


def join() -> None:
    """Join the other processes, and watch them from now on. Raises UserError where they can't be reached."""
    global _watch
    number = {name: os.environ.get(f"JAX_{name.upper()}") for name in ("num_processes", "process_id")}
    try:  # what is not said here or in JAX_COORDINATOR_ADDRESS, JAX finds out from the cluster
        with _without_abort():
            jax.distributed.initialize(**{name: int(value) for name, value in number.items() if value})
        # JAX's own handler, for a service that is not used here, would keep SIGTERM from ending the process
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"the processes could not be joined: {first_line(error)}\n"
            "Outside SLURM and TPU pods set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID."
        ) from None
    from jax._src.distributed import global_state  # the store has no public name

    if global_state.num_processes > 1:
        _watch = Watch(global_state.client, global_state.process_id, global_state.num_processes)


@contextlib.contextmanager
def _without_abort():
    """See to it that the loss of the process at which they met ends this one in two lines.

    JAX aborts with a stack then, unless it is given a function to call instead. `jax.distributed` doesn't pass one on,
    and up to jax 0.12 none in Python can be called, which ends in `std::terminate`; so that is told what to do, too.
    """
    from jax._src import distributed

    gone = lambda *_: leave(1, f"the other processes can't be reached: the one at which they met is gone.\n{AGAIN}")
    with contextlib.suppress(OSError, AttributeError):  # another C++ library: then it is an abort
        _without_abort.kept = ctypes.CFUNCTYPE(None)(gone)
        ctypes.CDLL("libstdc++.so.6")._ZSt13set_terminatePFvvE(_without_abort.kept)
    made = distributed._jax.get_distributed_runtime_client
    distributed._jax.get_distributed_runtime_client = functools.partial(made, missed_heartbeat_callback=gone)
    try:
        yield
    finally:
        distributed._jax.get_distributed_runtime_client = made


class Watch:
    """Says once a second that this process is there, hears of the others, and ends this one where they are gone."""

    def __init__(self, client: Any, own: int, n: int):
        self.client, self.own, self.n = client, own, n
        self.stop: list = []  # holds a signal once one came that all have to follow
        self.leaving = threading.Lock()
        self._over = threading.Event()
        self._words = dict.fromkeys(range(n), "")
        self._quiet = dict.fromkeys(range(n), 0)  # seconds since a word changed, as this process has lived them
        self._since_signal = 0
        for work in (self._talk, self._look):
            threading.Thread(target=work, daemon=True).start()
        atexit.register(self._finish)  # before JAX's own farewell, which waits for all

    def say(self, word: str) -> None:
        """Put a word where the others look."""
        self.client.key_value_set(f"{WORDS}{self.own}", word, allow_overwrite=True)

    def _finish(self):
        self._over.set()
        with contextlib.suppress(Exception):
            self.say("done")

    def _talk(self):
        beat = 0
        while not self._over.wait(1):
            with contextlib.suppress(Exception):  # whatever it is: the others are quiet then
                if not self.leaving.locked():
                    self.say(str(beat := beat + 1))
                for key, word in self.client.key_value_dir_get(WORDS):
                    i = int(key.rpartition("/")[2])
                    if self._words[i] != word:
                        self._words[i], self._quiet[i] = word, 0

    def _look(self):
        while not self._over.wait(1):  # counts its own rounds: where this process sleeps, the others aren't quiet
            self._since_signal += bool(self.stop)
            for i in set(range(self.n)) - {self.own}:
                self._quiet[i] += 1
                if self._words[i].startswith("ended"):
                    leave(1, f"process {i} {self._words[i]}\n{AGAIN}")
                if self._words[i] != "done" and self._quiet[i] > SILENCE:
                    leave(1, f"process {i} has not been heard of for {SILENCE} s.\n{AGAIN}")
            if self.stop and self._since_signal > GRACE:
                leave(1, f"not all processes came to a stop within {GRACE} s of the signal.\n{AGAIN}")

    def last_word(self, reason: str) -> None:
        """Tell the others why this process ends; the one at which they meet stays until they have heard it."""
        told = threading.Thread(target=lambda: self.say(f"ended: {reason}"), daemon=True)
        told.start()
        told.join(2)
        others = set(range(self.n)) - {self.own}
        for _ in range(30 if self.own == 0 else 0):
            if all(self._words[i].startswith(("ended", "done")) for i in others):
                return
            time.sleep(0.1)


def expect(stop: list) -> None:
    """Let all processes come to a stop within GRACE seconds once a signal is in this list; [] takes that back."""
    if _watch:
        _watch.stop, _watch._since_signal = stop, 0


def leave(code: int, lines: str = "") -> None:
    """End this process with these lines on stderr, and tell the others; they are not waited for, as JAX would."""
    if not _watch:
        print(lines, file=sys.stderr)
        sys.exit(code)
    if not _watch.leaving.acquire(blocking=False):
        time.sleep(60)  # another thread leaves already
    with contextlib.suppress(Exception):
        print(lines, file=sys.stderr, flush=True)
        sys.stdout.flush()
        _watch.last_word(next(iter(lines.splitlines()), ""))
    os._exit(code)


def lose(reason: str) -> None:
    """End this process, a wait of which failed, after a moment in which one of the others may say why it ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends anyway, and says why
    time.sleep(2)
    leave(1, f"the other processes can't be reached: {reason}\n{AGAIN}")


def check_same(what: str, asked: Callable[[], dict[str, str]]) -> None:
    """Raise UserError, on every process, where not all of them are asked for the same; the first differences are named.

    what: a word, each time another one. asked: () -> what a run depends on, by names that a user knows.
    """
    if not _watch:
        return
    place, asked = f"gan_jax/{what}/", asked()
    _watch.client.key_value_set(f"{place}{_watch.own}", json.dumps(asked))
    for i in range(_watch.n):
        try:
            theirs = json.loads(_watch.client.blocking_key_value_get(f"{place}{i}", 1000 * GRACE))
        except (RuntimeError, ValueError):
            raise UserError(f"process {i} does not say what it was started for.\n{AGAIN}") from None
        names = [name for name in {**asked, **theirs} if asked.get(name) != theirs.get(name)]
        if names:
            told = [f"{name} is {asked.get(name)} on process {_watch.own}, {theirs.get(name)} on {i}" for name in names]
            raise UserError(
                f"the processes differ: {'; '.join(told[:3])}.\n"
                "Start all of them with the same flags, code, data and packages."
            )
