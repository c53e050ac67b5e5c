"""The ``outbox`` commands: what is to be sent and what became of it, as a table or as JSON."""

import json
import sys
from dataclasses import asdict
from datetime import datetime

import click
from rich.console import Console
from rich.table import Table

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.outbox.channels import send_by_settings
from analytics_pipeline.outbox.decisions import STATES, OutboxRow, discard_messages, list_messages, retry_messages
from analytics_pipeline.reports.mail import enqueue_wanted, resend_report
from analytics_pipeline.reports.recipients_cli import audience_options, one_audience
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import connect

# Where there is no terminal whose width to keep, a line stays a line.
_PLAIN_WIDTH = 200


@click.group()
def outbox() -> None:
    """Show, send, retry and discard the messages of the outbox: reports by mail, alerts."""


@outbox.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only messages of this state.")
@click.option("--company", help="Only messages about this company.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="Print the messages as JSON.")
def list_(state: str | None, company: str | None, limit: int, *, as_json: bool) -> None:
    """Show the newest messages with their state, and why the ones that are not sent are not."""
    with connect(autocommit=True) as connection:
        messages = list_messages(connection, state=state, company_id=company, most=limit)
    if as_json:
        click.echo(json.dumps([_as_json(message) for message in messages]))
        return
    if not messages:
        click.echo("There is no such message in the outbox.")
        return
    table = Table()
    for heading in ("id", "state", "target", "subject", "attempts", "sent or next attempt", "problem"):
        table.add_column(heading, overflow="fold")
    for message in messages:
        moment = message.sent_at or (message.next_attempt_at if message.state == "pending" else None)
        cells = (message.state, message.target, message.subject, str(message.attempts), _instant(moment) or "")
        table.add_row(str(message.outbox_id), *cells, message.problem or "")
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH).print(table)


@outbox.command("send")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def send(*, as_json: bool) -> None:
    """Send what is due now, without Dagster; any number of senders may do it at once.

    Exit status 1 if a message failed for good or may have been delivered without anybody knowing.
    """
    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        enqueue_wanted(connection, settings)
        report = send_by_settings(connection, settings)
    click.echo(json.dumps(asdict(report)) if as_json else f"{str(report)[:1].upper()}{str(report)[1:]}.")
    if report.needs_a_person:
        raise SystemExit(1)


@outbox.command("retry")
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
def retry(ids: tuple[int, ...]) -> None:
    """Send messages that failed, are unknown or were discarded after all.

    One that is unknown may have arrived: its recipient may get it twice, with the same Message-ID.
    """
    with connect(autocommit=True) as connection:
        retry_messages(connection, ids)
    click.echo(f"{len(set(ids))} due again; 'analytics-pipeline outbox send' sends now.")


@outbox.command("discard")
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
def discard(ids: tuple[int, ...]) -> None:
    """Never send messages that are pending, failed or unknown; also the end of one that has arrived after all."""
    with connect(autocommit=True) as connection:
        discard_messages(connection, ids)
    click.echo(f"{len(set(ids))} discarded.")


@outbox.command("resend")
@audience_options
@click.option("--period", required=True, help="The month, 2025-01.")
def resend(company: str | None, report: str, period: str, *, all_companies: bool) -> None:
    """Mail a report that has changed since it was sent, marked as corrected, once for each revision.

    Everybody who gets the report and has no mail with the document that counts now, sent or discarded, gets it.
    Repeating it sends nothing twice.
    """
    try:
        datetime.strptime(f"{period}-01", "%Y-%m-%d")  # noqa: DTZ007  # only its form
    except ValueError as error:
        raise AnalyticsError(f"The period {period!r} is no month: write it like 2025-01.") from error
    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        added = resend_report(connection, settings, report, one_audience(company, all_companies=all_companies), period)
    if added:
        click.echo(f"{added} mails are in the outbox; 'analytics-pipeline outbox send' sends now.")
    else:
        click.echo(
            "Nothing new to send: everybody has a mail with this document, see 'analytics-pipeline outbox list'."
        )


def _as_json(message: OutboxRow) -> dict[str, object]:
    return {
        "id": message.outbox_id,
        "kind": message.kind,
        "channel": message.channel,
        "companyId": message.company_id,
        "report": message.report,
        "period": message.period,
        "target": message.target,
        "subject": message.subject,
        "state": message.state,
        "problem": message.problem,
        "createdAt": _instant(message.created_at),
        "attempts": message.attempts,
        "nextAttemptAt": _instant(message.next_attempt_at) if message.state == "pending" else None,
        "sentAt": _instant(message.sent_at),
        "messageId": message.message_id,
    }


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else f"{instant:%Y-%m-%dT%H:%M:%SZ}"
