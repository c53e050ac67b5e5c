"""The ``report`` command: a report of any company, period, sections and format."""

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analytics_pipeline.cli.dates import days_options
from analytics_pipeline.cli.options import allow_unknown_option, require_company
from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.messages.recipients import PDF
from analytics_pipeline.reports.choices import DEFAULT_PAGE_SIZE, FORMATS
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.clock import check_clock

if TYPE_CHECKING:
    from analytics_pipeline.reports.publish import PublishedReport


@click.command(
    "report",
    epilog=examples(
        "report --month 2025-01",
        "report --start 2025-01-01 --end 2025-03-31 --sections revenue,mrr --format xlsx --output quarter.xlsx",
        "report --month 2025-01 --locale de_DE --page-size letter --json",
    ),
)
@click.option("--company", help="One company; without it the report is over all of them.")
@allow_unknown_option
@days_options("the last finished month")
@click.option("--sections", default="", help="Names of sections, with commas (docs/reports.md); without it all.")
@click.option(
    "--format",
    "form",
    metavar=f"[{'|'.join(FORMATS)}]",
    default=PDF,
    show_default=True,
    help="CSV of several sections is a zip of files.",
)
@click.option("--currency", help="Reporting currency; without it the company's.")
@click.option("--locale", help="Language and notation of a PDF or workbook, as de_CH; without it the company's.")
@click.option("--page-size", default=DEFAULT_PAGE_SIZE, show_default=True, help="Paper of a PDF: A4 or letter.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file, not ANALYTICS_ARTIFACTS.")
@click.option("--json", "as_json", is_flag=True, help="Print path, pages, bytes, checksum and figures as JSON.")
def report(
    company: str | None,
    days: tuple[date, date] | None,
    sections: str,
    form: str,
    currency: str | None,
    locale: str | None,
    page_size: str,
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    """Write a report and print where it is.

    Its figures are those of the metrics commands, and its data are read as they are now: a period may be unfinished.
    """
    from analytics_pipeline.reports.order import ReportOrder, accept_order
    from analytics_pipeline.reports.publish import publish_order, write_order

    first, last = days or (None, None)
    asked = ReportOrder.of(
        {
            "company_id": company,
            "start_date": first,
            "end_date": last,
            "sections": sections.split(","),
            "format": form,
            "currency": currency,
            "locale": locale,
            "page_size": page_size,
        }
    )
    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        require_company(connection, company)
        order = accept_order(connection, settings, asked, check_clock(connection))
        if output is None:
            published = publish_order(connection, settings, order)
        else:
            published = write_order(connection, order, output)
    if as_json:
        echo_json(asdict(published))
    else:
        echo(_described(published))


def _described(published: "PublishedReport") -> str:
    pages = "" if published.pages is None else f"{published.pages} pages, "
    altered = ""
    if published.altered_characters:
        from analytics_pipeline.reports.script_fonts import describe_altered

        altered = f"\nCharacters the font lacks, shown as a mark: {describe_altered(published.altered_characters)}"
    return f"{published.path}\n{pages}{published.size:,} bytes, SHA-256 {published.sha256}{altered}"
