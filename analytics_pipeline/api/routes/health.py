"""Whether the API runs, whether it can answer, and measurements for Prometheus."""

from fastapi import APIRouter, Request

from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.timescale.connection import Connection, fetch_row

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process runs; the database isn't asked."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> dict[str, str]:
    """The database answers and has the schema of this version."""

    def read(connection: Connection) -> None:
        fetch_row(connection, "SELECT analytics_data_version()")

    try:
        await request.app.state.readers.run("", read)
    except Exception as error:
        raise ApiError(503, "The database is not available now.", headers={"Retry-After": "5"}) from error
    return {"status": "ok"}
