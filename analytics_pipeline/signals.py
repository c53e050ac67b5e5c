"""SIGINT and SIGTERM end a command within seconds, with the exit status 130 or 143 that shells give them.

The signal raises ``Interrupted`` in the main thread, wherever that is: a statement on a server is cancelled, open
transactions are rolled back, and what has to be said of the work at hand is said in one line. What can't be
interrupted (a statement on the embedded database, a call into a library) is not waited for longer than
``LONGEST_SECONDS``, and not at all after a second signal: the process ends then, and servers roll back what it had
open.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)
# From the first signal until the process has ended, whatever it is doing.
LONGEST_SECONDS = 9.0
_SHELL_OFFSET = 128

_received: signal.Signals | None = None
_descriptions: list[Callable[[], str]] = []
_last_actions: list[Callable[[], None]] = []
_has_spoken = False


class Interrupted(SystemExit):
    """A signal asks this process to end.

    It is a ``SystemExit``, so that psycopg cancels the statement that it interrupts, and nothing takes it for an error.
    """

    def __init__(self, number: int) -> None:
        """Take the signal's number; the exit status is that of a process which died of it."""
        super().__init__(_SHELL_OFFSET + number)


def install() -> None:
    """Let SIGINT and SIGTERM end this process as described above; once, in the main thread of a command."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Written by the signal itself: the main thread may be inside a library and run no handler.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_watch, args=[reader], name="signals", daemon=True).start()
    sys.unraisablehook = _report_unraisable
    for number in ENDING:
        signal.signal(number, _interrupt)


def received() -> signal.Signals | None:
    """Return the signal that ends this process, None while there was none."""
    return _received


def end_if_interrupted() -> None:
    """End the process now if a signal asked for it; the last thing that a command does."""
    if _received is not None:
        _end(_received)


@contextmanager
def describing(describe: Callable[[], str]) -> Iterator[None]:
    """Have what a signal within the block interrupts described by a sentence, which is made when it is needed."""
    _descriptions.append(describe)
    try:
        yield
    finally:
        if _received is not None:
            _speak(_received)
        _descriptions.remove(describe)


@contextmanager
def leaving_nothing(action: Callable[[], None]) -> Iterator[None]:
    """Have ``action`` done, too, where the process ends within the block without waiting; it must be quick."""
    _last_actions.append(action)
    try:
        yield
    finally:
        _last_actions.remove(action)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the block is over, for what must not be torn apart; main thread only.

    Whoever handles them, handles them then. A command still ends when its time is up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {number: signal.signal(number, lambda caught, _: held.append(caught)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if held:
            handler = before[signal.Signals(held[0])]
            # Called, not sent again: that would count as a second signal.
            if callable(handler):
                handler(held[0], None)
            else:
                signal.raise_signal(held[0])


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    global _received  # noqa: PLW0603  # a process has one state of this kind
    _received = signal.Signals(number)
    raise Interrupted(number)


def _report_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Show what nobody can handle, but not what the interruption itself leads to.

    Dagster's generators answer it with another event when they are closed, for which Python prints a traceback.
    """
    if _received is None:
        sys.__unraisablehook__(unraisable)


def _watch(reader: int) -> None:
    """Wait for a signal, and end the process at the next one or when its time is up."""
    global _received  # noqa: PLW0603
    number = _read(reader, None)
    _received = number
    _read(reader, LONGEST_SECONDS)
    if number is not None:
        _end(number)


def _read(reader: int, seconds: float | None) -> signal.Signals | None:
    """Return the next signal that ends a process, None after so many seconds."""
    ends_at = None if seconds is None else time.monotonic() + seconds
    while True:
        left = None if ends_at is None else max(0.0, ends_at - time.monotonic())
        if not select.select([reader], [], [], left)[0]:
            return None
        # Whatever signal has a handler arrives here.
        if (number := os.read(reader, 1)[0]) in ENDING:
            return signal.Signals(number)


def _end(number: signal.Signals) -> NoReturn:
    for action in _last_actions:
        action()
    _speak(number)
    with suppress(OSError, ValueError, RuntimeError):
        sys.stdout.flush()
    # Without waiting for threads: one may be inside a statement that can't be cancelled.
    os._exit(_SHELL_OFFSET + number)


def _speak(number: signal.Signals) -> None:
    """Say once what is interrupted: not through a stream that another thread may hold."""
    global _has_spoken  # noqa: PLW0603
    if not _has_spoken:
        _has_spoken = True
        what = _descriptions[-1]() if _descriptions else "ended before the work was complete."
        with suppress(OSError):
            os.write(2, f"{number.name}: {what}\n".encode())


def _forget() -> None:
    """Leave a forked process, which is no command, to the signals' usual effect."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
