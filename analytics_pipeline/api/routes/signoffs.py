"""Months that were signed off: reading them with their restatements, signing, and withdrawing."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from analytics_pipeline.api.asking import Parameters, PeriodParameters, asked_window, company_for
from analytics_pipeline.api.auth import Caller, caller_with
from analytics_pipeline.api.describing import answered
from analytics_pipeline.api.numbers import to_json
from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.api.routes.figures import FiguresCaller
from analytics_pipeline.api.schemas import Signed, SignOffsAnswer
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.companies.time_zones import UTC
from analytics_pipeline.errors import RefusedError
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
from analytics_pipeline.metrics.answers import signoffs_answer
from analytics_pipeline.metrics.signoffs import (
    MAX_NAME_CHARACTERS,
    MAX_REASON_CHARACTERS,
    month_of,
    sign_month,
    withdraw_signoffs,
)
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection

router = APIRouter(prefix="/analytics/signoffs", tags=["sign-off"])

_SigningCaller = Annotated[Caller, Security(caller_with(Scope.SIGN))]
_WRITTEN = (400, 401, 403, 404, 409, 413, 422, 429, 503)


class _OfMonth(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    month: str = Field(pattern="^(19[7-9][0-9]|2[01][0-9][0-9])-(0[1-9]|1[0-2])$", examples=["2026-10"])
    company_id: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_ID_CHARACTERS,
        # No text of the database holds a NUL.
        pattern="^[^\\x00]+$",
        description="For operators: one company; without it all, and all together. A company's token needs none.",
    )


class SigningOff(_OfMonth):
    """Which month is signed off, and by whom."""

    signed_by: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS, description="The name of the person.")


class Withdrawing(_OfMonth):
    """Whose sign-off of a month is withdrawn, by whom, and why."""

    withdrawn_by: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS, description="The name of the person.")
    reason: str = Field(min_length=1, max_length=MAX_REASON_CHARACTERS, description="Why; it is kept.")


@router.get("", **answered(SignOffsAnswer))
async def signoffs(
    request: Request, caller: FiguresCaller, parameters: Annotated[PeriodParameters, Query()]
) -> Response:
    """Which months that begin in the period are signed off, what differs from the signed figures, and why."""
    company = caller.company_asked(parameters.company_id)

    def read(connection: Connection) -> dict[str, Any]:
        company_for(connection, caller, company)
        window = asked_window(connection, parameters, UTC, database_now(connection))
        return {**signoffs_answer(connection, company, window), "maySign": Scope.SIGN in caller.scopes}

    found = await request.app.state.readers.run(company, read)
    return Response(to_json(found, parameters.numbers), media_type="application/json")


@router.post("", **answered(Signed, status=201, errors=_WRITTEN))
async def sign_off(
    request: Request,
    caller: _SigningCaller,
    wanted: Annotated[SigningOff, Body()],
    _: Annotated[Parameters, Query()],
) -> Response:
    """Sign a month off: its figures and documents are kept as they are. 409 says why it can't be signed."""
    settings = request.app.state.settings

    def write(connection: Connection, company: str | None) -> list[str | None]:
        month = month_of(wanted.month)
        platform = platform_calendar(connection, settings)
        return sign_month(
            connection,
            month,
            wanted.signed_by,
            platform.currency,
            company,
            actor=f"api {caller.name}",
            time_zone=platform.time_zone,
        )

    return await _write(request, caller, wanted, write)


@router.post("/withdrawals", **answered(Signed, status=201, errors=_WRITTEN))
async def withdraw(
    request: Request,
    caller: _SigningCaller,
    wanted: Annotated[Withdrawing, Body()],
    _: Annotated[Parameters, Query()],
) -> Response:
    """Withdraw the sign-off of a month, with a reason; what was kept stays."""

    def write(connection: Connection, company: str | None) -> list[str | None]:
        month = month_of(wanted.month)
        return withdraw_signoffs(
            connection, month, wanted.withdrawn_by, wanted.reason, company, actor=f"api {caller.name}"
        )

    return await _write(request, caller, wanted, write)


async def _write(
    request: Request, caller: Caller, wanted: _OfMonth, write: Callable[[Connection, str | None], list[str | None]]
) -> Response:
    company = caller.company_asked(wanted.company_id)

    def written(connection: Connection) -> list[str | None]:
        company_for(connection, caller, company)
        return write(connection, company)

    try:
        companies = await request.app.state.readers.run(company, written, read_only=False)
    except RefusedError as error:
        raise ApiError(409, str(error)) from error
    return Response(to_json({"month": wanted.month, "companies": companies}), 201, media_type="application/json")
