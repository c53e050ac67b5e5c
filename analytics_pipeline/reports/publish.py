"""From the database to a stored document: loads a report's figures, renders it, stores it."""

from dataclasses import dataclass
from datetime import date

from analytics_pipeline.metrics.revenue import revenue_series
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION, scope
from analytics_pipeline.metrics.users import user_series
from analytics_pipeline.reports.artifacts import store_artifact
from analytics_pipeline.reports.figures import TRAILING_MONTHS, earlier
from analytics_pipeline.reports.monthly import MonthlyReport, monthly_report_name, render_monthly_report
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window, midnight


@dataclass(frozen=True, slots=True)
class PublishedReport:
    """A stored document: where it is, its pages, its size in bytes and its checksum.

    ``path`` is the local path, or the URI again in an object store; ``altered_characters`` lists what the font
    could not show and the page shows as a mark.
    """

    uri: str
    path: str
    pages: int
    size: int
    sha256: str
    altered_characters: tuple[str, ...]


def load_monthly_report(connection: Connection, company_id: str | None, month: date) -> MonthlyReport:
    """Return the figures of a month's report with the trend of 13 months; ``None`` means all companies."""
    this_month = Window.of_month(month)
    trend = Window(midnight(earlier(this_month.start.date(), TRAILING_MONTHS - 1)), this_month.end)
    scoped = scope(connection, company_id, this_month)
    return MonthlyReport(
        company_id=company_id,
        month=this_month.start.date(),
        revenue=revenue_series(connection, company_id, trend),
        users=user_series(connection, company_id, trend),
        data_through=scoped.data_through,
        provisional=scoped.provisional,
        definitions_version=DEFINITIONS_VERSION,
    )


def publish_monthly_report(
    connection: Connection, settings: Settings, company_id: str | None, month: date
) -> PublishedReport:
    """Render the report of a month and store it under the artifacts' root; a re-run replaces it."""
    return store_monthly_report(settings, load_monthly_report(connection, company_id, month))


def store_monthly_report(settings: Settings, report: MonthlyReport) -> PublishedReport:
    """Render a report that was loaded and store it under the artifacts' root; a re-run replaces it."""
    rendered = render_monthly_report(report)
    stored = store_artifact(settings.artifacts_root, monthly_report_name(report), rendered.pdf)
    return PublishedReport(
        stored.uri, stored.path, rendered.pages, stored.size, stored.sha256, tuple(rendered.altered_characters)
    )
