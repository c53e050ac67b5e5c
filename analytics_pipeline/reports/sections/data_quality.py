"""The data behind the figures: what came late, what was rejected, what is still to be computed again."""

from datetime import timedelta

from reportlab.platypus import Flowable

from analytics_pipeline.languages.wording import message, plural
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.formats import InWords
from analytics_pipeline.reports.quality import QUALITY, Quality
from analytics_pipeline.reports.reconciliation import disagreements
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.stored_words import in_words
from analytics_pipeline.reports.tabular import Column, Kind, Table, Value, name, share, text


def tables(report: Report) -> list[Table]:
    """Return the checks of the data, and why records were rejected."""
    quality = report[QUALITY]
    rejected = sum(reject.records for reject in quality.rejects)
    checks: list[tuple[Value, ...]] = [
        ("events", message("Events of the period"), report.all_events, None, ""),
        *_arrivals(quality),
        (
            "rejected",
            message("Rejected records"),
            rejected,
            None,
            message("by arrival") if report.company_id is None else message("by arrival; those that name the company"),
        ),
        ("unconverted", message("Amounts without a rate"), len(report.unconverted), None, ""),
        _unclosed(quality),
        (
            "toRecompute",
            message("Changes that closed figures have not seen"),
            len(quality.to_recompute),
            None,
            InWords(lambda formats: ", ".join(map(formats.say, map(in_words, quality.to_recompute)))),
        ),
        ("disagreements", message("Figures that do not reconcile"), len(disagreements(report)), None, ""),
    ]
    return [
        Table(
            "dataQuality",
            message("Data quality"),
            (
                name("name"),
                text("check", message("Check")),
                Column("number", message("Number")),
                Column("sharePercent", message("Share"), Kind.PERCENT),
                text("remark", message("Remark")),
            ),
            checks,
        ),
        Table(
            "rejects",
            message("Why records were rejected"),
            (text("reason", message("Reason")), Column("records", message("Records"))),
            [(in_words(reject.reason), reject.records) for reject in quality.rejects],
        ),
    ]


def _arrivals(quality: Quality) -> list[tuple[Value, ...]]:
    raw = quality.raw
    if raw is None:
        return [
            ("late", message("Late events"), None, None, message("raw events have expired, arrival is no longer known"))
        ]
    longest = message("longest delay {duration}", duration=_duration(raw.longest_delay)) if raw.late else ""
    return [
        ("late", message("Came in after their day had ended"), raw.late, share(raw.late, raw.events), longest),
        (
            "afterEnd",
            message("Came in after the period had ended"),
            raw.after_end,
            share(raw.after_end, raw.events),
            "",
        ),
    ]


def _unclosed(quality: Quality) -> tuple[Value, ...]:
    days = quality.open_days
    events = (
        [] if days is None else [message("events of {first} to {last}", first=days.start.date(), last=days.last_day)]
    )
    remarks = InWords(lambda formats: ", ".join([*quality.unclosed, *map(formats.say, events)]))
    number = len(quality.unclosed) + (0 if days is None else (days.end - days.start).days)
    return ("notClosed", message("Metrics, and days with events, that are not closed"), number, None, remarks)


def _duration(delay: timedelta) -> str:
    if delay.days > 0:
        return plural("{number} day {hours} h", "{number} days {hours} h", delay.days, hours=delay.seconds // 3600)
    return f"{delay.seconds // 3600} h {delay.seconds // 60 % 60} min"


def pages(content: Content) -> list[Flowable]:
    """Return the tables."""
    checks, rejects = tables(content.report)
    placed = content.set(checks)
    flowables: list[Flowable] = [*content.heading(message("Data quality"), placed.least_height), placed]
    return [*flowables, *content.titled(rejects)] if rejects.rows else flowables


SECTION = Section("data-quality", tables, pages, parts=[QUALITY], has_figures=False)
