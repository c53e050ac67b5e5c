"""Lines in the log of a run that reads for minutes, a few seconds apart."""

import time
from collections.abc import Callable
from typing import TypeVar

_SECONDS_BETWEEN_LINES = 10.0

_T = TypeVar("_T")


def now_and_then(log: Callable[[str], object], describe: Callable[[_T], str]) -> Callable[[_T], None]:
    """Return what may be called as often as there is progress: it logs what ``describe`` says of it now and then."""
    logged = time.monotonic()

    def on_progress(progress: _T) -> None:
        nonlocal logged
        if time.monotonic() - logged >= _SECONDS_BETWEEN_LINES:
            logged = time.monotonic()
            log(describe(progress))

    return on_progress
