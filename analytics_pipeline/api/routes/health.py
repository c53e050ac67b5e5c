"""Whether the API runs, whether it can answer, and measurements for Prometheus."""

from typing import Annotated

from fastapi import APIRouter, Request, Response, Security
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily

from analytics_pipeline.api.auth import Caller, caller_with
from analytics_pipeline.api.describing import answered
from analytics_pipeline.api.measurements import Measurements
from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.api.schemas import Status
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.timescale.connection import Connection, fetch_row

router = APIRouter(tags=["health"])

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
# By their name: what they say, and of what there is one each.
_OPERATIONS = {
    "analytics_closed_lag_seconds": ("Time since the end of the newest closed partition.", "asset"),
    "analytics_closed_age_seconds": ("Time since a partition was closed last.", "asset"),
    "analytics_open_partitions": ("Partitions whose last attempt has not closed them: failed, or under way.", "asset"),
    "analytics_stale_stretches": ("Stretches of closed partitions whose events have changed since.", "asset"),
    "analytics_data_age_seconds": ("Time since the newest event.", None),
    "analytics_stored_events": ("Events in the database, about.", None),
    "analytics_kept_rejects": ("Rejected records that are kept.", "kind"),
    "analytics_event_conflicts": ("Records that contradict a stored event.", None),
    "analytics_outbox_messages": ("Messages in the outbox.", "state"),
}


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
    query = "SELECT metric, label, value FROM analytics_operations()"
    state = request.app.state
    rows = await state.readers.run(None, lambda c: c.execute(query).fetchall())
    return Response(_text(state.measurements, rows), media_type=_TEXT)


def _text(measurements: Measurements, rows: list[tuple[str, str, float | None]]) -> bytes:
    families = {
        name: GaugeMetricFamily(name, text, labels=[label] if label else [])
        for name, (text, label) in _OPERATIONS.items()
    }
    for name, label, value in rows:
        if value is not None:
            families[name].add_metric([label] if _OPERATIONS[name][1] else [], value)
    return generate_latest(measurements.with_families(families.values()))
