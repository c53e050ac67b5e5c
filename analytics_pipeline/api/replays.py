"""Requests that were sent before under the same ``Idempotency-Key``: their answer is given again for a day."""

import hashlib
from dataclasses import dataclass

from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

MAX_KEY_CHARACTERS = 255


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

    def earlier_answer(self, connection: Connection) -> bytes | None:
        """Return the answer that the request got before, None: it is new.

        Raises ``ApiError`` 422 where the key was used for another one.
        """
        parameters = {"caller": self.caller, "key": self.key}
        row = connection.execute(load_query("api_replay"), parameters).fetchone()
        if row is None:
            return None
        if bytes(row[0]) != self.sha256:
            raise ApiError(422, "This Idempotency-Key was used for another request: choose a new one.")
        return bytes(row[1])

    def keep(self, connection: Connection, answer: bytes) -> None:
        """Keep an answer for a day, and forget those that are older."""
        parameters = {"caller": self.caller, "key": self.key, "sha256": self.sha256, "answer": answer}
        connection.execute(load_query("api_replay_keep"), parameters)
