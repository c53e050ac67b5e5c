"""The ``access`` commands: which role reads which company's figures."""

import json
from collections.abc import Callable

import click

from analytics_pipeline.cli_options import allow_unknown_option, company_first, require_company
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.metrics.access import READER, describe_company, grant_company, list_grants, revoke_company
from analytics_pipeline.terminal import echo
from analytics_pipeline.timescale.connection import connect


def _company_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--all-companies", is_flag=True, help="Every company, those to come included."),
        click.option("--company", help="This company."),
    ):
        command = option(command)
    return command


def _one_company(company: str | None, *, all_companies: bool) -> str | None:
    if (company is None) != all_companies:
        raise AnalyticsError("Say which company is meant: either --company X or --all-companies.")
    return company


@click.group()
def access() -> None:
    """Say which role of the database reads which company's figures."""


@access.command("grant")
@click.argument("role")
@_company_options
@allow_unknown_option
def grant(role: str, company: str | None, *, all_companies: bool) -> None:
    """Let ROLE, which logs in, read a company's figures; without a grant it reads none.

    A company that no event names yet needs --allow-unknown.
    """
    granted = _one_company(company, all_companies=all_companies)
    with connect(autocommit=True) as connection:
        require_company(connection, granted)
        is_new = grant_company(connection, role, granted)
    echo(f"{role} {'may read' if is_new else 'may already read'} {describe_company(granted)}.")


@access.command("revoke")
@click.argument("role")
@_company_options
def revoke(role: str, company: str | None, *, all_companies: bool) -> None:
    """Take a grant back from ROLE; with the last one it loses the right to read any figures."""
    revoked = _one_company(company, all_companies=all_companies)
    with connect(autocommit=True) as connection, company_first(connection, revoked):
        is_last = revoke_company(connection, role, revoked)
    rest = f": it was the last grant, and {READER} is taken from it" if is_last else ""
    echo(f"{role} may no longer read {describe_company(revoked)}{rest}.")


@access.command("list")
@click.argument("role", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_(role: str | None, *, as_json: bool) -> None:
    """Show the grants of ROLE, or of every role."""
    with connect(autocommit=True) as connection:
        found = list_grants(connection, role)
    if as_json:
        rows = [
            {
                "role": each.role,
                "companyId": each.company_id,
                "grantedAt": f"{each.granted_at:%Y-%m-%dT%H:%M:%SZ}",
                "holds": each.holds,
            }
            for each in found
        ]
        echo(json.dumps(rows))
        return
    for each in found:
        note = "" if each.holds else " (no longer holds: the role was renamed, or dropped and made again)"
        echo(f"{each.role}: {describe_company(each.company_id)}{note}")
    if not found:
        echo("Nobody has grants.")
