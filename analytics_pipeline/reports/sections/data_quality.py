"""The data behind the figures: what came late, what was rejected, what is still to be computed again."""

from datetime import timedelta

from reportlab.platypus import Flowable

from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.quality import QUALITY, Quality
from analytics_pipeline.reports.reconciliation import disagreements
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, Value, name, share, text


def tables(report: Report) -> list[Table]:
    """Return the checks of the data, and why records were rejected."""
    quality = report[QUALITY]
    rejected = sum(reject.records for reject in quality.rejects)
    checks: list[tuple[Value, ...]] = [
        ("events", "Events of the period", report.all_events, None, ""),
        *_arrivals(quality),
        (
            "rejected",
            "Rejected records",
            rejected,
            None,
            "by arrival" if report.company_id is None else "by arrival; those that name the company",
        ),
        ("unconverted", "Amounts without a rate", len(report.unconverted), None, ""),
        _unclosed(quality),
        (
            "toRecompute",
            "Changes that closed figures have not seen",
            len(quality.to_recompute),
            None,
            ", ".join(quality.to_recompute),
        ),
        ("disagreements", "Figures that do not reconcile", len(disagreements(report)), None, ""),
    ]
    return [
        Table(
            "dataQuality",
            "Data quality",
            (
                name("name"),
                text("check", "Check"),
                Column("number", "Number"),
                Column("sharePercent", "Share", Kind.PERCENT),
                text("remark", "Remark"),
            ),
            checks,
        ),
        Table(
            "rejects",
            "Why records were rejected",
            (text("reason", "Reason"), Column("records", "Records")),
            [(reject.reason, reject.records) for reject in quality.rejects],
        ),
    ]


def _arrivals(quality: Quality) -> list[tuple[Value, ...]]:
    raw = quality.raw
    if raw is None:
        return [("late", "Late events", None, None, "raw events have expired, arrival is no longer known")]
    longest = f"longest delay {_duration(raw.longest_delay)}" if raw.late else ""
    return [
        ("late", "Came in after their day had ended", raw.late, share(raw.late, raw.events), longest),
        ("afterEnd", "Came in after the period had ended", raw.after_end, share(raw.after_end, raw.events), ""),
    ]


def _unclosed(quality: Quality) -> tuple[Value, ...]:
    days = quality.open_days
    remarks = [*quality.unclosed, *([] if days is None else [f"events of {days.start:%Y-%m-%d} to {days.last_day}"])]
    number = len(quality.unclosed) + (0 if days is None else (days.end - days.start).days)
    return ("notClosed", "Metrics, and days with events, that are not closed", number, None, ", ".join(remarks))


def _duration(delay: timedelta) -> str:
    if delay.days > 0:
        return f"{delay.days} {'day' if delay.days == 1 else 'days'} {delay.seconds // 3600} h"
    return f"{delay.seconds // 3600} h {delay.seconds // 60 % 60} min"


def pages(content: Content) -> list[Flowable]:
    """Return the tables."""
    checks, rejects = tables(content.report)
    placed = content.set(checks)
    flowables: list[Flowable] = [*content.heading("Data quality", placed.least_height), placed]
    return [*flowables, *content.titled(rejects)] if rejects.rows else flowables


SECTION = Section("data-quality", tables, pages, parts=[QUALITY], has_figures=False)
