"""The ``report`` command: a report of any company, period, sections and format."""

import json
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analytics_pipeline.cli.options import allow_unknown_option, require_company
from analytics_pipeline.cli.terminal import echo
from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.fx.show import require_known_currency
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.clock import check_clock
from analytics_pipeline.windows import Window

if TYPE_CHECKING:
    from analytics_pipeline.reports.publish import PublishedReport

_DAY = click.DateTime(["%Y-%m-%d"])


@click.command("report")
@click.option("--company", help="One company; without it the report is over all of them.")
@allow_unknown_option
@click.option("--month", type=click.DateTime(["%Y-%m"]), help="A calendar month, 2025-01, for --start and --end.")
@click.option("--start", type=_DAY, help="First day (UTC); without days the last finished month.")
@click.option("--end", type=_DAY, help="Last day, inclusive (UTC).")
@click.option("--sections", default="", help="Names of sections, with commas (docs/reports.md); without it all.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["pdf", "xlsx", "csv", "json"]),
    default="pdf",
    show_default=True,
    help="CSV of several sections is a zip of files.",
)
@click.option("--currency", help="Reporting currency; without it ANALYTICS_BASE_CURRENCY.")
@click.option("--locale", default="en_GB", show_default=True, help="Notation of figures and dates in a PDF, as de_CH.")
@click.option("--page-size", default="A4", show_default=True, help="Paper of a PDF: A4 or letter.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file, not ANALYTICS_ARTIFACTS.")
@click.option("--json", "as_json", is_flag=True, help="Print path, pages, bytes, checksum and figures as JSON.")
def report(
    company: str | None,
    month: datetime | None,
    start: datetime | None,
    end: datetime | None,
    sections: str,
    form: str,
    currency: str | None,
    locale: str,
    page_size: str,
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    """Write a report and print where it is.

    Its figures are those of the metrics commands, and its data are read as they are now: a period may be unfinished.
    """
    from analytics_pipeline.reports.order import order_report
    from analytics_pipeline.reports.publish import publish_order, write_order

    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        require_company(connection, company)
        reporting = require_known_currency(connection, currency or settings.base_currency)
        now = check_clock(connection)
        first, last = _days(month, start, end, now.date())
        order = order_report(
            company,
            first,
            last,
            currency=reporting,
            sections=sections.split(","),
            format=form,
            locale=locale,
            page_size=page_size,
            now=now,
        )
        if output is None:
            published = publish_order(connection, settings, order)
        else:
            published = write_order(connection, order, output)
    echo(json.dumps(asdict(published)) if as_json else _described(published))


def _days(month: datetime | None, start: datetime | None, end: datetime | None, today: date) -> tuple[date, date]:
    """Return the first and the last day; without any those of the last finished month."""
    if month is not None and (start or end):
        raise AnalyticsError("Give either --month or --start and --end.")
    if (start is None) != (end is None):
        raise AnalyticsError("Give both --start and --end, or --month.")
    if start is not None and end is not None:
        return start.date(), end.date()
    day = month.date() if month is not None else today.replace(day=1) - timedelta(days=1)
    window = Window.of_month(day)
    return window.start.date(), window.last_day


def _described(published: "PublishedReport") -> str:
    pages = "" if published.pages is None else f"{published.pages} pages, "
    altered = ""
    if published.altered_characters:
        altered = f"\nCharacters the font lacks, shown as a mark: {', '.join(published.altered_characters)}"
    return f"{published.path}\n{pages}{published.size:,} bytes, SHA-256 {published.sha256}{altered}"
