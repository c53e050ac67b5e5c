"""The alerts that fired in the period."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.alerts.alert_words import SEVERITIES, condition_in_words, figure_in_words, in_notation
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.formats import Formats, InWords
from analytics_pipeline.reports.pdf_tables import Glossary
from analytics_pipeline.reports.printed_text import Printable, plain
from analytics_pipeline.reports.report import ALL_COMPANIES, Report
from analytics_pipeline.reports.report_parts import Key, ReportLoader, ReportPart
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, name, text
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.text import capitalised
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window

_STATES = {
    "recovered": message("recovered"),
    "corrected": message("corrected"),
    "rule changed": message("rule changed"),
    "rule removed": message("rule removed"),
    None: message("going on"),
}
_COMPANY_CHARACTERS = 60
_SENTENCES_CHARACTERS = 1_000
# So many alerts don't part from the heading.
_LEAST = 3
_NOTE = 12.0


@dataclass(frozen=True, slots=True)
class FiredAlert:
    """An alert whose rule fired, from its first to its last period (their dates, at midnight UTC).

    ``company`` None: all companies together; ``name`` is what the company is called, None: by its id. ``value`` and
    ``threshold`` are in words, as the messages have them. ``resolution`` is why it is over: recovered, corrected, rule
    changed or rule removed; None while it goes on.
    """

    rule: str
    description: str
    severity: str
    company: str | None
    granularity: Granularity
    first_period: datetime
    last_period: datetime
    value: str
    threshold: str
    opened_at: datetime
    resolution: str | None
    name: str | None = None

    @property
    def whose(self) -> str:
        """What its company is called, or the words for all of them."""
        return ALL_COMPANIES if self.company is None else self.name or self.company


def fired_alerts(connection: Connection, company_id: str | None, window: Window) -> list[FiredAlert]:
    """Return the alerts with a firing period in a window, of a company, None: of each and of all together.

    In the order of their first period. A ``corrected`` one fired by figures that have changed since.
    """
    # A period of an alert is a date, wherever that begins.
    dates = Window.of_dates(window.first_day, window.last_day)
    rows = connection.execute(
        load_query("alert_fired"), {"company": company_id, "start": dates.start, "end": dates.end}
    ).fetchall()
    return [
        FiredAlert(rule, description, severity, company, Granularity(granularity), *of_row)
        for rule, description, severity, company, granularity, *of_row in rows
    ]


def _read(loader: ReportLoader) -> Mapping[Key, Sequence[FiredAlert]]:
    """Return what fired: a company's own, or for the report over all companies that of each and of all together."""
    fired: defaultdict[Key, list[FiredAlert]] = defaultdict(list)
    for alert in fired_alerts(loader.connection, loader.company, loader.window):
        named = alert if alert.company is None else replace(alert, name=loader.names.get(alert.company))
        fired[alert.company if loader.each else None].append(named)
    return fired


ALERTS: ReportPart[Sequence[FiredAlert]] = ReportPart("alerts", _read, ())


def tables(report: Report) -> list[Table]:
    """Return the alerts, in a report over all companies with the company of each."""
    with_company = report.company_id is None
    company = (name("companyId"), text("companyName", message("Company"))) if with_company else ()
    return [
        Table(
            "alerts",
            message("Alerts"),
            (
                *company,
                text("rule", message("Rule")),
                text("severity", message("Severity")),
                text("value", message("Found")),
                text("threshold", message("Held against")),
                Column("firstPeriod", message("From"), Kind.DAY),
                Column("lastPeriod", message("To"), Kind.DAY),
                text("state", message("Since then")),
            ),
            [
                (
                    *((alert.company, alert.whose) if with_company else ()),
                    alert.rule,
                    SEVERITIES[alert.severity],
                    InWords(partial(in_notation, figure_in_words(alert.value))),
                    InWords(partial(in_notation, condition_in_words(alert.threshold))),
                    alert.first_period.date(),
                    alert.last_period.date(),
                    _STATES[alert.resolution],
                )
                for alert in report[ALERTS]
            ],
        )
    ]


def pages(content: Content) -> list[Flowable]:
    """Return each rule with what it found in sentences: words and amounts of any length, none of them cut."""
    alerts = content.report[ALERTS]
    if not alerts:
        return [*content.heading(message("Alerts")), content.note(message("No alert fired in this period."))]
    note = content.note(
        message("What each rule found, what it watches for, how severe that is, and what has come of it.")
    )
    first = _listed(content, alerts[:_LEAST]).wrap(0, 0)[1]
    return [*content.heading(message("Alerts"), _NOTE + first), note, Spacer(0, 5), _listed(content, alerts)]


def _listed(content: Content, alerts: Sequence[FiredAlert]) -> Glossary:
    return Glossary(content.sheet, [(content.show(alert.rule), _sentences(content, alert)) for alert in alerts])


def _sentences(content: Content, alert: FiredAlert) -> Printable:
    formats = content.sheet.formats
    company = (
        "" if content.report.company_id is not None else plain(formats.say(alert.whose), limit=_COMPANY_CHARACTERS)
    )
    severity = formats.say(SEVERITIES[alert.severity])
    sentences = message(
        "{where}: {found}. Watched for: {condition}. {severity}, {state}.",
        where=", ".join(part for part in (company, _period(formats, alert)) if part),
        found=in_notation(figure_in_words(alert.value), formats),
        condition=in_notation(condition_in_words(alert.threshold), formats),
        severity=capitalised(severity),
        state=_STATES[alert.resolution],
    )
    return content.sheet.proof.printable(formats.say(sentences), limit=_SENTENCES_CHARACTERS)


def _period(formats: Formats, alert: FiredAlert) -> str:
    """Return the month or day, or the first and the last of several."""
    in_words = formats.month if alert.granularity is Granularity.MONTH else formats.day
    first, last = in_words(alert.first_period.date()), in_words(alert.last_period.date())
    return first if first == last else formats.say(message("{first} to {last}", first=first, last=last))


SECTION = Section("alerts", tables, pages, parts=[ALERTS], has_figures=False)
