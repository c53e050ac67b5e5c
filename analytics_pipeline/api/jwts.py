"""Tokens of an identity provider: JWTs, signed by its keys, for this audience, that name the company.

Only algorithms with a public key are taken: with others whoever knows the key could sign, and with ``none`` anybody.
"""

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt

from analytics_pipeline.api.auth import Caller
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.settings import Settings

_log = logging.getLogger(__name__)

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
# Clocks may differ by so much.
_LEEWAY_SECONDS = 10
# A key that isn't known is looked for again no more often than this, and known keys no less often than that.
_RETRY_SECONDS = 30.0
_REFRESH_SECONDS = 3600.0
_FETCH_TIMEOUT = 5.0
_MAX_KEYS_BYTES = 1_000_000
_READ = frozenset({Scope.FIGURES, Scope.REPORTS})


class JwtVerifier:
    """Verifies JWTs by the settings ``ANALYTICS_API_JWT_...``."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; keys are fetched when the first token comes."""
        self._settings = settings
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def verify(self, token: str) -> Caller | None:
        """Return whose a token is, None for one that is not valid, or names neither a company nor operators."""
        if not self._settings.api_jwt_keys:
            return None
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header.get("kid"))
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self._settings.api_jwt_audience,
                issuer=self._settings.api_jwt_issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller | None:
        company = claims.get(self._settings.api_jwt_company_claim)
        name = f"jwt:{claims['sub']}"
        if not _can_be_stored(name) or (isinstance(company, str) and not _can_be_stored(company)):
            return None
        named = str(claims.get("scope", "")).split()
        # Scopes of a JWT are separated by blanks, so that a name can't hold one.
        scopes = frozenset(scope for scope in Scope if scope.replace(" ", "_") in named) or _READ
        if isinstance(company, str) and company.strip():
            return Caller(name, company, scopes)
        # A company that is there and no name must not make an operator of anybody.
        return Caller(name, None, scopes) if company is None and self._is_operator(claims) else None

    def _is_operator(self, claims: Mapping[str, Any]) -> bool:
        claim, _, wanted = self._settings.api_jwt_operator.partition("=")
        found = claims.get(claim)
        return bool(wanted) and (wanted in found if isinstance(found, list) else wanted == found)

    async def _key(self, key_id: str | None) -> jwt.PyJWK | None:
        async with self._fetching:
            age = time.monotonic() - self._fetched_at
            if age > (_RETRY_SECONDS if key_id not in self._keys else _REFRESH_SECONDS):
                self._fetched_at = time.monotonic()
                try:
                    text = await asyncio.to_thread(_read_keys, self._settings.api_jwt_keys)
                    self._keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(json.loads(text)).keys}
                except (OSError, ValueError, AttributeError, jwt.PyJWTError) as error:
                    # Those that are known go on.
                    _log.warning("The keys of ANALYTICS_API_JWT_KEYS can't be read: %s", error)
            return self._keys.get(key_id)


def _can_be_stored(text: str) -> bool:
    """Return whether a database takes a text: no NUL, and no half of a surrogate pair, which JSON may hold."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _read_keys(where: str) -> bytes:
    if not where.startswith(("https://", "http://")):
        return Path(where).expanduser().read_bytes()
    with urllib.request.urlopen(where, timeout=_FETCH_TIMEOUT) as answer:  # noqa: S310  # the schemes are checked
        return bytes(answer.read(_MAX_KEYS_BYTES))
