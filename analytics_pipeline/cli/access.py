"""The ``access`` commands: which role reads which company's figures, logins, and what operators did."""

import json
import shlex
import sys
from collections.abc import Callable
from typing import TextIO

import click
from psycopg import sql

from analytics_pipeline.cli.options import allow_unknown_option, company_first, require_company
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.metrics.access import (
    READER,
    confirm_grants,
    describe_company,
    grant_company,
    list_grants,
    revoke_company,
)
from analytics_pipeline.metrics.logins import LOGIN_KINDS, LoginPlan, make_login, plan_login
from analytics_pipeline.text import printable_line
from analytics_pipeline.timescale.audit import Act, list_acts

# Click breaks no lines of a paragraph that begins with \b.
_LOGIN_HELP = "\n".join(
    [
        "Print the statements that make NAME a login, or run them.",
        "",
        "They are for psql, as an administrator: its \\password asks for the password. ROLE is one of:",
        "",
        "\b",
        *(f"{kind:<10} {each.purpose}" for kind, each in LOGIN_KINDS.items()),
    ]
)


def _company_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--all-companies", is_flag=True, help="Every company, those to come included."),
        click.option("--company", help="This company."),
    ):
        command = option(command)
    return command


def _one_company(company: str | None, *, all_companies: bool) -> str | None:
    if (company is None) != all_companies:
        raise click.UsageError("Say which company is meant: either --company X or --all-companies.")
    return company


@click.group()
def access() -> None:
    """Say who may do what in the database: logins, and which company's figures each reads; show what was done."""


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


@access.command("confirm")
@click.argument("role", required=False)
@click.option("--all", "all_roles", is_flag=True, help="The grants of every role.")
def confirm(role: str | None, *, all_roles: bool) -> None:
    """Let grants of ROLE hold that no longer do, because the role has another number than when it was granted.

    That is so after a restore on another server, and for a role that was dropped and made again. Confirm only if it is
    the same person.
    """
    if (role is None) != all_roles:
        raise click.UsageError("Say whose grants are meant: either ROLE or --all.")
    with connect(autocommit=True) as connection:
        confirmed = confirm_grants(connection, role)
    for grant in confirmed:
        echo(f"{grant.role} may read {describe_company(grant.company_id)} again.")
    if not confirmed:
        echo("Every grant holds." if role is None else f"{printable_line(role)} has no grant that doesn't hold.")


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
        echo_json(rows)
        return
    for each in found:
        note = "" if each.holds else " (no longer holds: the role was renamed, or dropped and made again)"
        echo(f"{each.role}: {describe_company(each.company_id)}{note}")
    if not found:
        echo("Nobody has grants." if role is None else f"{printable_line(role)} has no grants.")


@access.command("login", help=_LOGIN_HELP)
@click.argument("role", type=click.Choice(list(LOGIN_KINDS)), metavar="ROLE")
@click.argument("name")
@click.option("--run", is_flag=True, help="Run the statements; asks for the password of a new login.")
@click.option(
    "--password-file",
    type=click.File(),
    help="With --run: a file whose first line is the password, '-' for standard input.",
)
@click.option("--no-password", is_flag=True, help="With --run: without a password, for other ways of logging in.")
def login(role: str, name: str, *, run: bool, password_file: TextIO | None, no_password: bool) -> None:
    """Print the statements that make a login, or run them."""
    if not run and (password_file is not None or no_password):
        raise click.UsageError("--password-file and --no-password belong to --run: nothing is run without it.")
    with connect(autocommit=True) as connection:
        plan = plan_login(connection, role, name)
        if not run:
            echo(_script(plan))
            return
        make_login(connection, plan, None if no_password else _password(plan, password_file))
    echo(f"{name} may log in: it {LOGIN_KINDS[role].purpose}.")
    if role == "reader":
        echo(
            f"It sees nothing yet; of a company:\nanalytics-pipeline access grant {shlex.quote(name)} --company COMPANY"
        )


def _script(plan: LoginPlan) -> str:
    lines = [f"{statement.as_string()};" for statement in plan.statements]
    if plan.is_new:
        lines.insert(1, f"\\password {sql.Identifier(plan.name).as_string()}")
    return "\n".join(lines)


def _password(plan: LoginPlan, file: TextIO | None) -> str | None:
    if file is not None:
        password = file.readline().rstrip("\r\n")
    elif not plan.is_new:
        return None
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise click.UsageError(
            "There is no terminal to ask for the password at: give --password-file or --no-password."
        )
    if not password:
        raise AnalyticsError("The password is empty: nothing was changed.")
    return str(password)


@access.command("audit")
@click.option("--act", help="Only acts of this kind: grant.add, or all that begin with grant.")
@click.option("--subject", help="Only acts on this role, address, relation or message.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many of them at most.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def audit(act: str | None, subject: str | None, limit: int, *, as_json: bool) -> None:
    """Show what operators did, the newest first: grants, logins, policies, recipients, messages, other names for ids.

    Each was kept in the transaction of the act. The table is only ever added to.
    """
    with connect(autocommit=True) as connection:
        acts = list_acts(connection, act=act, subject=subject, limit=limit)
    if as_json:
        echo_json([_act_as_json(each) for each in acts])
        return
    for each in acts:
        details = json.dumps(each.details, ensure_ascii=False) if each.details else ""
        who = f"{each.session_role} ({each.actor})"
        line = [f"{each.happened_at:%Y-%m-%d %H:%M:%S} UTC", who, each.act, each.subject, details]
        echo(printable_line("  ".join(filter(None, line))))
    if not acts:
        echo("No such act is known.")


def _act_as_json(act: Act) -> dict[str, object]:
    return {
        "id": act.audit_id,
        "at": f"{act.happened_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "role": act.session_role,
        "actor": act.actor,
        "act": act.act,
        "subject": act.subject,
        "details": act.details,
    }
