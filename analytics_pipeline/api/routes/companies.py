"""Companies side by side, for operators."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from analytics_pipeline.api.asking import MoneyParameters, Question, answer
from analytics_pipeline.api.describing import NOT_MODIFIED, answered
from analytics_pipeline.api.routes.figures import FiguresCaller
from analytics_pipeline.api.schemas import CompaniesAnswer
from analytics_pipeline.companies.calendar import Calendars, calendar_in, calendars_of
from analytics_pipeline.companies.known import listed_companies
from analytics_pipeline.metrics.answers import Answer, companies_answer
from analytics_pipeline.timescale.connection import Connection

router = APIRouter(prefix="/analytics", tags=["figures"])


@router.get("/companies", **answered(CompaniesAnswer, more=NOT_MODIFIED))
async def companies(
    request: Request, caller: FiguresCaller, parameters: Annotated[MoneyParameters, Query()]
) -> Response:
    """The headline figures of every company, the one with the most revenue first; of a company's token its own.

    They are of the same instants for each, and in one currency; beside them stands what each company has for itself.
    """
    settings = request.app.state.settings

    def ask(connection: Connection, asked: Question) -> Answer:
        listed = listed_companies(connection, asked.window) if asked.company is None else [asked.company]
        calendars = calendars_of(connection, settings, None if asked.company is None else listed)
        found = companies_answer(connection, listed, asked.window, asked.currency)
        return {**found, "companies": [_described(of_company, calendars) for of_company in found["companies"]]}

    return await answer(request, caller, parameters, ask)


def _described(figures: Mapping[str, Any], calendars: Calendars) -> dict[str, Any]:
    """Return the figures of a company with what it is called, and where and in what it lives."""
    calendar = calendar_in(calendars, figures["companyId"])
    return {
        "companyId": figures["companyId"],
        "companyName": calendar.name,
        "timeZone": calendar.time_zone,
        "reportingCurrency": calendar.currency,
        "locale": calendar.locale,
        **figures,
    }
