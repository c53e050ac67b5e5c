"""What holds for every request: an id, a line in the log, a measurement, and a limit of its size."""

import json
import logging
import re
import secrets
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analytics_pipeline.api.measurements import Measurements
from analytics_pipeline.api.problems import ApiError, problem

_log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_NOT_MODIFIED = 304
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
# Browsers are not to guess what an answer is, and not to tell others where they come from.
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


class Observing:
    """Goes around the whole application."""

    def __init__(self, app: ASGIApp, measurements: Measurements, max_body: int) -> None:
        """Take the application, and how many bytes a request's body may have."""
        self._app = app
        self._measurements = measurements
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, and note how it did."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # What a browser keeps has them already.
                ours = () if status == _NOT_MODIFIED else _HEADERS
                message["headers"] = [*message["headers"], *ours, (b"x-request-id", request_id.encode())]
            await send(message)

        received = 0

        async def receiving() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                raise _too_large(self._max_body)
            return message

        try:
            if _declared_size(scope) > self._max_body:
                error = _too_large(self._max_body)
                await problem(error.status, error.detail, request_id=request_id)(scope, receive, sending)
            else:
                await self._app(scope, receiving, sending)
        finally:
            self._note(scope, request_id, status, time.perf_counter() - started)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # What is answered before it is routed, is answered by its ETag.
        route = getattr(scope.get("route"), "path", "conditional" if status == _NOT_MODIFIED else "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._measurements.note_request(route, method, status, seconds)
        if _log.isEnabledFor(logging.INFO):
            fields = {
                "requestId": request_id,
                "method": method,
                # Without the query: it may name a company.
                "path": scope["path"],
                "status": status,
                "milliseconds": round(seconds * 1000, 1),
                "caller": scope["state"].get("caller"),
            }
            _log.info("%(method)s %(path)r %(status)s in %(milliseconds)s ms, %(caller)s, %(requestId)s", fields)


class TextFormatter(logging.Formatter):
    """Writes a record as a line of text; the time of a second is written out once, for all its requests."""

    def __init__(self) -> None:
        """Begin before any second."""
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._second, self._text = -1, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        """Return the local time, with milliseconds as ``logging`` writes them."""
        second = int(record.created)
        if second != self._second:
            self._second, self._text = second, time.strftime(self.default_time_format, time.localtime(second))
        return f"{self._text},{int(record.msecs):03}"


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON, the fields of a request apart."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(record.args, dict):
            line |= record.args
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _id_of(scope: Scope) -> str:
    """Return the id that the caller, or a proxy before it, has given the request; else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return secrets.token_hex(8)


def _declared_size(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"The body has more than {limit:,} bytes: send it in parts.")
