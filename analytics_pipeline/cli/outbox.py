"""The ``outbox`` commands: what is to be sent and what became of it, as a table or as JSON."""

from dataclasses import asdict
from datetime import date, datetime
from typing import BinaryIO

import click
from rich.table import Table

from analytics_pipeline.cli.dates import MONTH
from analytics_pipeline.cli.options import company_first, require_company
from analytics_pipeline.cli.recipients import audience_options, one_audience
from analytics_pipeline.cli.terminal import data_console, echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.addresses import describe_address
from analytics_pipeline.messages.bounces import record_bounce
from analytics_pipeline.messages.decisions import STATES, OutboxRow, discard_messages, list_messages, retry_messages
from analytics_pipeline.messages.delivery import send_by_settings
from analytics_pipeline.messages.mailed import describe_relation
from analytics_pipeline.messages.recipients import describe_audience
from analytics_pipeline.reports.mail import enqueue_wanted
from analytics_pipeline.reports.resend import Resent, resend_one, resend_outdated
from analytics_pipeline.settings import get_settings
from analytics_pipeline.signals import describing

# A bounce may hold the mail with its document.
_MAX_BOUNCE_BYTES = 50_000_000


@click.group()
def outbox() -> None:
    """Show, send, retry and discard the messages of the outbox: reports, alerts and failures; note what came back."""


@outbox.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only messages of this state.")
@click.option("--company", help="Only messages about this company.")
@click.option("--outdated", is_flag=True, help="Only mailed reports that no longer equal the current document.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="Print the messages as JSON, with every figure that differs.")
def list_(state: str | None, company: str | None, limit: int, *, outdated: bool, as_json: bool) -> None:
    """Show the newest messages with their state, and why the ones that are not sent are not.

    Of a report that was mailed the column "document" says whether it still equals the current one: "corrected since"
    when figures differ, and then 'outbox resend --outdated' mails the current one.
    """
    with connect(autocommit=True) as connection:
        messages = list_messages(connection, state=state, company_id=company, most=limit, outdated=outdated)
        if not messages:
            require_company(connection, company)
    if as_json:
        echo_json([_as_json(message) for message in messages])
        return
    if not messages:
        echo("There is no such message in the outbox.")
        return
    table = Table()
    for heading in ("id", "state", "target", "subject", "attempts", "sent or next attempt", "problem", "document"):
        table.add_column(heading, overflow="fold")
    for message in messages:
        moment = message.sent_at or (message.next_attempt_at if message.state == "pending" else None)
        target = describe_address(message.channel, message.target)
        cells = (message.state, target, message.subject, str(message.attempts), _instant(moment) or "")
        table.add_row(str(message.outbox_id), *cells, message.problem or "", _document(message))
    data_console().print(table)


@outbox.command("send")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def send(*, as_json: bool) -> None:
    """Send what is due now, without Dagster; any number of senders may do it at once.

    Exit status 1 if a message failed permanently or may have been delivered without anybody knowing.
    """
    settings = get_settings()
    with (
        describing(lambda: "what was sent is recorded, and the rest stays due."),
        connect(settings, autocommit=True) as connection,
    ):
        enqueue_wanted(connection, settings)
        report = send_by_settings(connection, settings)
    if as_json:
        echo_json(asdict(report))
    else:
        echo(f"{str(report)[:1].upper()}{str(report)[1:]}.")
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
    echo(f"{len(set(ids))} due again; 'analytics-pipeline outbox send' sends now.")


@outbox.command("discard")
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
def discard(ids: tuple[int, ...]) -> None:
    """Never send messages that are pending, failed or unknown; also the end of one that has arrived after all."""
    with connect(autocommit=True) as connection:
        discard_messages(connection, ids)
    echo(f"{len(set(ids))} discarded.")


@outbox.command("bounced")
@click.argument("files", metavar="FILE...", type=click.File("rb"), nargs=-1, required=True)
def bounced(files: tuple[BinaryIO, ...]) -> None:
    """Note that mails came back: each FILE is a bounce as the sender's mailbox received it, '-' standard input.

    The message is marked as failed, with what the other server said; 'outbox list', 'recipients list', 'doctor' and the
    check mail_delivered name it. A mail server can be set up to hand bounces over by itself: docs/mail.md.
    """
    with connect(autocommit=True) as connection:
        for file in files:
            try:
                bounce = record_bounce(connection, file.read(_MAX_BOUNCE_BYTES))
            except AnalyticsError as error:
                raise AnalyticsError(f"{file.name}: {error}") from error
            echo(f"Message {bounce.outbox_id} to {bounce.target} {bounce.problem}")


@outbox.command("resend")
@audience_options
@click.option("--period", "month", type=MONTH, help="The month, 2025-01.")
@click.option(
    "--outdated", is_flag=True, help="Every report whose figures, or definitions, differ from the mailed one."
)
@click.option("--preview", is_flag=True, help="Show who would get what, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print who gets what as JSON, with every figure that differs.")
def resend(
    company: str | None,
    report: str,
    month: date | None,
    *,
    all_companies: bool,
    outdated: bool,
    preview: bool,
    as_json: bool,
) -> None:
    """Mail reports that have changed since they were mailed, once for each revision.

    With --company or --all-companies and --period it is that report: everybody who gets it and has no mail with the
    current document, sent or discarded, gets it. With --outdated it is every report of which the current document has
    other figures than the mailed one, or follows other definitions, and those who were mailed that one get it; the
    other options then narrow it down. A mail says which figures differ and by how much. Repeating it sends nothing
    twice.
    """
    period = None if month is None else f"{month:%Y-%m}"
    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        if outdated:
            audience = (
                None if company is None and not all_companies else one_audience(company, all_companies=all_companies)
            )
            done = resend_outdated(
                connection,
                settings,
                report=report,
                period=period,
                company_id=audience,
                of_one=company is not None or all_companies,
                preview=preview,
            )
        else:
            audience = one_audience(company, all_companies=all_companies)
            if period is None:
                raise click.UsageError(
                    "Say which report is meant: --period 2025-01, or --outdated for all that differ."
                )
            with company_first(connection, company):
                done = resend_one(connection, settings, report, audience, period, preview=preview)
        if not done.mails and not done.held:
            require_company(connection, company)
    if as_json:
        echo_json(_resent_as_json(done, preview=preview))
    else:
        echo(_resent(done, preview=preview))


def _resent(done: Resent, *, preview: bool) -> str:
    lines = [
        f"{mail.address}: {mail.report} of {mail.period} for {describe_audience(mail.company_id)}, {mail.why}"
        for mail in done.mails
    ]
    lines += [f"Not sent: the {held}." for held in done.held]
    if not done.mails and done.held:
        return "\n".join(lines)
    if not done.mails:
        nothing = "Nothing new to send: everybody has a mail with this document, see 'analytics-pipeline outbox list'."
        return "\n".join([*lines, nothing])
    if preview:
        return "\n".join([*lines, f"{len(done.mails)} mails would be enqueued; nothing was changed."])
    return "\n".join([*lines, f"{done.added} mails are in the outbox; 'analytics-pipeline outbox send' sends now."])


def _resent_as_json(done: Resent, *, preview: bool) -> dict[str, object]:
    return {
        "preview": preview,
        "added": done.added,
        "mails": [
            {
                "report": mail.report,
                "companyId": mail.company_id,
                "period": mail.period,
                "address": mail.address,
                "why": mail.why,
                "changedFigures": [change.as_json() for change in mail.changes],
            }
            for mail in done.mails
        ],
        "heldBack": list(done.held),
    }


def _document(message: OutboxRow) -> str:
    if message.relation is None:
        return ""
    return describe_relation(message.relation, message.definitions, message.current_definitions, message.changes)


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
        "document": message.relation,
        "definitionsVersion": message.definitions,
        "changedFigures": [change.as_json() for change in message.changes],
    }


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else f"{instant:%Y-%m-%dT%H:%M:%SZ}"
