"""Conditional requests: an ETag for each answer, and 304 while the data is the same.

An ETag is made of what was asked and the version of the data. What was given to a caller is remembered, so that asking
again costs no parsing of the request and, for a second, no statement.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from analytics_pipeline.api.limits import RateLimit
from analytics_pipeline.api.token_cache import Tokens
from analytics_pipeline.api.versions import Versions

_MAX_GIVEN = 20_000
CACHING = "private, no-cache"

_Address = tuple[bytes, bytes, bytes]


def etag_of(version: str, *asked: object) -> str:
    """Return the ETag, a weak one as answers are packed on the way, of what was asked at a version of the data."""
    text = "\0".join((version, *map(str, asked)))
    return f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def matches(etag: str, if_none_match: str | None) -> bool:
    """Return whether a header If-None-Match names the ETag."""
    if if_none_match is None:
        return False
    strong = etag.removeprefix("W/")
    return any(tag.strip().removeprefix("W/") == strong for tag in if_none_match.split(","))


@dataclass(frozen=True, slots=True)
class _Given:
    etag: str
    version: str
    token: str
    caller: str


class GivenAnswers:
    """The ETags that callers were given, by what exactly they sent; the oldest are forgotten."""

    def __init__(self) -> None:
        """Begin with none."""
        self._given: OrderedDict[_Address, _Given] = OrderedDict()

    def note(self, scope: Scope, etag: str, version: str, token: str, caller: str) -> None:
        """Remember that an answer with an ETag was given to the request."""
        authorization, _ = _headers(scope)
        self._given[scope["raw_path"], scope["query_string"], authorization] = _Given(etag, version, token, caller)
        if len(self._given) > _MAX_GIVEN:
            self._given.popitem(last=False)

    def given_to(self, scope: Scope, authorization: bytes) -> _Given | None:
        """Return what was given to the same request before."""
        return self._given.get((scope["raw_path"], scope["query_string"], authorization))


class Conditional:
    """Answers 304 for what the caller has already, before the request is taken apart."""

    def __init__(self, app: ASGIApp, given: GivenAnswers, tokens: Tokens, versions: Versions, rate: RateLimit) -> None:
        """Take the application behind it, which notes what it gives in ``given``."""
        self._app = app
        self._given = given
        self._tokens = tokens
        self._versions = versions
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or leave it to the application."""
        if scope["type"] == "http" and scope["method"] == "GET":
            authorization, asked = _headers(scope)
            given = self._given.given_to(scope, authorization) if asked else None
            if (
                given is not None
                and matches(given.etag, asked.decode("latin-1"))
                and given.version == self._versions.fresh
                and self._tokens.is_known(given.token)
                and not self._rate.seconds_to_wait(given.caller)
            ):
                headers = [(b"etag", given.etag.encode()), (b"cache-control", CACHING.encode())]
                await send({"type": "http.response.start", "status": 304, "headers": headers})
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)


def _headers(scope: Scope) -> tuple[bytes, bytes]:
    """Return Authorization and If-None-Match of a request, each empty where there is none, the first of several."""
    authorization = if_none_match = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = authorization or value
        elif name == b"if-none-match":
            if_none_match = if_none_match or value
    return authorization, if_none_match
