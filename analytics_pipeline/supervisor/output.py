"""What programs print: all of it in a bounded log file, warnings and errors on the console, in one line each."""

import logging
import logging.handlers
import re
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from analytics_pipeline.cli.terminal import echo
from analytics_pipeline.text import printable_line

_LOG_BYTES = 5_000_000
_LOG_FILES = 3
_MAX_SHOWN_CHARACTERS = 300
# The same words again are not shown for so long.
_QUIET_SECONDS = 600.0
_MAX_REMEMBERED = 500
_KEPT_LINES = 20
_LAST_LINE_SECONDS = 1.0

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_RECORD = re.compile(r"\d{4}-\d\d-\d\d \S+(?: [+-]\d{4})? - (?P<logger>[\w.-]+) - (?P<level>[A-Z]+) - (?P<message>.*)")
# Job, run, process, step of a run's event; the process says nothing to people.
_EVENT = re.compile(r"(?P<job>\w+) - (?P<run>[0-9a-f-]{36}) - (?:\d+ - )?(?P<message>.*)")
# The first failure of a run says why; Dagster adds one for each other step, and one for the run.
_FAILURE = re.compile(r"(?:\w+ - )?(?:STEP|RUN)_FAILURE\b")
# Dagster warns of what every new storage lacks, and a cancelled run is no error: somebody chose it.
_NEVER_SHOWN = ("No cursor for event type", "RUN_CANCELED")
_SHOWN = {"WARNING", "ERROR", "CRITICAL"}
# The line of a traceback that says what happened: behind an error, the first one.
_CAUSE = re.compile(r"[\w.]+(?:Error|Exception|Failure|Interrupt)\b\w*: (?P<reason>[^<].+)")
_VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")


@dataclass(frozen=True, slots=True)
class Tail:
    """The last lines of a program, as far as they may tell why it ended."""

    reader: threading.Thread
    lines: deque[str]

    def last(self) -> str | None:
        """Return the last line of a program that has ended; its runs may still hold the other end."""
        self.reader.join(_LAST_LINE_SECONDS)
        return self.lines[-1] if self.lines else None


@dataclass(frozen=True, slots=True)
class _Message:
    """A record as it is shown, and what counts as the like of it; the reason may follow in another line."""

    text: str
    key: str
    is_shown: bool


class Output:
    """Takes the lines of several programs."""

    def __init__(self, path: Path) -> None:
        """Open the log file; it and those before it take 20 MB at most."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8", errors="replace"
        )
        self._log = logging.Logger("up")
        self._log.addHandler(handler)
        self._lock = threading.Lock()
        self._shown: dict[str, tuple[float, int]] = {}
        # The runs whose failure was shown.
        self._failed: deque[str] = deque(maxlen=_MAX_REMEMBERED)

    def say(self, text: str) -> None:
        """Tell the user something, and the log file, too."""
        echo(text)
        self._log.info("%s", text)

    def note(self, text: str) -> None:
        """Tell the user what has just happened."""
        self.say(f"{_time()}  {text}")

    def follow(self, name: str, stream: IO[bytes]) -> Tail:
        """Take a program's lines from now on, in a thread; return those of the last that may tell why it ended."""
        lines: deque[str] = deque(maxlen=_KEPT_LINES)
        reader = threading.Thread(
            target=self._follow, args=[name, stream, lines], name=f"output of {name}", daemon=True
        )
        reader.start()
        return Tail(reader, lines)

    def _follow(self, name: str, stream: IO[bytes], last: deque[str]) -> None:
        message: _Message | None = None
        for raw in stream:
            line = printable_line(_COLOURS.sub("", raw.decode("utf-8", "replace")).rstrip())
            if not line:
                continue
            self._log.info("[%s] %s", name, line)
            record = _RECORD.fullmatch(line)
            if record is None or record["level"] in _SHOWN:
                last.append(_shortened(line))
            if record is not None:
                is_news = record["level"] in _SHOWN
                message = self._show(name, record["level"], record["message"]) if is_news else None
            elif message is not None and (cause := _CAUSE.match(line)):
                self._show_cause(message, cause["reason"])
                message = None

    def _show(self, name: str, level: str, message: str) -> _Message | None:
        """Show a record unless the like was shown lately; return it, None where its reason is not to be shown."""
        event = _EVENT.fullmatch(message)
        if (event["message"] if event else message).startswith(_NEVER_SHOWN):
            return None
        if event:
            if level != "WARNING" and event["run"] in self._failed:
                return None
            if _FAILURE.match(event["message"]):
                self._failed.append(event["run"])
            message = f"run {event['run']} of {event['job']}: {event['message']}"
        key = _VARYING.sub("#", message)
        hidden = self._hidden_before(key)
        again = f" ({hidden} more like it before)" if hidden else ""
        text = f"{_time()}  {level.lower()} of the {name}: {_shortened(message)}"
        if hidden is not None:
            echo(f"{text}{again}")
        return _Message(text, key, is_shown=hidden is not None)

    def _show_cause(self, message: _Message, reason: str) -> None:
        """Show why, and the record itself where the like was shown lately, but for another reason."""
        is_new = self._hidden_before(f"{message.key}: {_VARYING.sub('#', reason)}") is not None
        if not message.is_shown:
            if not is_new:
                return
            echo(message.text)
        echo(f"          {_shortened(reason)}")

    def _hidden_before(self, key: str) -> int | None:
        """Return how many of the like were hidden before this one is shown, None if it is to be hidden, too."""
        now = time.monotonic()
        with self._lock:
            until, hidden = self._shown.get(key, (0.0, 0))
            if now < until:
                self._shown[key] = (until, hidden + 1)
                return None
            if len(self._shown) >= _MAX_REMEMBERED:
                self._shown = {kept: state for kept, state in self._shown.items() if now < state[0]}
            self._shown[key] = (now + _QUIET_SECONDS, 0)
        return hidden


def _time() -> str:
    return f"{datetime.now():%H:%M:%S}"  # noqa: DTZ005  # for the person before the screen


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]} ..."
