"""What is closed, stale or provisional."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from analytics_pipeline.api.asking import PeriodParameters, answer
from analytics_pipeline.api.describing import NOT_MODIFIED, answered
from analytics_pipeline.api.routes.figures import FiguresCaller
from analytics_pipeline.api.schemas import PartitionsAnswer
from analytics_pipeline.metrics.answers import partitions_answer

router = APIRouter(prefix="/analytics", tags=["partitions"])


@router.get("/partitions", **answered(PartitionsAnswer, more=NOT_MODIFIED))
async def partitions(
    request: Request, caller: FiguresCaller, parameters: Annotated[PeriodParameters, Query()]
) -> Response:
    """What of each asset is closed, stale (closed, and changed since) or open, of all companies together."""
    return await answer(request, caller, parameters, lambda c, q: partitions_answer(c, q.window))
