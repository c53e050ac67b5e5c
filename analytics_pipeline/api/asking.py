"""What a request asks for: parameters of the address, and the company, period and currency that they come to."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection

from analytics_pipeline.api.auth import Caller
from analytics_pipeline.api.conditional import CACHING, etag_of, matches
from analytics_pipeline.api.numbers import Numbers, to_json
from analytics_pipeline.api.problems import ApiError, no_such_company
from analytics_pipeline.api.versions import read_version
from analytics_pipeline.companies.calendar import calendar_asked
from analytics_pipeline.companies.known import is_known_company
from analytics_pipeline.companies.time_zones import UTC
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
from analytics_pipeline.metrics.answers import Answer
from analytics_pipeline.metrics.periods import CalendarDate, window_asked
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window


class Parameters(BaseModel):
    """Parameters of an address; others than these are refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class CompanyParameters(Parameters):
    """A company."""

    company_id: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_ID_CHARACTERS,
        description="For operators: one company; without it all. A company's token needs none.",
    )


class PeriodParameters(CompanyParameters):
    """A company and a period, whose days are those of UTC unless a time zone can be asked for."""

    start_date: CalendarDate | None = Field(None, description="First day; without dates: the current month.")
    end_date: CalendarDate | None = Field(None, description="Last day, inclusive.")
    numbers: Numbers = Field("number", description="Amounts and rates as JSON numbers, or as strings of their digits.")


class LocalPeriodParameters(PeriodParameters):
    """A company, a period, and the time zone of its days."""

    time_zone: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Whose days (IANA, such as Europe/Berlin); without it the company's, over all companies the "
        "platform's.",
    )


class MoneyParameters(LocalPeriodParameters):
    """A company, a period and a currency."""

    currency: str | None = Field(
        None,
        min_length=1,
        max_length=32,
        description="Reporting currency (ISO 4217, or a ticker with rates); without it the company's, over all "
        "companies the platform's.",
    )


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer is for: a company (None: all together), a window of whole days, a reporting currency."""

    company: str | None
    window: Window
    currency: str


async def answer(
    request: Request, caller: Caller, parameters: PeriodParameters, ask: Callable[[Connection, Question], Answer]
) -> Response:
    """Answer a request for figures by a typed call, in one state of the database."""
    company = caller.company_asked(parameters.company_id)
    state = request.app.state
    settings: Settings = state.settings
    if_none_match = request.headers.get("if-none-match")

    def tag_of(version: str) -> str:
        asked = (request.url.path, sorted(request.query_params.multi_items()), company)
        # What a restart with other settings, or of another release, may change without any change of data.
        as_set = (settings.base_currency, settings.time_zone, settings.locale)
        return etag_of(version, *asked, *as_set, DEFINITIONS_VERSION)

    if if_none_match is not None:
        version = await state.versions.current()
        etag = tag_of(version)
        if matches(etag, if_none_match):
            state.given.note(request.scope, etag, version, request.scope["state"]["token"], caller.name)
            return Response(status_code=304, headers={"ETag": etag, "Cache-Control": CACHING})

    def read(connection: Connection) -> tuple[str, Answer]:
        now, version = read_version(connection)
        company_for(connection, caller, company)
        time_zone, currency = (getattr(parameters, name, None) for name in ("time_zone", "currency"))
        calendar = calendar_asked(connection, settings, company, time_zone, currency)
        zone = calendar.time_zone if isinstance(parameters, LocalPeriodParameters) else UTC
        window = asked_window(connection, parameters, zone, now)
        return version, ask(connection, Question(company, window, calendar.currency))

    since = state.versions.now()
    version, found = await state.readers.run(company, read, may_lag=True)
    state.versions.note(version, since)
    return Response(
        to_json(found, parameters.numbers),
        headers={"ETag": tag_of(version), "Cache-Control": CACHING},
        media_type="application/json",
    )


async def refuse_repeated(connection: HTTPConnection) -> None:
    """Raise ``ApiError`` 422 for a parameter that is given more than once: which of them counts, nobody can see.

    A WebSocket says so by its code (``live``).
    """
    name = repeated_name(connection.query_params)
    if name is not None and connection.scope["type"] == "http":
        raise ApiError(422, f"{name}: give it once", errors=[{"name": name, "detail": "give it once"}])


def repeated_name(parameters: QueryParams) -> str | None:
    """Return the name of a parameter that is given more than once, None without one."""
    names = [name for name, _ in parameters.multi_items()]
    return next((name for name in parameters if names.count(name) > 1), None)


def company_for(connection: Connection, caller: Caller, company: str | None) -> None:
    """Raise ``ApiError`` 404 for a company that nobody knows; the one of a token is known without events, too."""
    if caller.is_operator and company is not None and not is_known_company(connection, company):
        raise no_such_company()


def not_there(what: str) -> ApiError:
    """Return the error for what isn't there, or isn't the caller's: the two look the same."""
    return ApiError(404, f"No such {what}.")


def asked_window(connection: Connection, parameters: PeriodParameters, time_zone: str, now: datetime) -> Window:
    """Return the days of a time zone that are asked for, without dates the month in which ``now`` is there."""
    start, end = parameters.start_date, parameters.end_date
    if (start is None) != (end is None):
        raise ApiError(422, "Give both startDate and endDate, or neither for the current month.")
    return window_asked(connection, start, end, time_zone, now)
