"""Figures of one period: revenue, users, movements, crypto, the most frequent events."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, Security
from pydantic import Field

from analytics_pipeline.api.asking import LocalPeriodParameters, MoneyParameters, answer
from analytics_pipeline.api.auth import Caller, caller_with
from analytics_pipeline.api.describing import NOT_MODIFIED, answered
from analytics_pipeline.api.schemas import (
    CryptoAnswer,
    MovementsAnswer,
    RevenueAnswer,
    TopEventsAnswer,
    UsersAnswer,
)
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.metrics.answers import (
    crypto_answer,
    movements_answer,
    revenue_answer,
    top_events_answer,
    users_answer,
)

router = APIRouter(prefix="/analytics", tags=["figures"])

FiguresCaller = Annotated[Caller, Security(caller_with(Scope.FIGURES))]


class TopEventsParameters(LocalPeriodParameters):
    """A company, a period, and how many types."""

    limit: int = Field(10, ge=1, le=1000, description="How many event types at most.")


@router.get("/revenue", **answered(RevenueAnswer, more=NOT_MODIFIED))
async def revenue(request: Request, caller: FiguresCaller, parameters: Annotated[MoneyParameters, Query()]) -> Response:
    """Revenue, MRR, ARR, revenue per user, growth, and what moved MRR."""
    return await answer(request, caller, parameters, lambda c, q: revenue_answer(c, q.company, q.window, q.currency))


@router.get("/users", **answered(UsersAnswer, more=NOT_MODIFIED))
async def users(
    request: Request, caller: FiguresCaller, parameters: Annotated[LocalPeriodParameters, Query()]
) -> Response:
    """Total, active, new and churned users, and their rates."""
    return await answer(request, caller, parameters, lambda c, q: users_answer(c, q.company, q.window))


@router.get("/movements", **answered(MovementsAnswer, more=NOT_MODIFIED))
async def movements(
    request: Request, caller: FiguresCaller, parameters: Annotated[MoneyParameters, Query()]
) -> Response:
    """MRR at the start and the end of the period, and what moved it."""
    return await answer(request, caller, parameters, lambda c, q: movements_answer(c, q.company, q.window, q.currency))


@router.get("/crypto", **answered(CryptoAnswer, more=NOT_MODIFIED))
async def crypto(request: Request, caller: FiguresCaller, parameters: Annotated[MoneyParameters, Query()]) -> Response:
    """What was received, sent and swapped of each crypto asset, and its value."""
    return await answer(request, caller, parameters, lambda c, q: crypto_answer(c, q.company, q.window, q.currency))


@router.get("/events/top", **answered(TopEventsAnswer, more=NOT_MODIFIED))
async def top_events(
    request: Request, caller: FiguresCaller, parameters: Annotated[TopEventsParameters, Query()]
) -> Response:
    """The most frequent event types of the period."""
    return await answer(
        request, caller, parameters, lambda c, q: top_events_answer(c, q.company, q.window, parameters.limit)
    )
