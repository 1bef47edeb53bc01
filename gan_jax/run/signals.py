"""Ctrl-C, SIGTERM and the end of a terminal, heard within seconds whatever goes on."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any

import jax

from gan_jax.run import processes

GRACE = 2  # seconds that work goes on after a signal before it is left undone


@contextlib.contextmanager
def caught() -> Iterator[list]:
    """Give a list that holds the signal once Ctrl-C, SIGTERM or SIGHUP came.

    A second Ctrl-C raises KeyboardInterrupt.
    """
    numbers = []

    def handler(number, _):
        numbers.append(number)
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)  # which a job in the background may not have had
            print("stopping after this stretch of steps; once more stops at once", file=sys.stderr)

    try:
        before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    except ValueError:  # not the main thread: signals are somebody else's
        before = {}
    processes.expect(numbers)
    try:
        yield numbers
    finally:
        processes.expect([])
        for number, usual in before.items():
            signal.signal(number, usual)


def unless_stopped(stop: list, work: Callable, *args: Any) -> Any:
    """Return work(*args), or None where a signal in the list `stop` keeps it from being done.

    The work goes on in another thread so that this one hears signals. Waits GRACE seconds after a signal, not at all
    after an earlier one, then abandons the thread; its result is dropped. Of several processes none abandons work that
    the others wait for. JAX's context managers (`with jax.debug_nans(True)`) don't reach into another thread: set such
    a thing by `jax.config.update` or in the environment.
    """
    stop = stop if jax.process_count() == 1 else []
    if stop:
        return None
    done = Future()

    def run():
        try:
            done.set_result(work(*args))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while not stop and not wait([done], 0.1).done:
        pass
    return done.result() if wait([done], GRACE).done else None
