"""Companies side by side, for operators."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from analytics_pipeline.api.asking import MoneyParameters, Question, answer
from analytics_pipeline.api.describing import NOT_MODIFIED, answered
from analytics_pipeline.api.routes.figures import FiguresCaller
from analytics_pipeline.api.schemas import CompaniesAnswer
from analytics_pipeline.companies.known import listed_companies
from analytics_pipeline.metrics.answers import Answer, companies_answer
from analytics_pipeline.timescale.connection import Connection

router = APIRouter(prefix="/analytics", tags=["figures"])


@router.get("/companies", **answered(CompaniesAnswer, more=NOT_MODIFIED))
async def companies(
    request: Request, caller: FiguresCaller, parameters: Annotated[MoneyParameters, Query()]
) -> Response:
    """The headline figures of every company, the one with the most revenue first; of a company's token its own."""

    def ask(connection: Connection, asked: Question) -> Answer:
        listed = listed_companies(connection, asked.window) if asked.company is None else [asked.company]
        return companies_answer(connection, listed, asked.window, asked.currency)

    return await answer(request, caller, parameters, ask)
