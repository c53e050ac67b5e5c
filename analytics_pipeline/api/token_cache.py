"""Authentication of requests: a token is looked up in the database at most every few seconds."""

import asyncio
import logging
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

from psycopg import Error
from psycopg_pool import PoolTimeout

from analytics_pipeline.api.auth import Caller, NotAuthenticatedError
from analytics_pipeline.api.jwts import JwtVerifier
from analytics_pipeline.api.pools import Readers
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.tokens import PREFIX, hash_token
from analytics_pipeline.timescale.connection import Connection

_log = logging.getLogger(__name__)

# A token that was revoked, or has expired, works for at most so long.
MAX_AGE_SECONDS = 4.0
_NOTE_USES_EVERY = 60.0
_MAX_KNOWN = 10_000
# Longer ones are none of ours, and no JWT either.
_MAX_CHARACTERS = 8_192


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller | None
    until: float


class Tokens:
    """Who the bearers of tokens are."""

    def __init__(self, readers: Readers, jwts: JwtVerifier) -> None:
        """Take the pool to look tokens up with, and what verifies those of an identity provider."""
        self._readers = readers
        self._jwts = jwts
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._used: set[str] = set()

    async def authenticate(self, token: str | None) -> Caller:
        """Return whose a token is. Raises ``NotAuthenticatedError`` for one that is not valid, and without one."""
        if not token or len(token) > _MAX_CHARACTERS or not token.isascii():
            raise NotAuthenticatedError
        known = self._known.get(token)
        if known is None or known.until < time.monotonic():
            # From before the look-up on, so that a revocation meanwhile does not count from its end.
            until = time.monotonic() + MAX_AGE_SECONDS
            caller = await (self._find(token) if token.startswith(PREFIX) else self._jwts.verify(token))
            known = self._known[token] = _Known(caller, until)
            self._known.move_to_end(token)
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        if known.caller is None:
            raise NotAuthenticatedError
        return known.caller

    def is_known(self, token: str) -> bool:
        """Return whether a token was found to be valid within the last seconds."""
        known = self._known.get(token)
        return known is not None and known.caller is not None and known.until >= time.monotonic()

    async def note_uses(self) -> None:
        """Write down once a minute which tokens were used; runs until it is cancelled."""
        while True:
            await asyncio.sleep(_NOTE_USES_EVERY)
            # The next use writes it again.
            with suppress(Error, PoolTimeout):
                await self.flush_uses()

    async def flush_uses(self) -> None:
        """Write down which tokens were used since the last time."""
        used, self._used = sorted(self._used), set()
        if used:
            query = "SELECT analytics_note_token_uses(%s)"
            await self._readers.run("", lambda connection: connection.execute(query, [used]), read_only=False)

    async def _find(self, token: str) -> Caller | None:
        def read(connection: Connection) -> Caller | None:
            query = "SELECT token_id, company_id, scopes FROM analytics_find_token(%s)"
            row = connection.execute(query, [hash_token(token)]).fetchone()
            if row is None:
                return None
            token_id, company_id, scopes = row
            return Caller(token_id, company_id, frozenset(map(Scope, scopes)))

        # Bound to no company: nobody is known yet.
        found = await self._readers.run("", read)
        if found is not None:
            self._used.add(found.name)
        return found
