"""The ``recipients`` commands: who gets which report by mail."""

from collections.abc import Callable
from datetime import time
from typing import Any

import click

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.cli.dates import TIME_OF_DAY
from analytics_pipeline.cli.options import allow_unknown_option, company_first, require_company
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.companies.calendar import (
    Calendar,
    all_calendars,
    calendar_in,
    calendar_of,
    platform_calendar,
    titled,
)
from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.addresses import configured_names, parse_address, require_configured
from analytics_pipeline.messages.recipients import (
    AT_ONCE,
    FORMATS,
    LINK,
    PDF,
    REPORTS,
    XLSX,
    AtOnce,
    add_recipient,
    describe_audience,
    list_recipients,
    remove_everywhere,
    remove_recipient,
)
from analytics_pipeline.settings import get_settings
from analytics_pipeline.text import printable_line

_FORMATS = {PDF: "as PDF", XLSX: "as XLSX", LINK: "as a link"}


class _AtTime(click.ParamType[Any]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> time | AtOnce:
        if value == "now":
            return AT_ONCE
        try:
            moment: time = TIME_OF_DAY.convert(value, param, ctx)
        except click.BadParameter:
            said = f"{value!r} is no time of day: write it like 07:30, or 'now'."
            raise click.BadParameter(said, ctx, param) from None
        return moment


def audience_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say whose report is meant."""
    for option in (
        click.option(
            "--report",
            type=click.Choice(REPORTS),
            default=MONTHLY_REPORT,
            show_default=True,
            help="Name of the report.",
        ),
        click.option("--all-companies", is_flag=True, help="The report over all companies together."),
        click.option("--company", help="The report of this company."),
    ):
        command = option(command)
    return command


def one_audience(company: str | None, *, all_companies: bool) -> str | None:
    """Return the company meant, None for all of them; raises ``click.UsageError`` unless exactly one was given."""
    if (company is None) != all_companies:
        raise click.UsageError("Say whose report is meant: either --company X or --all-companies.")
    return company


@click.group()
def recipients() -> None:
    """Say who gets which report by mail."""


@recipients.command("add")
@click.argument("address")
@click.option(
    "--corrections/--no-corrections",
    default=None,
    help="Whether a report that is corrected from now on is mailed again by itself; without it no, or as it is.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="What a mail brings: the document as PDF, its figures as XLSX, or a link to the document; without it PDF, or "
    "as it is.",
)
@click.option(
    "--at",
    type=_AtTime(),
    help="Time of day of the mails where the company is, 07:30; 'now': as soon as they may go. Without it 08:00 of the "
    "morning after the month, or as soon as they may go later, or as it is.",
)
@audience_options
@allow_unknown_option
def add(
    address: str,
    company: str | None,
    report: str,
    form: str | None,
    at: time | AtOnce | None,
    *,
    all_companies: bool,
    corrections: bool | None,
) -> None:
    """Have a report mailed to ADDRESS, the ones of months that have just ended included.

    Of an ADDRESS that gets the report already it changes what the options say: corrections, format, time of day. A
    company that no event names yet needs --allow-unknown.
    """
    audience = one_audience(company, all_companies=all_companies)
    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        require_company(connection, audience)
        calendar = calendar_of(connection, settings, audience)
        is_new = add_recipient(
            connection,
            audience,
            report,
            address,
            corrections=corrections,
            form=form,
            send_at=at,
            platform_zone=platform_calendar(connection, settings).time_zone,
        )
    also = {None: "", True: ", and corrections by themselves", False: ", and no corrections by themselves"}[corrections]
    also += "" if form is None else f", {_FORMATS[form]}"
    also += "" if at is None else f", {_described(at, calendar)}"
    echo(f"{address} {'gets' if is_new else 'already gets'} {report} of {describe_audience(audience)}{also}.")
    if form == LINK and not settings.artifacts_url:
        echo("ANALYTICS_ARTIFACTS_URL is not set: links name the place in the store of documents.", err=True)
    try:
        require_configured(parse_address(address), configured_names(settings))
    except (ValueError, AnalyticsError) as error:
        # The process that sends may have other settings than this one.
        echo(f"{str(error).rstrip('.')}. Until it does, nothing reaches {address}.", err=True)


@recipients.command("remove")
@click.argument("address")
@audience_options
@click.option("--everywhere", is_flag=True, help="Every report of every company: for somebody who unsubscribes.")
def remove(address: str, company: str | None, report: str, *, all_companies: bool, everywhere: bool) -> None:
    """Have a report no longer mailed to ADDRESS; mails that have not left yet are taken back."""
    if everywhere and (company is not None or all_companies):
        raise click.UsageError("Give either --everywhere, or --company X or --all-companies.")
    audience = None if everywhere else one_audience(company, all_companies=all_companies)
    with connect(autocommit=True) as connection, company_first(connection, audience):
        if everywhere:
            number, taken_back = remove_everywhere(connection, address)
            what = f"any report, of {number} there were"
        else:
            taken_back = remove_recipient(connection, audience, report, address)
            what = f"{report} of {describe_audience(audience)}"
    also = f"; {taken_back} mails that had not left were taken back" if taken_back else ""
    echo(f"{address} no longer gets {what}{also}.")


@recipients.command("list")
@click.option("--company", help="Only those of this company's reports.")
@click.option("--all-companies", is_flag=True, help="Only those of reports over all companies.")
@click.option("--report", type=click.Choice(REPORTS), help="Only those of this report.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_(company: str | None, report: str | None, *, all_companies: bool, as_json: bool) -> None:
    """Show who gets which report; without options everybody."""
    everywhere = company is None and not all_companies
    audience = None if everywhere else one_audience(company, all_companies=all_companies)
    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        found = list_recipients(connection, audience, report, everywhere=everywhere)
        calendars = all_calendars(connection, settings)
        if not found:
            require_company(connection, audience)
    if as_json:
        rows = [
            {
                "companyId": recipient.company_id,
                "companyName": recipient.company_id and calendar_in(calendars, recipient.company_id).name,
                "report": recipient.report,
                "address": recipient.address,
                "addedAt": f"{recipient.added_at:%Y-%m-%dT%H:%M:%SZ}",
                "corrections": recipient.corrections,
                "format": recipient.format,
                "sendAt": recipient.send_at and f"{recipient.send_at:%H:%M}",
                "atOnce": recipient.at_once,
                "timeZone": calendar_in(calendars, recipient.company_id).time_zone,
                "problem": recipient.problem,
            }
            for recipient in found
        ]
        echo_json(rows)
        return
    for recipient in found:
        calendar = calendar_in(calendars, recipient.company_id)
        notes = [
            "with corrections" if recipient.corrections else "",
            _FORMATS[recipient.format] if recipient.format != PDF else "",
            _described(AT_ONCE if recipient.at_once else recipient.send_at, calendar),
            f"last mail not delivered: {recipient.problem}" if recipient.problem is not None else "",
        ]
        whose = printable_line(titled(calendar) if recipient.company_id else "(all companies)")
        echo("  ".join([recipient.report, whose, recipient.address, *filter(None, notes)]))
    if not found:
        echo("Nobody gets a report yet: 'analytics-pipeline recipients add ADDRESS --all-companies' changes that.")


def _described(send_at: time | AtOnce | None, calendar: Calendar) -> str:
    if send_at == AT_ONCE:
        return "as soon as it may go"
    return "" if send_at is None else f"at {send_at:%H:%M} {calendar.time_zone}"
