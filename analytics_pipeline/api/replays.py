"""Requests that were sent before under the same ``Idempotency-Key``: their answer is given again for a day.

As the draft of the IETF (draft-ietf-httpapi-idempotency-key-header) and Stripe have it: a repeated request gets the
first one's answer, one that comes while that is under way 409, and another request under the same key 422.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row

MAX_KEY_CHARACTERS = 255

# The requests with a key that this process is answering.
_ANSWERED_HERE: set[str] = set()
_GUARD = threading.Lock()


@dataclass(frozen=True, slots=True)
class Replayable:
    """A request that may be sent again: who sent it, under which key, and what it holds."""

    caller: str
    key: str
    sha256: bytes

    @classmethod
    def of(cls, caller: str, key: str, body: bytes) -> "Replayable":
        """Return it. Raises ``ApiError`` for a key that is empty or too long."""
        if not 0 < len(key) <= MAX_KEY_CHARACTERS or not key.isprintable():
            raise ApiError(400, f"Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} characters that can be printed.")
        return cls(caller, key, hashlib.sha256(body).digest())

    def answer_once(self, connection: Connection, make: Callable[[], bytes]) -> tuple[bytes, bool]:
        """Return what the request was answered before, and True; else what ``make`` returns, kept for a day, and False.

        The connection is in no transaction. Raises ``ApiError`` 409 while the request is being answered, and 422 where
        the key was used for another one.
        """
        with self._turn(connection):
            earlier = self._earlier_answer(connection)
            if earlier is not None:
                return earlier, True
            answer = make()
            self._keep(connection, answer)
            return answer, False

    @contextmanager
    def _turn(self, connection: Connection) -> Iterator[None]:
        """Let one request of the key in at a time; the lock goes with the session, should the process die.

        The embedded server grants it to everybody. Where several connections lead to one, which ANALYTICS_DATABASE_URL
        then names, only what this process answers is told apart.
        """
        name = f"analytics_api_replays {self.caller}: {self.key}"
        with _entered(name):
            if not fetch_row(connection, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name])[0]:
                raise _under_way()
            try:
                yield
            finally:
                if not connection.closed:
                    connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])

    def _earlier_answer(self, connection: Connection) -> bytes | None:
        parameters = {"caller": self.caller, "key": self.key}
        row = connection.execute(load_query("api_replay"), parameters).fetchone()
        if row is None:
            return None
        if bytes(row[0]) != self.sha256:
            raise ApiError(422, "This Idempotency-Key was used for another request: choose a new one.")
        return bytes(row[1])

    def _keep(self, connection: Connection, answer: bytes) -> None:
        parameters = {"caller": self.caller, "key": self.key, "sha256": self.sha256, "answer": answer}
        connection.execute(load_query("api_replay_keep"), parameters)


@contextmanager
def _entered(name: str) -> Iterator[None]:
    with _GUARD:
        if name in _ANSWERED_HERE:
            raise _under_way()
        _ANSWERED_HERE.add(name)
    try:
        yield
    finally:
        with _GUARD:
            _ANSWERED_HERE.discard(name)


def _under_way() -> ApiError:
    return ApiError(
        409,
        "A request with this Idempotency-Key is being answered: send it again for the same answer.",
        headers={"Retry-After": "1"},
    )
