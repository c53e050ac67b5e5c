"""What is asked for when a report is: whose, of which period, which sections, in which form.

Belongs here: judging what people and programs ask for. Does not belong here: making the report (``publish``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from analytics_pipeline.currencies import require_currency
from analytics_pipeline.errors import ArgumentError
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
from analytics_pipeline.messages.recipients import PDF, XLSX
from analytics_pipeline.metrics.periods import window_of_dates
from analytics_pipeline.reports.catalogue import choose_sections
from analytics_pipeline.reports.formats import DEFAULT_LOCALE, Formats
from analytics_pipeline.reports.layout import DEFAULT_PAGE_SIZE, PageSize, page_size_of
from analytics_pipeline.store import artifact_name
from analytics_pipeline.timescale.clock import machine_now
from analytics_pipeline.windows import Window

CSV = "csv"
JSON = "json"
FORMATS = (PDF, XLSX, CSV, JSON)


@dataclass(frozen=True, slots=True)
class ReportOrder:
    """A report that can be made: every part of it has been judged by ``order_report``.

    ``window`` is made of whole UTC days; ``currency`` is the reporting currency.
    """

    company_id: str | None
    window: Window
    sections: tuple[str, ...]
    format: str
    currency: str
    locale: str
    page_size: PageSize

    def name(self, suffix: str) -> str:
        """Return the name of the document in the store: other orders have other names, an equal one the same."""
        period = f"{self.window.start:%Y-%m-%d}_{self.window.last_day:%Y-%m-%d}"
        chosen = (
            "all"
            if self.sections == choose_sections((), of_company=self.company_id is not None)
            else "-".join(self.sections)
        )
        form = f"{self.locale}.{self.page_size}" if self.format == PDF else "data"
        stem = f"{chosen}.{self.currency}.{form}".lower()
        audience = ("all-companies",) if self.company_id is None else ("companies", self.company_id)
        return artifact_name("custom_report", period, *audience, stem, suffix=suffix)


def order_report(
    company_id: str | None,
    start: date,
    end: date,
    *,
    currency: str,
    sections: Iterable[str] = (),
    format: str = PDF,  # noqa: A002 - what everybody calls it
    locale: str = DEFAULT_LOCALE,
    page_size: str = DEFAULT_PAGE_SIZE,
    now: datetime | None = None,
) -> ReportOrder:
    """Return the order for a company (None: all of them) and the UTC days from ``start`` to ``end``, both inclusive.

    Without a section it is for all of them. ``now`` is the database's time (None: this machine's, for an order that
    no database is asked for). Raises ``AnalyticsError`` naming what can't be made of it.
    """
    now = now or machine_now()
    window = window_of_dates(start, end, now.date())
    if window.start > now:
        raise ArgumentError(f"The period begins on {start}, which is still to come: there is nothing to report yet.")
    if company_id is not None and not 0 < len(company_id) <= MAX_ID_CHARACTERS:
        raise ArgumentError(f"A company's id is not empty and has at most {MAX_ID_CHARACTERS} characters.")
    if format not in FORMATS:
        raise ArgumentError(f"There is no format {format!r}: choose one of {', '.join(FORMATS)}.")
    Formats(locale)
    return ReportOrder(
        company_id=company_id,
        window=window,
        sections=choose_sections(sections, of_company=company_id is not None),
        format=format,
        currency=require_currency(currency),
        locale=locale,
        page_size=page_size_of(page_size),
    )
