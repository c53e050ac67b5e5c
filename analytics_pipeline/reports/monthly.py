"""The monthly documents: one over all companies and one of each, as PDF, with their names and their register."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.messages.mailed import count_changes
from analytics_pipeline.messages.recipients import XLSX
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
from analytics_pipeline.timescale.connection import Connection, advisory_lock
from analytics_pipeline.windows import Window

_LOCK_CLASS = 7_261_942


@dataclass(frozen=True, slots=True)
class MonthlyDocument:
    """A monthly document as it was stored, and as it is recorded."""

    published: PublishedReport
    document: Document


def monthly_order(settings: Settings, company_id: str | None, month: date) -> AcceptedOrder:
    """Return the order of the report of the calendar month that holds ``month``: every section, as PDF."""
    window = Window.of_month(month)
    order = ReportOrder(company_id=company_id, start_date=window.start.date(), end_date=window.last_day)
    return order.accept(settings.base_currency)


def monthly_report_name(company_id: str | None, month: date, suffix: str = ".pdf") -> str:
    """Return the name of a monthly document in the store; no two companies share one."""
    audience = ("all-companies",) if company_id is None else ("companies", company_id)
    return artifact_name(MONTHLY_REPORT, f"{month:%Y-%m}", *audience, suffix=suffix)


def publish_platform_month(
    connection: Connection, settings: Settings, month: date, *, run_id: str | None = None
) -> MonthlyDocument:
    """Render, store and record the month's report over all companies; a re-run replaces it."""
    order = monthly_order(settings, None, month)
    with _turn(connection, month):
        signoffs = signoffs_shown(connection, order.window)
        planned = _planned(connection, load_order(connection, order), order, signoffs)
        return _recorded(connection, planned, publish(settings.artifacts_root, planned.job), run_id)


def publish_company_months(
    connection: Connection, settings: Settings, month: date, *, run_id: str | None = None
) -> Iterator[MonthlyDocument]:
    """Render, store and record the month's report of every company that has figures; a re-run replaces them.

    Afterwards no document counts of a company that has none any more. Raises ``AnalyticsError`` at the end for reports
    that could not be rendered; those of the other companies count.
    """
    order = monthly_order(settings, None, month)
    with _turn(connection, month):
        reports = load_company_reports(connection, order.window, order.currency, parts_of(order.sections))
        signoffs = signoffs_shown(connection, order.window)
        planned = {report.company_id: _planned(connection, report, order, signoffs) for report in reports}
        jobs = [one.job for one in planned.values()]
        for job, published in publish_all(settings.artifacts_root, jobs):
            yield _recorded(connection, planned[job.report.company_id], published, run_id)
        companies = [report.company_id for report in reports if report.company_id is not None]
        withdraw_others(connection, MONTHLY_REPORT, _period(order), companies)


def publish_workbook(connection: Connection, settings: Settings, recorded: RecordedDocument) -> None:
    """Render, store and record the workbook of a monthly document that counts.

    It shows the figures of the document or is not made: where the data give others by now, the document is held back
    until it is made again. So is one whose workbook can't be rendered: the others are mailed all the same.
    """
    document = recorded.document
    month = date.fromisoformat(f"{document.period}-01")
    order = replace(monthly_order(settings, document.company_id, month), format=XLSX)
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
    order = monthly_order(settings, None, month)
    reports = [load_order(connection, order)] if None in companies else []
    if any(company is not None for company in companies):
        reports += load_company_reports(connection, order.window, order.currency, parts_of(order.sections))
    judged = {one.company_id: _why_held(connection, one, order) for one in reports if one.company_id in companies}
    return {company: judged.get(company, "it has no figures in the month any more") for company in companies}


def _why_held(connection: Connection, report: Report, order: AcceptedOrder) -> str | None:
    if (because := why_held(report)) is not None:
        return because
    changes, said = changes_since(connection, MONTHLY_REPORT, report.company_id, _period(order), _shown(report))
    if changes:
        return f"{count_changes(changes)} from its data now: it is to be made again"
    if said is not None and list(said) != _said(report, order):
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
    name = monthly_report_name(report.company_id, order.window.start.date())
    shown = _shown(report)
    corrections = corrected_figures(
        connection, MONTHLY_REPORT, report.company_id, _period(order), report.definitions_version, shown
    )
    own_order = replace(order, company_id=report.company_id, sections=_sections(report))
    said = replace(report, corrections=corrections, signoffs=tuple(signoffs.get(report.company_id, ())))
    return _Planned(Job(said, own_order, name), shown)


def _said(report: Report, order: AcceptedOrder) -> list[str]:
    return [caution.text for caution in cautions(report, Formats(order.locale))]


def _shown(report: Report) -> Mapping[str, Any]:
    return shown_figures(report, sections_of(_sections(report))).as_json()


def _sections(report: Report) -> tuple[str, ...]:
    return choose_sections((), of_company=report.company_id is not None)


def _recorded(
    connection: Connection, planned: _Planned, published: PublishedReport, run_id: str | None
) -> MonthlyDocument:
    document = _document(planned.job, published)
    record_document(connection, document, planned.shown, run_id=run_id)
    return MonthlyDocument(published, document)


def _document(job: Job, published: PublishedReport) -> Document:
    report = job.report
    return Document(
        report=MONTHLY_REPORT,
        company_id=report.company_id,
        period=_period(job.order),
        period_end=report.window.end,
        uri=published.uri,
        name=monthly_report_name(report.company_id, report.window.start.date()),
        size=published.size,
        sha256=published.sha256,
        pages=published.pages or 0,
        figures=published.figures,
        data_through=report.data_through,
        provisional=report.provisional,
        definitions_version=report.definitions_version,
        cautions=tuple(_said(report, job.order)),
        corrections=report.corrections,
    )


def _period(order: AcceptedOrder) -> str:
    return f"{order.window.start:%Y-%m}"
