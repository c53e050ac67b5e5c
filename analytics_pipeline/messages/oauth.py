"""Access tokens for mail servers that take no password: fetched, remembered while they last, renewed.

``ANALYTICS_SMTP_OAUTH`` is a JSON object, or the path of a file that holds one. Its ``type`` says which way:

- ``microsoft``: an application's client credentials; ``tenant``, ``client_id``, ``client_secret``.
- ``authorized_user``: a refresh token, in the form of Google's own files; ``client_id``, ``client_secret``,
  ``refresh_token``.
- ``service_account``: the file that Google gives of a service account; it signs for the mailbox that sends.

No secret is part of an error, a log line or a ``repr``.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.channel import ChannelDown
from analytics_pipeline.messages.loopback import is_loopback
from analytics_pipeline.text import visible_line

_GOOGLE: Final = "https://oauth2.googleapis.com/token"
_GOOGLE_SCOPE: Final = "https://mail.google.com/"
_MICROSOFT_SCOPE: Final = "https://outlook.office365.com/.default"
_SIGNED_SECONDS: Final = 3600
# A token is renewed so long before it ends, so that none ends in the middle of a conversation.
_RESERVE_SECONDS: Final = 300
_TIMEOUT_SECONDS: Final = 15
_ANSWER_BYTES: Final = 100_000
_REASON_CHARACTERS: Final = 300
_OK: Final = 200
# Of the JSON and of forms.
_SECRETS: Final = ("client_secret", "refresh_token", "private_key", "assertion")
_is_token = re.compile(r"[!-~]+").fullmatch


@dataclass(frozen=True, slots=True)
class _Grant:
    """A way to a token: what its JSON has to say, and the form that asks for one."""

    needed: tuple[str, ...]
    form: Callable[[Mapping[str, str], str], dict[str, str]]


def _microsoft(entry: Mapping[str, str], user: str) -> dict[str, str]:  # noqa: ARG001  # the application sends for it
    return {
        "grant_type": "client_credentials",
        "client_id": entry["client_id"],
        "client_secret": entry["client_secret"],
        "scope": entry.get("scope", _MICROSOFT_SCOPE),
    }


def _authorized_user(entry: Mapping[str, str], user: str) -> dict[str, str]:  # noqa: ARG001  # the token is the user's
    return {
        "grant_type": "refresh_token",
        "client_id": entry["client_id"],
        "client_secret": entry["client_secret"],
        "refresh_token": entry["refresh_token"],
    }


def _service_account(entry: Mapping[str, str], user: str) -> dict[str, str]:
    import jwt

    now = int(time.time())
    claims = {
        "iss": entry["client_email"],
        "sub": user,
        "scope": _GOOGLE_SCOPE,
        "aud": _token_url(entry),
        "iat": now,
        "exp": now + _SIGNED_SECONDS,
    }
    headers = {"kid": entry["private_key_id"]} if "private_key_id" in entry else None
    try:
        assertion = jwt.encode(claims, entry["private_key"], "RS256", headers)
    # Whatever the library says of a key, it may show a part of it.
    except Exception:  # noqa: BLE001
        raise _unusable("its private_key is no RSA key in PEM form") from None
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}


_GRANTS: Final = {
    "microsoft": _Grant(("tenant", "client_id", "client_secret"), _microsoft),
    "authorized_user": _Grant(("client_id", "client_secret", "refresh_token"), _authorized_user),
    "service_account": _Grant(("client_email", "private_key"), _service_account),
}


@lru_cache(maxsize=8)
def token_source(oauth: str, user: str) -> "TokenSource":
    """Return the source of a mailbox's tokens, one for a process, so that a token serves many conversations.

    ``oauth`` is the JSON of ANALYTICS_SMTP_OAUTH or the path of a file; ``user`` the mailbox. Raises
    ``AnalyticsError`` for what can't be read.
    """
    return TokenSource(oauth, user)


class TokenSource:
    """Gives the access token of one mailbox."""

    def __init__(self, oauth: str, user: str) -> None:
        """Read the JSON, and ask nobody yet; raises ``AnalyticsError`` for what can't be used."""
        self._oauth = oauth
        self._user = user
        self._lock = threading.Lock()
        self._token = ""
        self._renewed_at = 0.0
        self._is_used = False
        _read(oauth)

    @property
    def url(self) -> str:
        """Where tokens are asked for."""
        return _token_url(_read(self._oauth))

    def token(self) -> str:
        """Return a token that still lasts, fetched if there is none; raises ``ChannelDown`` when none can be had."""
        with self._lock:
            self._is_used = bool(self._token) and time.monotonic() < self._renewed_at
            if not self._is_used:
                self._token = ""
                self._token, seconds = self._fetched()
                self._renewed_at = time.monotonic() + max(seconds - _RESERVE_SECONDS, seconds / 2)
            return self._token

    def forget(self) -> bool:
        """Drop the token that a server refused; return whether it was an older one, so that another may be taken."""
        with self._lock:
            self._renewed_at = 0.0
            return self._is_used

    def without_secrets(self, text: str) -> str:
        """Return a server's words without the token, should it repeat it."""
        return text.replace(self._token, "...") if self._token else text

    def _fetched(self) -> tuple[str, float]:
        try:
            return self._fetch()
        except ChannelDown:
            raise
        # What was usable at the start and no longer is, for instance a file.
        except AnalyticsError as error:
            raise ChannelDown(str(error)) from None

    def _fetch(self) -> tuple[str, float]:
        # Read each time: a file is replaced when a secret is.
        entry = _read(self._oauth)
        url = _token_url(entry)
        form = _GRANTS[entry["type"]].form(entry, self._user)
        status, answer = _post(url, form)
        token = answer.get("access_token")
        if status == _OK and isinstance(token, str) and _is_token(token):
            return token, _seconds(answer.get("expires_in"))
        said = ": ".join(str(answer[part]) for part in ("error", "error_description") if answer.get(part))
        for name in _SECRETS:
            said = said.replace((entry | form).get(name) or "\0", "...")
        raise ChannelDown(
            f"{urlsplit(url).hostname} gives no token for {self._user} ({status}): "
            f"{visible_line(said)[:_REASON_CHARACTERS] or 'it says nothing'}. Check ANALYTICS_SMTP_OAUTH"
        )


class _NoRedirects(HTTPRedirectHandler):
    """Secrets go where they are meant to go."""

    def redirect_request(self, *_: object) -> None:
        return None


def _post(url: str, form: Mapping[str, str]) -> tuple[int, dict[str, object]]:
    """Send a form and return the status and the answer's JSON object, empty if it is none."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    request = Request(url, urlencode(form).encode(), headers)  # noqa: S310  # _token_url has judged it
    try:
        try:
            with build_opener(_NoRedirects).open(request, timeout=_TIMEOUT_SECONDS) as response:
                status, content = response.status, response.read(_ANSWER_BYTES)
        except HTTPError as error:
            with error:
                status, content = error.code, error.read(_ANSWER_BYTES)
    except (OSError, HTTPException) as error:
        raise ChannelDown(f"{urlsplit(url).hostname}, which gives tokens, can't be reached: {error}") from error
    try:
        answer = json.loads(content)
    except ValueError:
        answer = {}
    return status, answer if isinstance(answer, dict) else {}


def _seconds(expires_in: object) -> float:
    try:
        return max(float(str(expires_in)), 0)
    except ValueError:
        return 0


def _read(oauth: str) -> dict[str, str]:
    """Return the JSON object of the setting or of its file, judged; errors show nothing of it."""
    text = oauth.strip()
    if not text.startswith("{"):
        try:
            text = Path(text).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it can't be decoded"
            raise _unusable(f"it is neither a JSON object nor a file that can be read ({reason})") from None
    try:
        found = json.loads(text)
    except ValueError:
        raise _unusable("it is no JSON object") from None
    if not isinstance(found, dict) or found.get("type") not in _GRANTS:
        raise _unusable(f"its type has to be one of {', '.join(_GRANTS)}")
    entry = {name: value for name, value in found.items() if isinstance(value, str) and value}
    for name in _GRANTS[entry["type"]].needed:
        if name not in entry:
            raise _unusable(f"the type {entry['type']} needs {name}")
    _token_url(entry)
    return entry


def _token_url(entry: Mapping[str, str]) -> str:
    url = entry.get("token_uri") or _GOOGLE
    if entry["type"] == "microsoft" and "token_uri" not in entry:
        url = f"https://login.microsoftonline.com/{quote(entry['tenant'], safe='')}/oauth2/v2.0/token"
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        is_usable = is_safe and bool(parts.hostname) and parts.username is None and _is_token(url) is not None
    except ValueError:
        is_usable = False
    if not is_usable:
        raise _unusable("its token_uri has to be an https address")
    return url


def _unusable(reason: str) -> AnalyticsError:
    return AnalyticsError(f"ANALYTICS_SMTP_OAUTH can't be used: {reason}. docs/mail.md shows what it holds.")
