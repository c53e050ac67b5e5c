"""The ``recipients`` commands: who gets which report by mail."""

import json
from collections.abc import Callable

import click

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.reports.documents import MONTHLY_REPORT
from analytics_pipeline.reports.recipients import (
    add_recipient,
    describe_audience,
    is_known_company,
    list_recipients,
    remove_recipient,
)
from analytics_pipeline.timescale.connection import connect


def audience_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say whose report is meant."""
    for option in (
        click.option("--report", default=MONTHLY_REPORT, show_default=True, help="Name of the report."),
        click.option("--all-companies", is_flag=True, help="The report over all companies together."),
        click.option("--company", help="The report of this company."),
    ):
        command = option(command)
    return command


def one_audience(company: str | None, *, all_companies: bool) -> str | None:
    """Return the company meant, None for all of them; raises ``AnalyticsError`` unless exactly one was given."""
    if (company is None) != all_companies:
        raise AnalyticsError("Say whose report is meant: either --company X or --all-companies.")
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
@audience_options
def add(address: str, company: str | None, report: str, *, all_companies: bool, corrections: bool | None) -> None:
    """Have a report mailed to ADDRESS, the ones of months that have just ended included.

    Of an ADDRESS that gets the report already it changes whether corrections are mailed to it.
    """
    audience = one_audience(company, all_companies=all_companies)
    with connect(autocommit=True) as connection:
        is_new = add_recipient(connection, audience, report, address, corrections=corrections)
        unknown = company is not None and not is_known_company(connection, company)
    also = {None: "", True: ", and corrections by themselves", False: ", and no corrections by themselves"}[corrections]
    click.echo(f"{address} {'gets' if is_new else 'already gets'} {report} of {describe_audience(audience)}{also}.")
    if unknown:
        click.echo(f"There is no event of {describe_audience(company)} yet: is it spelled as in the events?", err=True)


@recipients.command("remove")
@click.argument("address")
@audience_options
def remove(address: str, company: str | None, report: str, *, all_companies: bool) -> None:
    """Have a report no longer mailed to ADDRESS; mails that have not left yet are taken back."""
    audience = one_audience(company, all_companies=all_companies)
    with connect(autocommit=True) as connection:
        taken_back = remove_recipient(connection, audience, report, address)
    also = f"; {taken_back} mails that had not left were taken back" if taken_back else ""
    click.echo(f"{address} no longer gets {report} of {describe_audience(audience)}{also}.")


@recipients.command("list")
@click.option("--company", help="Only those of this company's reports.")
@click.option("--all-companies", is_flag=True, help="Only those of reports over all companies.")
@click.option("--report", help="Only those of this report.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_(company: str | None, report: str | None, *, all_companies: bool, as_json: bool) -> None:
    """Show who gets which report; without options everybody."""
    everywhere = company is None and not all_companies
    audience = None if everywhere else one_audience(company, all_companies=all_companies)
    with connect(autocommit=True) as connection:
        found = list_recipients(connection, audience, report, everywhere=everywhere)
    if as_json:
        rows = [
            {
                "companyId": recipient.company_id,
                "report": recipient.report,
                "address": recipient.address,
                "addedAt": f"{recipient.added_at:%Y-%m-%dT%H:%M:%SZ}",
                "corrections": recipient.corrections,
            }
            for recipient in found
        ]
        click.echo(json.dumps(rows))
        return
    for recipient in found:
        corrections = "  with corrections" if recipient.corrections else ""
        click.echo(f"{recipient.report}  {recipient.company_id or '(all companies)'}  {recipient.address}{corrections}")
    if not found:
        click.echo("Nobody gets a report yet: 'analytics-pipeline recipients add' changes that.")
