"""Who gets which report.

A company's report goes to that company's recipients, the report over all companies (``company_id`` None) to its
own; nobody gets one through being a recipient of the other.
"""

from dataclasses import dataclass
from datetime import datetime, time
from typing import Final, Literal

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.companies.time_zones import UTC
from analytics_pipeline.errors import AnalyticsError, ArgumentError, UnknownNameError
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
from analytics_pipeline.messages.addresses import Address, describe_address, parse_address
from analytics_pipeline.messages.channels import CHANNELS
from analytics_pipeline.messages.channels.mail import MailChannel
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection, fetch_row

# The reports there are recipients of.

REPORTS: Final = (MONTHLY_REPORT,)

# What a mail brings: the document attached, its figures as a workbook, or a link to the document.
PDF: Final = "pdf"
XLSX: Final = "xlsx"
LINK: Final = "link"
FORMATS: Final = (PDF, XLSX, LINK)

AtOnce = Literal["at once"]
AT_ONCE: Final = "at once"


@dataclass(frozen=True, slots=True)
class Recipient:
    """An address that gets a report of a company, None: of all companies together; a mail address stands alone.

    ``corrections``: it is mailed corrected reports by itself, else when a person resends them. ``format`` is what its
    mails bring, one of ``FORMATS``, ``send_at`` their time of day in the time zone of the report (None: 08:00 of the
    morning after the month, or as soon as they may go later), unless they leave ``at_once``. ``problem`` says why the
    last one was not delivered, or may not have been.
    """

    company_id: str | None
    report: str
    address: str
    added_at: datetime
    corrections: bool
    format: str
    send_at: time | None
    at_once: bool
    problem: str | None


def add_recipient(
    connection: Connection,
    company_id: str | None,
    report: str,
    address: str,
    *,
    corrections: bool | None = None,
    form: str | None = None,
    send_at: time | AtOnce | None = None,
    platform_zone: str = UTC,
) -> bool:
    """Add an address, whatever its case only once, and return whether that changed anything.

    ``corrections``: whether documents that are corrected from now on are mailed to it by themselves; ``form``: what a
    mail brings, one of ``FORMATS``; ``send_at``: at what time of day where the company is, of one without a time zone
    and of all together in ``platform_zone``. None: as it is, of a new one no corrections, the PDF, and in the morning
    after the month; a channel that carries no files brings a link. Raises ``AnalyticsError`` for anything but an
    address of a channel that reports can go by, for an unknown report or form and for what is no company id.
    """
    if form is not None and form not in FORMATS:
        raise ArgumentError(f"A mail brings no {form!r}: choose one of {', '.join(FORMATS)}.")
    _require_subscription(company_id, report)
    recipient = _address(address)
    channel = CHANNELS[recipient.channel]
    if channel.one_event_each:
        raise ArgumentError(f"No report can go to {recipient}: {channel.name} takes failures and alerts.")
    if form not in {None, LINK} and not channel.takes_files:
        raise ArgumentError(f"No {form} can go to {recipient}: {channel.name} takes a link to the document.")
    parameters = {
        "company_id": company_id,
        "report": report,
        "channel": recipient.channel,
        "address": recipient.target,
        "default_format": PDF if channel.takes_files else LINK,
        "corrections": corrections,
        "format": form,
        "sets_time": send_at is not None,
        "send_at": None if send_at == AT_ONCE else send_at,
        "at_once": send_at == AT_ONCE,
        "zone": platform_zone,
    }
    with connection.transaction():
        is_change = connection.execute(load_query("recipient_add"), parameters).fetchone() is not None
        if is_change:
            options = {"corrections": corrections, "format": form, "at": send_at}
            details = {"company": company_id, "report": report, **{k: v for k, v in options.items() if v is not None}}
            audit.record(connection, "recipient.add", describe_address(recipient.channel, recipient.target), details)
    return is_change


def remove_recipient(connection: Connection, company_id: str | None, report: str, address: str) -> int:
    """Remove an address and return how many mails to it were taken back before they left.

    Raises ``AnalyticsError`` when it is no recipient of the report.
    """
    _require_subscription(company_id, report)
    removed, taken_back = _remove(connection, address, company_id=company_id, report=report)
    if not removed:
        raise AnalyticsError(
            f"{address} is no recipient of {report} for {describe_audience(company_id)}: see "
            "'analytics-pipeline recipients list'."
        )
    return taken_back


def remove_everywhere(connection: Connection, address: str) -> tuple[int, int]:
    """Remove an address from every report, and return from how many and how many mails were taken back.

    Raises ``AnalyticsError`` when it gets none.
    """
    removed, taken_back = _remove(connection, address)
    if not removed:
        raise AnalyticsError(f"{address} gets no report: see 'analytics-pipeline recipients list'.")
    return removed, taken_back


def list_recipients(
    connection: Connection, company_id: str | None = None, report: str | None = None, *, everywhere: bool = False
) -> list[Recipient]:
    """Return the recipients of a company's reports, None: of those over all companies; ``everywhere``: all."""
    rows = connection.execute(
        load_query("recipients"), {"company_id": company_id, "report": report, "everywhere": everywhere}
    ).fetchall()
    return [
        Recipient(company, name, describe_address(channel, address), *rest)
        for company, name, channel, address, *rest in rows
    ]


def describe_audience(company_id: str | None) -> str:
    """Say of whom a report is, in a sentence."""
    return "all companies" if company_id is None else f"the company {company_id!r}"


def _remove(
    connection: Connection, address: str, *, company_id: str | None = None, report: str | None = None
) -> tuple[int, int]:
    """Remove an address from a report, None: from all; return from how many and how many mails were taken back."""
    try:
        key = _key(parse_address(address))
    except ValueError:
        # One that is none, which an earlier release took, is removed as it is written.
        key = address.lower()
    parameters = {"company_id": company_id, "report": report, "address_key": key, "everywhere": report is None}
    with connection.transaction():
        removed, taken_back = fetch_row(connection, load_query("recipient_remove"), parameters)
        if removed:
            details = {"company": company_id, "report": report, "reports": removed, "mails taken back": taken_back}
            audit.record(connection, "recipient.remove", address, details)
    return int(removed), int(taken_back)


def _require_subscription(company_id: str | None, report: str) -> None:
    if report not in REPORTS:
        raise UnknownNameError(f"There is no report {report!r}: choose one of {', '.join(REPORTS)}.")
    if company_id is not None and not (0 < len(company_id) <= MAX_ID_CHARACTERS and company_id.isprintable()):
        raise ArgumentError(f"{company_id[:MAX_ID_CHARACTERS]!r} is no id of a company.")


def _address(address: str) -> Address:
    try:
        return parse_address(address)
    except ValueError as error:
        raise ArgumentError(f"{error}.") from error


def _key(address: Address) -> str:
    """Return ``address_key`` of the table."""
    return address.target.lower() if address.channel == MailChannel.name else address.key
