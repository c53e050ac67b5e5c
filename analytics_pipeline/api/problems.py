"""Errors as ``application/problem+json`` (RFC 9457): what was wrong with the request, and nothing of the inside."""

import logging
from collections.abc import Mapping, Sequence

import msgspec
import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError
from analytics_pipeline.timescale.clock import ClockError

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not processable",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
}


class ApiError(Exception):
    """A request that gets no answer: the status, and a sentence for who wrote the request.

    ``errors`` lists what is wrong with single parameters or fields.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """Take the parts of the answer."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = list(errors)


def no_such_company() -> ApiError:
    """Return the error for a company that isn't there, or isn't the caller's: the two look the same."""
    return ApiError(404, "No such company.")


def problem(
    status: int,
    detail: str,
    *,
    request_id: str | None,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] = (),
) -> Response:
    """Return the response for a request that can't be answered."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = list(errors)
    if request_id is not None:
        body["requestId"] = request_id
    return Response(msgspec.json.encode(body), status, headers=headers, media_type=MEDIA_TYPE)


def add_problems(app: FastAPI) -> None:
    """Have every error of the application answered as a problem."""
    app.exception_handler(ApiError)(_api_error)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(DatabaseUnreachableError)(_unavailable)
    # Of this machine or the database: no fault of the request.
    app.exception_handler(ClockError)(_unavailable)
    app.exception_handler(AnalyticsError)(_refused)
    app.exception_handler(psycopg.Error)(_database_error)
    app.exception_handler(PoolTimeout)(_unavailable)
    app.exception_handler(ClientDisconnect)(_hung_up)
    app.exception_handler(Exception)(_defect)


def request_id_of(request: Request) -> str | None:
    """Return the id of a request, as its answer and the log name it."""
    found: str | None = request.scope.get("state", {}).get("request_id")
    return found


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101  # registered for it
    return problem(
        error.status, error.detail, request_id=request_id_of(request), headers=error.headers, errors=error.errors
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers or {})
    if error.status_code == 405:  # noqa: PLR2004
        headers["Allow"] = ", ".join(sorted(_methods_of(request)))
    return problem(
        error.status_code,
        "There is nothing at this address." if error.status_code == 404 else str(error.detail),  # noqa: PLR2004
        request_id=request_id_of(request),
        headers=headers,
    )


def _methods_of(request: Request) -> set[str]:
    """Return the methods of all routes at the address: a router names those of the first one."""
    return {
        method
        for route in request.app.routes
        for method in getattr(route, "methods", None) or ()
        if route.matches(request.scope)[0] is not Match.NONE
    }


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [
        {"name": ".".join(map(str, entry["loc"][1:] or entry["loc"])), "detail": _sentence(entry)}
        for entry in error.errors()
    ]
    detail = "; ".join(f"{entry['name']}: {entry['detail']}" for entry in errors[:3])
    return problem(422, detail, request_id=request_id_of(request), errors=errors)


def _sentence(entry: Mapping[str, object]) -> str:
    if entry["type"] == "extra_forbidden":
        return "there is no such parameter"
    return str(entry["msg"]).removeprefix("Value error, ")


async def _refused(request: Request, error: Exception) -> Response:
    return problem(422, str(error), request_id=request_id_of(request))


async def _unavailable(request: Request, error: Exception) -> Response:
    _log.warning("No answer now: %s", error)
    return problem(
        503, "The database is not available now.", request_id=request_id_of(request), headers={"Retry-After": "5"}
    )


async def _database_error(request: Request, error: Exception) -> Response:
    if isinstance(error, psycopg.errors.QueryCanceled):
        return problem(
            503,
            "The answer took too long: ask for a shorter period.",
            request_id=request_id_of(request),
            headers={"Retry-After": "30"},
        )
    if isinstance(error, psycopg.OperationalError):
        return await _unavailable(request, error)
    return await _defect(request, error)


async def _hung_up(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Answer a caller that is gone, for the log and the measurements alone: it is no failure of the server."""
    return problem(400, "The request ended before its body was complete.", request_id=request_id_of(request))


async def _defect(request: Request, error: Exception) -> Response:
    _log.error("Request %s failed", request_id_of(request), exc_info=error)
    return problem(500, "The server failed; its log names this request.", request_id=request_id_of(request))
