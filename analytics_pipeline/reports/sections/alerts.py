"""The alerts that fired in the period."""

import re

from reportlab.platypus import Flowable

from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import ALL_COMPANIES, Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, text


def tables(report: Report) -> list[Table]:
    """Return the alerts, in a report over all companies with the company of each."""
    with_company = report.company_id is None
    company = (text("companyId", "Company"),) if with_company else ()
    return [
        Table(
            "alerts",
            "Alerts",
            (
                *company,
                text("rule", "Rule"),
                text("severity", "Severity"),
                text("value", "Found"),
                text("threshold", "Held against"),
                Column("firstPeriod", "From", Kind.DAY),
                Column("lastPeriod", "To", Kind.DAY),
                text("state", "Since then"),
            ),
            [
                (
                    *((alert.company or ALL_COMPANIES,) if with_company else ()),
                    alert.rule,
                    alert.severity,
                    _with_minus_signs(alert.value),
                    _with_minus_signs(alert.threshold),
                    alert.first_period.date(),
                    alert.last_period.date(),
                    alert.resolution or "going on",
                )
                for alert in report.alerts
            ],
        )
    ]


def _with_minus_signs(words: str) -> str:
    """Return the words of a message with the sign that stands before figures everywhere in a document."""
    return re.sub(r"(?<!\w)-(?=\d)", "\u2212", words)


def pages(content: Content) -> list[Flowable]:
    """Return the table."""
    report = content.report
    if not report.alerts:
        return [*content.heading("Alerts"), content.note("No alert fired in this period.")]
    (table,) = tables(report)
    placed = content.set(table)
    return [*content.heading("Alerts", placed.least_height), placed]


SECTION = Section("alerts", tables, pages)
