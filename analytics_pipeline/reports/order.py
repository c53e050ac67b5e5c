"""What is asked for when a report is: whose, of which period, which sections, in which form."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from analytics_pipeline.companies.calendar import Calendar, calendar_of, titled
from analytics_pipeline.companies.local_windows import local_date
from analytics_pipeline.currencies import require_currency
from analytics_pipeline.errors import ArgumentError, UnknownNameError
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
from analytics_pipeline.fx.show import require_known_currency
from analytics_pipeline.intake.rejection import shown
from analytics_pipeline.messages.recipients import PDF, XLSX
from analytics_pipeline.metrics.periods import CalendarDate, window_asked, window_of_dates
from analytics_pipeline.reports.catalogue import SECTION_NAMES, choose_sections
from analytics_pipeline.reports.choices import (
    DEFAULT_PAGE_SIZE,
    FORMATS,
    Format,
    PageSize,
    page_size_of,
)
from analytics_pipeline.settings import Settings
from analytics_pipeline.store import artifact_name
from analytics_pipeline.timescale.clock import machine_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window

_MAX_SECTIONS = 50
# No name of a currency, a locale or a page size is as long.
_MAX_NAME = 32


@dataclass(frozen=True, slots=True)
class AcceptedOrder:
    """A report that can be made: what an order left out is filled in, and all of it has been judged.

    ``window`` is made of whole days in the time zone of the company, of all companies in the platform's; ``currency``
    is the reporting currency.
    """

    company_id: str | None
    window: Window
    sections: tuple[str, ...]
    format: Format
    currency: str
    locale: str
    page_size: PageSize

    def name(self, suffix: str) -> str:
        """Return the name of the document in the store: other orders have other names, an equal one the same."""
        period = f"{self.window.first_day:%Y-%m-%d}_{self.window.last_day:%Y-%m-%d}"
        chosen = (
            "all"
            if self.sections == choose_sections((), of_company=self.company_id is not None)
            else "-".join(self.sections)
        )
        form = {PDF: f"{self.locale}.{self.page_size}", XLSX: self.locale}.get(self.format, "data")
        stem = f"{chosen}.{self.currency}.{form}".lower()
        audience = ("all-companies",) if self.company_id is None else ("companies", self.company_id)
        return artifact_name("custom_report", period, *audience, stem, suffix=suffix)


def _checked_company(company_id: str | None) -> str | None:
    if company_id is not None and not 0 < len(company_id) <= MAX_ID_CHARACTERS:
        raise ArgumentError(f"A company's id is not empty and has at most {MAX_ID_CHARACTERS} characters.")
    return company_id


def _checked_format(value: Any) -> Any:
    if value not in FORMATS:
        raise ArgumentError(f"There is no format {shown(value)}: choose one of {', '.join(FORMATS)}.")
    return value


def _checked_currency(code: str | None) -> str | None:
    return None if code is None else require_currency(code)


def _checked_locale(name: str | None) -> str | None:
    if name is None:
        return None
    # It loads Babel: not while definitions load.
    from analytics_pipeline.languages.notation import require_written_locale

    return require_written_locale(name)


def _written_locale(calendar: Calendar) -> str:
    from analytics_pipeline.languages.notation import written_locale

    try:
        return written_locale(calendar.locale)
    except UnknownNameError as error:
        if calendar.company_id is None:
            raise
        # Nothing but SQL stores such a one.
        raise UnknownNameError(
            f"The locale {calendar.locale!r} of the company {titled(calendar)} is not known; give it one such as en_GB "
            f"or de_CH: analytics-pipeline companies set {shlex.quote(calendar.company_id)} --locale LOCALE"
        ) from error


class ReportOrder(BaseModel):
    """A report as it is asked for, judged as far as that takes neither a clock nor a database.

    Whatever can't be made of it is an ``AnalyticsError`` that names it and the choices, or pydantic's error for a value
    of another type; ``of`` makes one line of either.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    company_id: Annotated[str | None, AfterValidator(_checked_company)] = Field(
        default=None, description="One company; without it all of them together."
    )
    start_date: CalendarDate | None = Field(
        default=None, description="First day there; without days the last finished month."
    )
    end_date: CalendarDate | None = Field(default=None, description="Last day, inclusive.")
    sections: tuple[str, ...] = Field(
        default=(),
        max_length=_MAX_SECTIONS,
        description=f"Names of sections, none: all of them. {', '.join(SECTION_NAMES)}.",
    )
    format: Annotated[Format, BeforeValidator(_checked_format)] = Field(
        default=PDF, description="pdf, xlsx, csv (several sections: a zip of them) or json."
    )
    currency: Annotated[str | None, AfterValidator(_checked_currency)] = Field(
        default=None, max_length=_MAX_NAME, description="Reporting currency; without it the company's."
    )
    locale: Annotated[str | None, AfterValidator(_checked_locale)] = Field(
        default=None,
        max_length=_MAX_NAME,
        description="Language and notation of a PDF or workbook, such as de_CH; without it the company's.",
    )
    page_size: Annotated[str, AfterValidator(page_size_of)] = Field(
        default=DEFAULT_PAGE_SIZE, max_length=_MAX_NAME, description="Paper of a PDF: A4 or letter."
    )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the order that these values of its fields say; raises ``AnalyticsError`` for what is none."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            field, problem = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
            raise ArgumentError(f"{field}: {problem}, not {shown(first['input'])}.") from error

    @model_validator(mode="after")
    def _judge(self) -> Self:
        choose_sections(self.sections, of_company=self.company_id is not None)
        if (self.start_date is None) != (self.end_date is None):
            raise ArgumentError("Give both the first and the last day, or neither of them for the last finished month.")
        if self.start_date is not None:
            window_of_dates(self.start_date, self.end_date, self.start_date)
        return self

    def accept(
        self,
        calendar: Calendar,
        today: date | None = None,
        window: Callable[[date, date], Window] = Window.of_dates,
    ) -> AcceptedOrder:
        """Return what is to be made on a day, None: today by the clock of this machine.

        Without a section it is for all of them, without days for the last finished month, without a currency or locale
        as ``calendar`` has it, which is the company's. ``window`` gives the instants of dates, both inclusive: whole
        days of UTC unless it is given. Raises ``AnalyticsError`` for a period that has not begun, and for a locale of
        the company that nobody knows.
        """
        today = today or machine_now().date()
        last_month = today.replace(day=1) - timedelta(days=1)
        first, last = self.start_date or last_month.replace(day=1), self.end_date or last_month
        if first > today:
            raise ArgumentError(
                f"The period begins on {first}, which is still to come: there is nothing to report yet."
            )
        return AcceptedOrder(
            company_id=self.company_id,
            window=window(first, last),
            sections=choose_sections(self.sections, of_company=self.company_id is not None),
            format=self.format,
            currency=self.currency or calendar.currency,
            locale=self.locale or _written_locale(calendar),
            page_size=page_size_of(self.page_size),
        )


def accept_order(connection: Connection, settings: Settings, order: ReportOrder, now: datetime) -> AcceptedOrder:
    """Return what is to be made at ``now``, the database's time, by the calendar of the company; None: the platform's.

    Raises ``AnalyticsError`` as ``accept`` does, and for a currency that the database doesn't know.
    """
    calendar = calendar_of(connection, settings, order.company_id)
    require_known_currency(connection, order.currency or calendar.currency)

    def window(first: date, last: date) -> Window:
        return window_asked(connection, first, last, calendar.time_zone, now)

    return order.accept(calendar, local_date(connection, now, calendar.time_zone), window)
