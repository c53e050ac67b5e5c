"""The monthly documents: one over all companies and one of each, as PDF, with their names and their register."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.companies.calendar import Calendar, all_calendars, calendar_in, calendar_of
from analytics_pipeline.companies.local_windows import local_months
from analytics_pipeline.database import reading
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.mailed import count_changes
from analytics_pipeline.messages.recipients import XLSX, describe_audience
from analytics_pipeline.metrics.signoffs import SignOff
from analytics_pipeline.reports.catalogue import choose_sections, parts_of, sections_of
from analytics_pipeline.reports.cautions import cautions, why_held
from analytics_pipeline.reports.documents import (
    Document,
    DocumentFile,
    RecordedDocument,
    changes_since,
    corrected_figures,
    hold,
    record_document,
    record_file,
    withdraw_others,
)
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.load import load_company_reports
from analytics_pipeline.reports.mail import documents_due
from analytics_pipeline.reports.order import AcceptedOrder, ReportOrder
from analytics_pipeline.reports.publish import (
    Job,
    PublishedReport,
    UnrenderedReportError,
    load_order,
    publish,
    publish_all,
)
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.restatements import signoffs_shown
from analytics_pipeline.reports.shown_figures import shown_figures
from analytics_pipeline.settings import Settings
from analytics_pipeline.store import artifact_name
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, advisory_lock
from analytics_pipeline.windows import Window

_LOCK_CLASS = 7_261_942


@dataclass(frozen=True, slots=True)
class MonthlyDocument:
    """A monthly document as it was stored, and as it is recorded, and what its company is called."""

    published: PublishedReport
    document: Document
    company: str


def monthly_order(connection: Connection, settings: Settings, company_id: str | None, month: date) -> AcceptedOrder:
    """Return the order of the report of the calendar month that holds ``month``: every section, as PDF.

    The month is one of the company's time zone, None: of the platform's, like currency and locale.
    """
    calendar = calendar_of(connection, settings, company_id)
    (window,) = local_months(connection, [month], calendar.time_zone)
    return _order(calendar, window)


def _order(calendar: Calendar, window: Window) -> AcceptedOrder:
    order = ReportOrder(company_id=calendar.company_id, start_date=window.first_day, end_date=window.last_day)
    return order.accept(calendar, window.last_day, lambda _, __: window)


def monthly_report_name(company_id: str | None, month: date, suffix: str = ".pdf") -> str:
    """Return the name of a monthly document in the store; no two companies share one."""
    audience = ("all-companies",) if company_id is None else ("companies", company_id)
    return artifact_name(MONTHLY_REPORT, f"{month:%Y-%m}", *audience, suffix=suffix)


def publish_platform_month(
    connection: Connection, settings: Settings, month: date, *, run_id: str | None = None
) -> MonthlyDocument:
    """Render, store and record the month's report over all companies; a re-run replaces it."""
    order = monthly_order(connection, settings, None, month)
    with _turn(connection, month):
        signoffs = signoffs_shown(connection, Window.of_month(month))
        with reading(settings, connection) as reader:
            report = load_order(reader, order)
        planned = _planned(connection, report, order, signoffs)
        return _recorded(connection, planned, publish(settings.artifacts_root, planned.job), run_id)


def publish_company_months(
    connection: Connection, settings: Settings, month: date, *, run_id: str | None = None
) -> Iterator[MonthlyDocument]:
    """Render, store and record the report of every company that has figures in its month; a re-run replaces them.

    Of a company where the month is not over there is none yet. Afterwards no document counts of a company that has none
    any more. Raises ``AnalyticsError`` at the end for reports that could not be rendered; those of the other companies
    count.
    """
    with _turn(connection, month):
        companies = []
        for made in _publish_companies(connection, settings, month, None, run_id):
            companies.append(str(made.document.company_id))
            yield made
        withdraw_others(connection, MONTHLY_REPORT, f"{month:%Y-%m}", companies)


def publish_due(connection: Connection, settings: Settings, *, run_id: str | None = None) -> list[str]:
    """Render, store and record the documents that are due, and return what kept others from being made."""
    problems = []
    for company_id, month in documents_due(connection, settings):
        try:
            if company_id is None:
                publish_platform_month(connection, settings, month, run_id=run_id)
            else:
                with _turn(connection, month):
                    list(_publish_companies(connection, settings, month, [company_id], run_id))
        except AnalyticsError as error:
            problems.append(f"the report for {describe_audience(company_id)} of {month:%Y-%m} can't be made: {error}")
    return problems


def _publish_companies(
    connection: Connection,
    settings: Settings,
    month: date,
    companies: Collection[str] | None,
    run_id: str | None,
) -> Iterator[MonthlyDocument]:
    """Render, store and record the month's report of companies that have figures, None: of every one."""
    signoffs = signoffs_shown(connection, Window.of_month(month))
    planned = {
        report.company_id: _planned(connection, report, order, signoffs)
        for report, order in _company_reports(connection, settings, month, companies)
    }
    for job, published in publish_all(settings.artifacts_root, [one.job for one in planned.values()]):
        yield _recorded(connection, planned[job.report.company_id], published, run_id)


def _company_reports(
    connection: Connection, settings: Settings, month: date, companies: Collection[str] | None
) -> list[tuple[Report, AcceptedOrder]]:
    """Return the month's reports of companies (None: of every one) that have figures, where the month is over.

    Those of one time zone and currency are read together, in as many statements as one.
    """
    calendars = all_calendars(connection, settings)
    of_calendar: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for company_id, calendar in calendars.items():
        if company_id is not None:
            of_calendar[calendar.time_zone, calendar.currency].add(company_id)
    platform = calendars[None]
    of_calendar.pop((platform.time_zone, platform.currency), None)
    others = set().union(*of_calendar.values())
    # Companies without a row are among these.
    groups: list[tuple[Calendar, Callable[[str], bool]]] = [(platform, lambda company: company not in others)]
    groups += [(calendars[min(ids)], ids.__contains__) for ids in of_calendar.values()]
    now = database_now(connection)
    found: list[tuple[Report, AcceptedOrder]] = []
    for calendar, is_of_calendar in groups:
        wanted = is_of_calendar
        if companies is not None:
            asked = set(filter(is_of_calendar, companies))
            if not asked:
                continue
            wanted = asked.__contains__
        (window,) = local_months(connection, [month], calendar.time_zone)
        if window.end <= now:
            parts = parts_of(choose_sections((), of_company=True))
            with reading(settings, connection) as reader:
                reports = load_company_reports(reader, window, calendar.currency, parts, wanted=wanted)
            found += [(report, _order(calendar_in(calendars, report.company_id), window)) for report in reports]
    return found


def publish_workbook(connection: Connection, settings: Settings, recorded: RecordedDocument) -> None:
    """Render, store and record the workbook of a monthly document that counts.

    It shows the figures of the document or is not made: where the data give others by now, the document is held back
    until it is made again. So is one whose workbook can't be rendered: the others are mailed all the same.
    """
    document = recorded.document
    month = date.fromisoformat(f"{document.period}-01")
    order = replace(
        monthly_order(connection, settings, document.company_id, month), format=XLSX, locale=document.locale
    )
    report = replace(load_order(connection, order), corrections=document.corrections)
    name = monthly_report_name(document.company_id, month, ".xlsx")
    because = _why_held(connection, report, order)
    if document.definitions_version != report.definitions_version:
        because = (
            f"it follows version {document.definitions_version} of the definitions, and a workbook would follow "
            f"version {report.definitions_version}: materialise the month's reports again"
        )
    if because is None:
        try:
            made = publish(settings.artifacts_root, Job(report, order, name))
        except UnrenderedReportError as error:
            because = f"its workbook is missing: {error}"
        else:
            record_file(connection, recorded.document_id, XLSX, DocumentFile(made.uri, name, made.size, made.sha256))
    if because is not None:
        hold(connection, document.report, document.period, because, companies=[document.company_id], by_data=True)


def _turn(connection: Connection, month: date) -> AbstractContextManager[None]:
    """Let runs over a month take turns: the document that is recorded last is the one that is stored."""
    return advisory_lock(connection, _LOCK_CLASS, f"{MONTHLY_REPORT} {month:%Y-%m}")


def judge_month(
    connection: Connection, settings: Settings, month: date, companies: Collection[str | None]
) -> dict[str | None, str | None]:
    """Return for each of the companies (None: all together) why its report of a month must not be mailed now.

    None: it may be. It is the evaluation that page one shows, of the days of the month and as their data are now, and
    whether the document that counts still shows the figures that these give.
    """
    reports = _company_reports(connection, settings, month, [one for one in companies if one is not None])
    if None in companies:
        order = monthly_order(connection, settings, None, month)
        with reading(settings, connection) as reader:
            reports.append((load_order(reader, order), order))
    judged = {report.company_id: _why_held(connection, report, order) for report, order in reports}
    return {company: judged.get(company, "it has no figures in the month any more") for company in companies}


def _why_held(connection: Connection, report: Report, order: AcceptedOrder) -> str | None:
    if (because := why_held(report)) is not None:
        return because
    changes, said, locale = changes_since(
        connection, MONTHLY_REPORT, report.company_id, _period(order), _shown(report, order)
    )
    if changes:
        return f"{count_changes(changes)} from its data now: it is to be made again"
    if said is not None and list(said) != _said(report, locale):
        return "page one says of its data what is no longer so: it is to be made again"
    return None


class _Planned(NamedTuple):
    """A document to be rendered, with all the figures it shows."""

    job: Job
    shown: Mapping[str, Any]


def _planned(
    connection: Connection,
    report: Report,
    order: AcceptedOrder,
    signoffs: Mapping[str | None, Sequence[SignOff]],
) -> _Planned:
    """Return the job of a report, which says what it corrects, and what of signed months is restated."""
    name = monthly_report_name(report.company_id, order.window.first_day)
    shown = _shown(report, order)
    corrections = corrected_figures(
        connection, MONTHLY_REPORT, report.company_id, _period(order), report.definitions_version, shown
    )
    said = replace(report, corrections=corrections, signoffs=tuple(signoffs.get(report.company_id, ())))
    return _Planned(Job(said, order, name), shown)


def _said(report: Report, locale: str) -> list[str]:
    return [caution.text for caution in cautions(report, Formats(locale))]


def _shown(report: Report, order: AcceptedOrder) -> Mapping[str, Any]:
    return shown_figures(report, sections_of(_sections(report)), Formats(order.locale)).as_json()


def _sections(report: Report) -> tuple[str, ...]:
    return choose_sections((), of_company=report.company_id is not None)


def _recorded(
    connection: Connection, planned: _Planned, published: PublishedReport, run_id: str | None
) -> MonthlyDocument:
    document = _document(planned.job, published)
    record_document(connection, document, planned.shown, run_id=run_id)
    return MonthlyDocument(published, document, planned.job.report.company)


def _document(job: Job, published: PublishedReport) -> Document:
    report = job.report
    return Document(
        report=MONTHLY_REPORT,
        company_id=report.company_id,
        period=_period(job.order),
        period_end=report.window.end,
        uri=published.uri,
        name=monthly_report_name(report.company_id, report.window.first_day),
        size=published.size,
        sha256=published.sha256,
        pages=published.pages or 0,
        figures=published.figures,
        data_through=report.data_through,
        provisional=report.provisional,
        definitions_version=report.definitions_version,
        cautions=tuple(_said(report, job.order.locale)),
        corrections=report.corrections,
        locale=job.order.locale,
    )


def _period(order: AcceptedOrder) -> str:
    return f"{order.window.first_day:%Y-%m}"
