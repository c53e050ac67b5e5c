"""The ``reconcile`` command: what is recorded of a month beside the ERP's rows, or a payment provider's totals."""

from datetime import date
from pathlib import Path
from typing import Any

import click

from analytics_pipeline.cli.dates import MONTH
from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.erp.control_totals import (
    COLUMNS,
    NOTHING,
    PAYMENTS,
    ControlTotals,
    Difference,
    Total,
    read_totals,
    reconcile_source,
    reconcile_totals,
)
from analytics_pipeline.erp.reader import connect_erp, require_erp_url
from analytics_pipeline.erp.source_files import choose_sources, read_sources
from analytics_pipeline.metrics.signoffs import month_of
from analytics_pipeline.settings import get_settings
from analytics_pipeline.text import printable_line
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window

DIFFERS = 3
_MAX_SHOWN = 10


@click.command(epilog=examples("reconcile --source invoices --month 2025-01 --json"))
@click.option("--source", metavar="NAME", help="Compare with the rows of this source in the ERP's database.")
@click.option(
    "--totals",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Compare with a CSV file of totals, with the columns {', '.join(COLUMNS)}.",
)
@click.option("--month", type=MONTH, required=True, help="The month, 2026-10; days are UTC.")
@click.option(
    "--event-type",
    "event_types",
    multiple=True,
    help=f"With --totals: what they are about, several times; without it: {' and '.join(PAYMENTS)}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON, sums as text.")
@click.pass_context
def reconcile(
    context: click.Context,
    source: str | None,
    totals: Path | None,
    month: date,
    event_types: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Compare counts and sums per company, day (UTC) and currency, exactly, and name what differs.

    With a source the events that differ are named by their ids. Of a file of totals the companies that it names are
    compared, on every day of the month. Exit status 3: something differs.
    """
    if (source is None) == (totals is None):
        raise click.UsageError("Say what to compare with: either --source NAME or --totals FILE.")
    if source is not None and event_types:
        raise click.UsageError("--event-type belongs to --totals: a source says itself which types it has.")
    window = month_of(f"{month:%Y-%m}")
    with connect(autocommit=True) as connection:
        if totals is not None:
            expected = read_totals(totals, window)
            found = reconcile_totals(connection, expected, totals.name, window, event_types or PAYMENTS)
        else:
            found = _with_source(connection, source or "", window)
    if as_json:
        echo_json(_as_json(found))
    else:
        echo("\n".join(_lines(found)))
    if found.differences:
        context.exit(DIFFERS)


def _with_source(connection: Connection, name: str, month: Window) -> ControlTotals:
    settings = get_settings()
    (source,) = choose_sources(read_sources(settings), [name])
    require_erp_url(settings)
    with connect_erp(settings) as erp:
        return reconcile_source(connection, erp, source, month)


def _lines(found: ControlTotals) -> list[str]:
    about = f"{found.month.start:%Y-%m} (UTC), {', '.join(found.event_types)}, against {found.against}"
    lines = [
        f"{about}: {found.compared:,} totals per company, day and currency, {len(found.differences):,} differ",
        *(
            f"    {currency or 'without a currency'}: {_total(found.recorded.get(currency))} recorded, "
            f"{_total(found.expected.get(currency))} there"
            for currency in sorted(found.expected.keys() | found.recorded.keys())
        ),
    ]
    for difference in found.differences:
        lines.extend(_of_difference(difference))
    return [printable_line(line) for line in lines]


def _of_difference(difference: Difference) -> list[str]:
    company, day, currency = difference.key
    lines = [
        f"{company} {day} {currency or 'without a currency'}: {_total(difference.recorded)} recorded, "
        f"{_total(difference.expected)} there"
    ]
    events = difference.events or ()
    for event in events[:_MAX_SHOWN]:
        row = "" if event.source_key is None else f" ({event.source_key})"
        lines.append(f"    event {event.event_id}{row} {event.text}")
    if len(events) > _MAX_SHOWN:
        lines.append(f"    and {len(events) - _MAX_SHOWN:,} more: --json lists them")
    return lines


def _total(total: Total | None) -> str:
    number, amount = total or NOTHING
    return f"{number:,} of {amount:f}"


def _as_json(found: ControlTotals) -> dict[str, Any]:
    return {
        "month": f"{found.month.start:%Y-%m}",
        "against": found.against,
        "eventTypes": list(found.event_types),
        "totals": found.compared,
        "differences": [
            {
                "companyId": difference.key.company_id,
                "day": f"{difference.key.day}",
                "currency": difference.key.currency or None,
                "expected": _total_json(difference.expected),
                "recorded": _total_json(difference.recorded),
                "events": None
                if difference.events is None
                else [
                    {"eventId": str(event.event_id), "sourceKey": event.source_key, "difference": event.text}
                    for event in difference.events
                ],
            }
            for difference in found.differences
        ],
    }


def _total_json(total: Total) -> dict[str, Any]:
    return {"count": total.number, "sum": f"{total.amount:f}"}
