"""Waiting for the database: said after ten seconds with whom it is for, and ended after a time that is a setting.

Every statement of a ``WatchedConnection`` is covered, whatever makes it wait: rows, tables, advisory locks of ours,
TimescaleDB's own locks, or the one session of the embedded database. The server ends a wait for a lock itself
(``lock_timeout``); whom it is for, a second connection asks while the first one waits.
"""

import json
import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import class_row
from psycopg.waiting import Ready, Wait

from analytics_pipeline.errors import AnalyticsError, first_line
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.text import printable_line

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

# Seconds: a wait is said after the first, looked at as often as the second, and said again, if it is for the same
# session, after the third.
SAY_AFTER = 10.0
LOOK_EVERY = 5.0
SAY_AGAIN_AFTER = 60.0
# A change that takes strong locks waits so long at a time, because readers queue behind it, and pauses between.
BRIEF_TIMEOUT = 2.0
BRIEF_PAUSE = 5.0
# The embedded server names the file in which it says what it is doing.
STATE_FILE = b"analytics_state_file"
# Sessions that a wait of this process has ended for, by process and start of their transaction. The next statement
# that meets one waits for seconds: the steps of one run would wait for the full time one after the other.
_waited_out: set[tuple[int, datetime | None]] = set()
_MAX_STATEMENT = 200
_MAX_NAMED = 3


class LockTimeoutError(AnalyticsError):
    """What a statement waited for was not free within the time allowed; ``wait`` is None if it could not be seen."""

    def __init__(self, seconds: float, wait: "LockWait | None") -> None:
        """Say how long was waited, for whom, and the remedy."""
        self.wait = wait
        what = wait or "a lock, and could not see who held it"
        remedy = wait.remedy if wait else "find out who holds it (pg_stat_activity)"
        super().__init__(
            f"Waited {seconds:.0f} s for {what}. What waited was not done. Wait until that session is done, or "
            f"{remedy}, and repeat; ANALYTICS_LOCK_TIMEOUT sets how long is waited."
        )


class _UnknownError(Exception):
    """Whom a statement waits for can't be said, and why."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A session that others wait for; None: not known, or not to this role.

    Process 0 is a prepared transaction; ``name`` is for what is no process of the server.
    """

    pid: int
    role: str | None
    application: str | None
    client: str | None
    since: datetime | None
    in_transaction: bool
    idle: bool | None
    state_since: datetime | None
    statement: str | None
    name: str | None = None

    def __str__(self) -> str:
        """Describe it: who it is, since when it works, and on what."""
        if self.pid == 0 and self.name is None:
            return "a prepared transaction (SELECT * FROM pg_prepared_xacts)"
        who = [
            f"user {self.role}" if self.role else "",
            f"application {self.application}" if self.application else "",
            f"from {self.client}" if self.client else "",
        ]
        text = self.name or f"process {self.pid}"
        if named := ", ".join(filter(None, who)):
            text += f" ({named})"
        if self.since is not None:
            text += f", {'in a transaction' if self.in_transaction else 'connected'} since {self.since:%F %T} UTC"
        if self.idle and self.state_since is not None:
            text += f", idle since {self.state_since:%T}"
        if self.statement:
            text += f", {'last statement' if self.idle else 'statement'}: {_shortened(self.statement)}"
        return text


@dataclass(frozen=True, slots=True)
class LockWait:
    """What a statement waits for, and for whom."""

    what: str
    holders: tuple[Holder, ...]
    remedy: str

    @property
    def is_waited_out(self) -> bool:
        """Whether a wait for one of these sessions has taken too long before."""
        return any((holder.pid, holder.since) in _waited_out for holder in self.holders)

    def __str__(self) -> str:
        """Describe it in a clause."""
        named = "; ".join(map(str, self.holders[:_MAX_NAMED])) or "a session that is just ending"
        more = f"; and {len(self.holders) - _MAX_NAMED} more" if len(self.holders) > _MAX_NAMED else ""
        return f"{self.what}, held by {named}{more}"


class WatchedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose statements say what they wait for, once ``watch_waits`` was called on it."""

    lock_timeout: float = 0
    _is_brief: bool = False
    _on_wait: Callable[[str], None] | None = None
    _url: str
    _last_said: tuple[float, tuple[int, ...]] | None = None

    def watch_waits(self, url: str, lock_timeout: float, on_wait: Callable[[str], None] | None = None) -> None:
        """Say the waits of this connection from now on and end each after so many seconds; autocommit or at once.

        They are logged as warnings, and given to ``on_wait`` as well. ``url`` is that of the connection itself. A
        wait that ends so raises ``LockTimeoutError``.
        """
        self._url = url
        self._on_wait = on_wait or (lambda _: None)
        self._limit(lock_timeout)

    @contextmanager
    def brief_waits(self, seconds: float) -> Iterator[None]:
        """End waits for locks after so many seconds within the block, or after the usual time if that is shorter."""
        usual = self.lock_timeout
        self._limit(min(seconds, usual))
        self._is_brief = True
        try:
            yield
        finally:
            self._is_brief = False
            if not self.closed:
                self._limit(usual)

    def say_news(self, line: str, about: LockWait | None) -> None:
        """Log a line about a wait as a warning, and give it to ``on_wait``; a wait for the same once a minute."""
        now = time.monotonic()
        pids = tuple(holder.pid for holder in about.holders) if about else ()
        if self._last_said is not None and self._last_said[1] == pids and now - self._last_said[0] < SAY_AGAIN_AFTER:
            return
        self._last_said = (now, pids)
        line = printable_line(line)
        _log.warning(line)
        if self._on_wait is not None:
            self._on_wait(line)

    def wait(self, gen: PQGen[Result], *args: Any, **kwargs: Any) -> Result:
        """Run one exchange with the server; every statement comes through here."""
        return super().wait(gen if self._on_wait is None else self._watched(gen), *args, **kwargs)

    @property
    def is_embedded(self) -> bool:
        """Whether the server is the embedded one, whose clients take turns."""
        return self._state_file is not None

    @property
    def _state_file(self) -> Path | None:
        named = self.pgconn.parameter_status(STATE_FILE)
        return None if named is None else Path(named.decode())

    def _limit(self, seconds: float) -> None:
        self.lock_timeout = seconds
        # The embedded server has no time-outs: the wait for its one session is ended here.
        if not self.is_embedded:
            self.execute("SELECT set_config('lock_timeout', %s, false)", [f"{round(seconds * 1000)}ms"])

    def _watched(self, gen: PQGen[Result]) -> Generator[Wait, Ready | int, Result]:
        started = time.monotonic()
        # A time-out that is shorter needs a look before it, for the error's sake.
        next_look = started + min(SAY_AFTER, 0.7 * self.lock_timeout)
        seen: LockWait | None = None
        has_cancelled = False
        try:
            state = next(gen)
            while True:
                ready = yield state
                waited = time.monotonic() - started
                if ready == Ready.NONE and started + waited >= next_look:
                    seen = self._look(waited)
                    next_look = started + SAY_AFTER if waited < SAY_AFTER else time.monotonic() + LOOK_EVERY
                    if waited < self.lock_timeout:
                        next_look = min(next_look, started + self.lock_timeout)
                    if seen is not None and self._is_over(seen, waited):
                        has_cancelled = True
                        # One that can't be sent now is sent at the next look.
                        with suppress(psycopg.Error):
                            self.cancel_safe(timeout=5)
                state = gen.send(ready)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]
        except psycopg.errors.QueryCanceled as error:
            if not has_cancelled:
                raise
            raise self._waited_out(time.monotonic() - started, seen) from error
        except psycopg.errors.LockNotAvailable as error:
            # TimescaleDB and NOWAIT raise it too, at once: those are not waits that have ended.
            if error.diag.source_function != "ProcessInterrupts":
                raise
            raise self._waited_out(self.lock_timeout, seen) from error

    def _is_over(self, seen: LockWait, waited: float) -> bool:
        """Return whether to cancel a wait from here, because the server itself does not end it in time."""
        return (self.is_embedded and waited >= self.lock_timeout) or (waited >= SAY_AFTER and seen.is_waited_out)

    def _waited_out(self, seconds: float, wait: LockWait | None) -> LockTimeoutError:
        """Return the error of a wait that has ended, and remember for whom it was."""
        if wait is not None and not self._is_brief:
            _waited_out.update((holder.pid, holder.since) for holder in wait.holders)
        return LockTimeoutError(seconds, wait)

    def _look(self, waited: float) -> LockWait | None:
        """Find out whom the statement waits for, and say it if it is time."""
        try:
            found = self._wait_in_turn() if self.is_embedded else self._wait_for_lock()
        except _UnknownError as error:
            if waited >= SAY_AFTER:
                self.say_news(
                    f"A statement takes more than {waited:.0f} s, and can't see whom it waits for: {error}.", None
                )
            return None
        if found is not None and waited >= SAY_AFTER:
            self.say_news(
                f"Has waited {waited:.0f} s for {found}. It goes on by itself when that ends, and stops with an error "
                f"after {self.lock_timeout:.0f} s.",
                found,
            )
        return found

    def _wait_for_lock(self) -> LockWait | None:
        parameters = {"pid": self.info.backend_pid}
        try:
            with psycopg.connect(self._url, autocommit=True, connect_timeout=5, prepare_threshold=None) as second:
                second.execute("SET TIME ZONE 'UTC'")
                lock = second.execute(load_query("lock_wait"), parameters).fetchone()
                with second.cursor(row_factory=class_row(Holder)) as cursor:
                    holders = tuple(cursor.execute(load_query("lock_holders"), parameters))
        except psycopg.Error as error:
            raise _UnknownError(first_line(error)) from error
        if lock is None:
            return None
        remedy = " ".join(f"SELECT pg_terminate_backend({holder.pid});" for holder in holders if holder.pid)
        return LockWait(_lock_words(*lock[:2]), holders, f"end it ({remedy})" if remedy else "end it")

    def _wait_in_turn(self) -> LockWait | None:
        """Return who has the embedded database's one session, None if it is this connection, or nobody."""
        assert self._state_file is not None  # noqa: S101
        try:
            holder = json.loads(self._state_file.read_text()).get("holder")
        except (OSError, ValueError) as error:
            raise _UnknownError(f"{self._state_file} can't be read") from error
        if holder is None or holder["pid"] == self.info.backend_pid:
            return None
        since, idle_since = (
            datetime.fromisoformat(holder[name]) if holder[name] else None for name in ("since", "idle_since")
        )
        session = Holder(
            pid=holder["pid"],
            role=None,
            application=holder["application"] or None,
            client=None,
            since=since,
            in_transaction=True,
            idle=idle_since is not None,
            state_since=idle_since,
            statement=holder["statement"] or None,
            name=f"client {holder['pid']}" if holder["pid"] else "the server itself",
        )
        remedy = "end that client" if holder["pid"] else "look into the server's log"
        return LockWait("the one session of the embedded database", (session,), remedy)


def change_briefly(connection: WatchedConnection, change: Callable[[], Result]) -> Result:
    """Run a change that takes strong locks, in its transactions, so that others wait for seconds at most, and return.

    It waits for a moment only, because whoever comes later waits behind it, even if all they want is to read; then it
    pauses, says whom it waits for, and begins again, until the connection's time-out has passed. The change must
    leave nothing behind when it fails. Raises ``LockTimeoutError``.
    """
    started = time.monotonic()
    while True:
        try:
            with connection.brief_waits(BRIEF_TIMEOUT):
                return change()
        except LockTimeoutError as error:
            waited = time.monotonic() - started
            if waited + BRIEF_PAUSE > connection.lock_timeout:
                raise LockTimeoutError(waited, error.wait) from error
            connection.say_news(
                f"A change of the schema waits for {error.wait or 'a lock'}. Others don't wait behind it: it is tried "
                f"for {BRIEF_TIMEOUT:.0f} s at a time, with pauses of {BRIEF_PAUSE:.0f} s, and stops with an error "
                f"after {connection.lock_timeout:.0f} s.",
                error.wait,
            )
            time.sleep(BRIEF_PAUSE)


def _lock_words(kind: str, relation: str | None) -> str:
    if relation is not None:
        return f"a lock on {relation}"
    if kind == "advisory":
        return "its turn (an advisory lock)"
    if kind in {"transactionid", "tuple"}:
        return "a row that another transaction has changed"
    return f"a lock ({kind})"


def _shortened(statement: str) -> str:
    line = " ".join(statement.split())
    return line if len(line) <= _MAX_STATEMENT else f"{line[:_MAX_STATEMENT]}..."
