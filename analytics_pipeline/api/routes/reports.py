"""Reports: the list, the documents, requests for custom ones."""

from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Body, Path, Query, Request, Response, Security
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from analytics_pipeline.api.asking import CompanyParameters, Parameters, company_for, not_there
from analytics_pipeline.api.auth import Caller, caller_with
from analytics_pipeline.api.describing import answered
from analytics_pipeline.api.numbers import to_json
from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.api.schemas import Address, Report, ReportList, ReportRequestAnswer
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.served_files import FILE_TYPES, file_response
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.reports.document_links import PREVIEW, hash_key, key_address, new_key
from analytics_pipeline.reports.order import ReportOrder, accept_order
from analytics_pipeline.reports.preview import first_page
from analytics_pipeline.reports.requests import ReportRequest
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row

router = APIRouter(prefix="/analytics/reports", tags=["reports"])
keyed = APIRouter(tags=["reports"])

ReportsCaller = Annotated[Caller, Security(caller_with(Scope.REPORTS))]
_POSTED = (400, 401, 403, 404, 413, 422, 429, 503)
# By its ending: a PDF, a workbook, CSV, a zip of them, JSON.
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The document; X-Document-Revision and Repr-Digest (SHA-256) say which.",
        "content": {media_type: {} for media_type in FILE_TYPES},
    }
}
_PICTURE: dict[int | str, dict[str, Any]] = {200: {"description": "The picture.", "content": {"image/png": {}}}}
_Key = Annotated[str, Path(max_length=100)]
# What has a key is for whom the address was given to.
_NOT_INDEXED = {"X-Robots-Tag": "noindex"}
_Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="The document's or the request's id.")]
# Before what became of a request stand its number, what is asked for, and its state.
_REQUEST_FIELDS = len(ReportOrder.model_fields) + 2
# An address that a page has asked for serves to open the document now.
_OPEN_FOR = timedelta(hours=1)


class ListParameters(CompanyParameters):
    """Whose documents, and which part of the list."""

    limit: int = Field(100, ge=1, le=500, description="How many documents at most, the newest first.")
    before: int | None = Field(None, ge=1, le=2**63 - 1, description="Only documents before the one of this id.")


class FormatParameters(CompanyParameters):
    """Which file of a document."""

    format: Literal["pdf", "xlsx"] = Field("pdf", description="The document, or the workbook of its figures.")


class WantedReport(ReportOrder):
    """A custom report: dates are inclusive, of the company's time zone. A company's token needs no companyId."""

    model_config = ConfigDict(alias_generator=to_camel)


@router.get("", **answered(ReportList))
async def reports(request: Request, caller: ReportsCaller, parameters: Annotated[ListParameters, Query()]) -> Response:
    """Documents of monthly reports, the newest first, each with its revision and the checksums of its files."""
    company = caller.company_asked(parameters.company_id)

    def read(connection: Connection) -> list[dict[str, Any]]:
        company_for(connection, caller, company)
        return _documents(connection, company, None, parameters.before, parameters.limit)

    found = await request.app.state.readers.run(company, read)
    return Response(to_json({"reports": found}), media_type="application/json")


@router.get("/{document_id}", **answered(Report, more=_FILE))
async def report(
    request: Request, caller: ReportsCaller, document_id: _Id, parameters: Annotated[FormatParameters, Query()]
) -> Response:
    """A document; with `Accept: application/json` what is known of it: its revision, figures and checksums."""
    company = caller.company_asked(parameters.company_id)

    def read(connection: Connection) -> list[dict[str, Any]]:
        return _documents(connection, company, document_id, None, 1)

    found = await request.app.state.readers.run(company, read)
    if not found:
        raise not_there("document")
    if request.headers.get("accept", "").startswith("application/json"):
        return Response(to_json(found[0]), media_type="application/json")
    file = found[0]["files"].get(parameters.format)
    if file is None:
        raise not_there("file of this document")
    revision = {"X-Document-Revision": str(found[0]["revision"])}
    return await file_response(request.app.state.settings, file["name"], file["sha256"], revision)


@router.post("/{document_id}/address", **answered(Address, status=201))
async def address(
    request: Request, caller: ReportsCaller, document_id: _Id, parameters: Annotated[FormatParameters, Query()]
) -> Response:
    """Make an address that opens a document without a token, for an hour."""
    company = caller.company_asked(parameters.company_id)
    key = new_key()

    def write(connection: Connection) -> datetime | None:
        query = "SELECT analytics_open_document(%s, %s, %s, %s, %s)"
        found: datetime | None = fetch_row(
            connection, query, [company, document_id, parameters.format, hash_key(key), _OPEN_FOR]
        )[0]
        return found

    expires_at = await request.app.state.readers.run(company, write, read_only=False)
    if expires_at is None:
        raise not_there("document")
    body = {"url": key_address(request.app.state.settings, key), "expiresAt": _instant(expires_at)}
    return Response(to_json(body), 201, media_type="application/json")


@router.post("", **answered(ReportRequestAnswer, status=202, errors=_POSTED))
async def request_report(
    request: Request,
    caller: ReportsCaller,
    wanted: Annotated[WantedReport, Body()],
    _: Annotated[Parameters, Query()],
) -> Response:
    """Ask for a report of any period, sections and format; it is made within minutes."""
    company = caller.company_asked(wanted.company_id)
    settings = request.app.state.settings

    def write(connection: Connection) -> dict[str, Any]:
        company_for(connection, caller, company)
        # What can't be made is refused at once.
        order = ReportOrder.of({**dict(wanted), "company_id": company})
        accepted = accept_order(connection, settings, order, database_now(connection))
        query = "SELECT analytics_request_report(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        values = [
            company,
            accepted.window.first_day,
            accepted.window.last_day,
            [*order.sections],
            order.format,
            accepted.currency,
            accepted.locale,
            order.page_size,
            f"api {caller.name}",
        ]
        number = fetch_row(connection, query, values)[0]
        return _request(connection, company, number)[0]

    made = await request.app.state.readers.run(company, write, read_only=False)
    return Response(
        to_json(made),
        202,
        headers={"Location": f"/analytics/reports/requests/{made['id']}"},
        media_type="application/json",
    )


@router.get("/requests/{request_id}", **answered(ReportRequestAnswer))
async def requested(
    request: Request, caller: ReportsCaller, request_id: _Id, parameters: Annotated[CompanyParameters, Query()]
) -> Response:
    """What became of a request: requested, running, done (then its document is there) or failed, and why."""
    company = caller.company_asked(parameters.company_id)
    found = await request.app.state.readers.run(company, lambda c: _request(c, company, request_id))
    return Response(to_json(found[0]), media_type="application/json")


@router.get("/requests/{request_id}/document", **answered(None, more=_FILE))
async def requested_document(
    request: Request, caller: ReportsCaller, request_id: _Id, parameters: Annotated[CompanyParameters, Query()]
) -> Response:
    """The document that was asked for."""
    company = caller.company_asked(parameters.company_id)
    settings = request.app.state.settings

    def read(connection: Connection) -> tuple[str, str]:
        shown, asked, uri = _request(connection, company, request_id)
        if shown["state"] != "done":
            raise ApiError(404, "This report is not done yet.")
        try:
            order = asked.accept(connection, settings, database_now(connection))
            return order.name(PurePosixPath(str(uri)).suffix), shown["sha256"]
        except (AnalyticsError, ValueError):
            # Of a row that somebody else has written, or of an earlier release.
            raise ApiError(404, "The store holds no document for this request: ask for the report again.") from None

    return await file_response(settings, *await request.app.state.readers.run(company, read))


@keyed.get("/documents/{key}", **answered(None, more=_FILE, errors=(404, 422, 429, 503)))
async def keyed_document(request: Request, key: _Key) -> Response:
    """Open the document of an address with a key, without a token."""
    name, sha256 = await _opened_by(request, key)
    return await file_response(request.app.state.settings, name, sha256, _NOT_INDEXED)


@keyed.get(f"/documents/{{key}}{PREVIEW}", **answered(None, more=_PICTURE, errors=(404, 422, 429, 503)))
async def keyed_preview(request: Request, key: _Key) -> Response:
    """Show the first page of the document of an address with a key, as a picture."""
    name, sha256 = await _opened_by(request, key)
    document = await file_response(request.app.state.settings, name, sha256)
    if document.media_type != "application/pdf":
        raise not_there("page of this document")
    picture = await to_thread.run_sync(first_page, bytes(document.body))
    return Response(
        picture, headers={"Cache-Control": "private, max-age=86400", **_NOT_INDEXED}, media_type="image/png"
    )


async def _opened_by(request: Request, key: str) -> tuple[str, str]:
    """Return the name in the store and the checksum of the document that a key opens; ``ApiError`` 404 for none."""
    query = "SELECT name, sha256 FROM analytics_find_document_key(%s)"
    state = request.app.state
    row = await state.readers.run("", lambda c: c.execute(query, [hash_key(key)]).fetchone())
    if row is None:
        state.failures.require(request.client.host if request.client else "")
        raise ApiError(404, "This address has expired, or never was one: ask for a new one.")
    name, sha256 = row
    return name, sha256


def _documents(
    connection: Connection, company: str | None, document: int | None, before: int | None, most: int
) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT * FROM analytics_documents_of(%s, %s, %s, %s)", [company, document, before, most]
    ).fetchall()
    return [
        {
            "id": number,
            "report": report_name,
            "companyId": company_id,
            "period": period,
            "revision": revision,
            "isCurrent": is_current,
            "renderedAt": _instant(rendered_at),
            "dataThrough": _instant(data_through),
            "provisional": provisional,
            "definitionsVersion": definitions_version,
            "pages": pages,
            "figures": figures,
            "files": files or {},
        }
        for (
            number,
            report_name,
            company_id,
            period,
            revision,
            is_current,
            rendered_at,
            data_through,
            provisional,
            definitions_version,
            pages,
            figures,
            files,
        ) in rows
    ]


def _request(
    connection: Connection, company: str | None, number: int
) -> tuple[dict[str, Any], ReportRequest, str | None]:
    """Return a request as it is shown, as it can be ordered, and where its document is."""
    query = "SELECT * FROM analytics_report_request_of(%s, %s)"
    row = connection.execute(query, [company, number]).fetchone()
    if row is None:
        raise not_there("request")
    requested_at, finished_at, failure, uri, size, sha256 = row[_REQUEST_FIELDS:]
    request = ReportRequest.of_row([*row[:_REQUEST_FIELDS], None])
    return (
        {
            "id": request.request_id,
            "state": request.state,
            **{to_camel(field): value for field, value in request.asked.items()},
            "requestedAt": _instant(requested_at),
            "finishedAt": _instant(finished_at),
            "problem": failure,
            "size": size,
            "sha256": sha256,
        },
        request,
        uri,
    )


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
