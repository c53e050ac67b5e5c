"""Figures of each hour, day or month of a period."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from analytics_pipeline.api.asking import LocalPeriodParameters, MoneyParameters, answer
from analytics_pipeline.api.describing import NOT_MODIFIED, answered
from analytics_pipeline.api.routes.figures import FiguresCaller
from analytics_pipeline.api.schemas import RevenueSeriesAnswer, UsersSeriesAnswer
from analytics_pipeline.metrics.answers import revenue_series_answer, users_series_answer
from analytics_pipeline.metrics.periods import usual_granularity
from analytics_pipeline.windows import Granularity, Window

router = APIRouter(prefix="/analytics", tags=["series"])

_DEFAULT = "; without it months where the period is made of them, else days."


class RevenueSeriesParameters(MoneyParameters):
    """A company, a period, a currency, and the width of an entry."""

    interval: Literal["hour", "day", "month"] | None = Field(
        None, description=f"An entry per hour, day, month{_DEFAULT}"
    )


class UsersSeriesParameters(LocalPeriodParameters):
    """A company, a period, and the width of an entry."""

    interval: Literal["day", "month"] | None = Field(None, description=f"An entry per day or month{_DEFAULT}")


@router.get("/revenue/series", **answered(RevenueSeriesAnswer, more=NOT_MODIFIED))
async def revenue_series(
    request: Request, caller: FiguresCaller, parameters: Annotated[RevenueSeriesParameters, Query()]
) -> Response:
    """Revenue, MRR and the rates of each hour, day or month, at most 1,000 of them."""
    return await answer(
        request,
        caller,
        parameters,
        lambda c, q: revenue_series_answer(
            c, q.company, q.window, q.currency, _granularity(q.window, parameters.interval)
        ),
    )


@router.get("/users/series", **answered(UsersSeriesAnswer, more=NOT_MODIFIED))
async def users_series(
    request: Request, caller: FiguresCaller, parameters: Annotated[UsersSeriesParameters, Query()]
) -> Response:
    """The user figures of each day or month, at most 1,000 of them."""
    return await answer(
        request,
        caller,
        parameters,
        lambda c, q: users_series_answer(c, q.company, q.window, _granularity(q.window, parameters.interval)),
    )


def _granularity(window: Window, interval: str | None) -> Granularity:
    if interval is not None:
        return Granularity(interval)
    return usual_granularity(window)
