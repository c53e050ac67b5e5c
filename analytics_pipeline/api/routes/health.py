"""Whether the API runs, whether it can answer, and measurements for Prometheus."""

from typing import Annotated

from fastapi import APIRouter, Request, Response, Security
from prometheus_client import generate_latest

from analytics_pipeline.api.auth import Caller, caller_with
from analytics_pipeline.api.describing import answered
from analytics_pipeline.api.operations_measured import operations_families, read_operations
from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.api.schemas import Status
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.timescale.connection import Connection, fetch_row

router = APIRouter(tags=["health"])

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/healthz", **answered(Status, errors=()))
async def healthz() -> dict[str, str]:
    """The process runs; the database isn't asked."""
    return {"status": "ok"}


@router.get("/readyz", **answered(Status, errors=(503,)))
async def readyz(request: Request) -> dict[str, str]:
    """The database answers and has the schema of this version."""

    def read(connection: Connection) -> None:
        fetch_row(connection, "SELECT analytics_data_version()")

    try:
        await request.app.state.readers.run("", read)
    except Exception as error:
        raise ApiError(503, "The database is not available now.", headers={"Retry-After": "5"}) from error
    return {"status": "ok"}


@router.get(
    "/metrics",
    **answered(
        None,
        errors=(401, 403, 429, 503),
        more={200: {"description": "Prometheus's text format.", "content": {"text/plain": {}}}},
    ),
)
async def metrics(request: Request, caller: Annotated[Caller, Security(caller_with(Scope.FIGURES))]) -> Response:
    """Measurements of the pipeline and of the API, for Prometheus with an operator's token."""
    if not caller.is_operator:
        raise ApiError(403, "Measurements are for operators.")
    state = request.app.state
    rows = await state.readers.run(None, read_operations)
    text = generate_latest(state.measurements.with_families(operations_families(rows)))
    return Response(text, media_type=_TEXT)
