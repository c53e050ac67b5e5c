"""The ``analytics-pipeline sample`` command."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path

import click

from analytics_pipeline.cli.dates import DAY
from analytics_pipeline.cli.numbers import SCALE
from analytics_pipeline.cli.program import examples, program
from analytics_pipeline.cli.terminal import echo
from analytics_pipeline.errors import ArgumentError
from analytics_pipeline.sample.generator import generate_events, write_lines, write_rates, write_sample

STANDARD_OUTPUT = "-"


@click.command(
    "sample",
    epilog=examples(
        "sample --output events.jsonl.gz --rates events.rates.csv",
        f"sample --months 3 --start 2025-01-01 | {program()} ingest --format jsonl -",
    ),
)
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same bytes.")
@click.option(
    "--months", type=click.IntRange(1), default=13, show_default=True, help="How many whole months the events cover."
)
@click.option(
    "--companies", type=click.IntRange(1), default=5, show_default=True, help="How many tenants, of different sizes."
)
@click.option("--scale", type=SCALE, default=1.0, show_default=True, help="Multiplies every company's customers.")
@click.option(
    "--start",
    type=DAY,
    help="First day of the first month (UTC), 2025-01-01.  [default: so that the last whole month is the last one]",
)
@click.option(
    "--output",
    metavar="FILE",
    default=STANDARD_OUTPUT,
    show_default=True,
    help="File to write; compressed if it ends in .gz; - is standard output.",
)
@click.option(
    "--rates",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the rates of exchange behind the events, for `analytics-pipeline fx load`.",
)
def sample(
    *, seed: int, months: int, companies: int, scale: float, start: date | None, output: str, rates: Path | None
) -> None:
    """Write sample events of a believable crypto-ERP as JSON Lines.

    13 months of 5 companies at scale 1 are about 250,000 events: registrations, logins and feature use,
    subscriptions with invoices, payments and refunds in EUR and USD, and trades in BTC and ETH. About 0.5 %
    arrive late (up to 6 days; `arrived_at` in their metadata) and 0.3 % twice. Lines are in order of arrival.
    `analytics-pipeline ingest` reads them; it refuses events of the future, so let the span end before now.
    """
    first = months_before(datetime.now(UTC).date(), months) if start is None else start
    if output == STANDARD_OUTPUT:
        events = generate_events(seed=seed, start=first, months=months, companies=companies, scale=scale)
        count = write_lines(events, sys.stdout.buffer)
    else:
        count = write_sample(Path(output), seed=seed, start=first, months=months, companies=companies, scale=scale)
    if rates is not None:
        write_rates(rates, seed=seed, start=first, months=months)
    echo(f"{count:,} events from {first} over {months} months, seed {seed}", err=True)


def months_before(day: date, months: int) -> date:
    """Return the first day of the month that lies so many months before the day's month.

    Raises ``AnalyticsError`` when the calendar does not reach back that far.
    """
    years, month = divmod(day.month - 1 - months, 12)
    try:
        return date(day.year + years, month + 1, 1)
    except (ValueError, OverflowError) as error:
        raise ArgumentError(f"There is no month {months} months before {day}; ask for fewer.") from error
