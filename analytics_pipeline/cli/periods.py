"""The ``periods`` commands: which months are signed off, and what differs from the signed figures since."""

from collections.abc import Callable, Sequence
from datetime import UTC, date
from decimal import Decimal

import click

from analytics_pipeline.cli.dates import MONTH
from analytics_pipeline.cli.options import require_company
from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.database import connect
from analytics_pipeline.metrics.answers import signoff_answer
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.metrics.signoffs import (
    Restatement,
    SignOff,
    month_of,
    read_signoffs,
    sign_month,
    withdraw_signoffs,
)
from analytics_pipeline.settings import get_settings
from analytics_pipeline.text import printable_line
from analytics_pipeline.windows import Window

_MONTH = click.argument("month", metavar="MONTH", type=MONTH)


def _company_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--company", help="One company; without it all of them, and all together.")(command)


@click.group(
    epilog=examples(
        "periods sign-off 2025-01 --by 'Ann Smith'",
        "periods restatements --company acme",
        "periods withdraw 2025-01 --by 'Ann Smith' --reason 'invoice 4711 was missing'",
    )
)
def periods() -> None:
    """Sign months off, and show what has changed in signed months since (docs/sign-off.md)."""


@periods.command("sign-off")
@_MONTH
@click.option("--by", required=True, metavar="NAME", help="Who signs.")
@_company_option
@click.option("--json", "as_json", is_flag=True, help="Print what is signed as JSON.")
def sign_off(month: date, by: str, company: str | None, *, as_json: bool) -> None:
    """Keep the figures and the documents of MONTH, such as 2026-10, as they are.

    Only a month that is over, closed and not stale, and whose checks hold, can be signed; else the reasons are listed.
    """
    window = _window(month)
    with connect(autocommit=True) as connection:
        require_company(connection, company)
        platform = platform_calendar(connection, get_settings())
        signed = sign_month(
            connection, window, by, platform.currency, company, actor=None, time_zone=platform.time_zone
        )
    if as_json:
        echo_json({"month": f"{month:%Y-%m}", "signedBy": by, "signed": signed})
    else:
        echo(f"{month:%Y-%m} is signed off for {_whose(signed)} by {by}.")


@periods.command("withdraw")
@_MONTH
@click.option("--by", required=True, metavar="NAME", help="Who withdraws it.")
@click.option("--reason", required=True, help="Why; it is kept.")
@_company_option
@click.option("--json", "as_json", is_flag=True, help="Print what was withdrawn as JSON.")
def withdraw(month: date, by: str, reason: str, company: str | None, *, as_json: bool) -> None:
    """Withdraw the sign-off of MONTH; what was kept stays in the database."""
    window = _window(month)
    with connect(autocommit=True) as connection:
        require_company(connection, company)
        withdrawn = withdraw_signoffs(connection, window, by, reason, company, actor=None)
    if as_json:
        echo_json({"month": f"{month:%Y-%m}", "withdrawnBy": by, "withdrawn": withdrawn})
    else:
        echo(f"The sign-off of {month:%Y-%m} is withdrawn for {_whose(withdrawn)}.")


@periods.command("list")
@_company_option
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_(company: str | None, *, as_json: bool) -> None:
    """Show which months are signed off, by whom, and which sign-offs were withdrawn."""
    found = _read(company, None, withdrawn=True)
    if as_json:
        echo_json([signoff_answer(signoff) for signoff in found])
        return
    for signoff in found:
        echo(printable_line(f"{_heading(signoff)}{_state(signoff)}"))
    if not found:
        echo("No month is signed off.")


@periods.command("restatements")
@click.argument("month", metavar="[MONTH]", type=MONTH, required=False)
@_company_option
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def restatements(month: date | None, company: str | None, *, as_json: bool) -> None:
    """Show the figures of signed months that differ from the signed ones, by how much, and why; of MONTH or of all."""
    signed = _read(company, month)
    found = [signoff for signoff in signed if signoff.is_restated or signoff.differs_by_definition]
    if as_json:
        echo_json([signoff_answer(signoff) for signoff in found])
        return
    for signoff in found:
        echo(printable_line(_heading(signoff)))
        for restated in signoff.restatements:
            echo(f"    {_line(restated, signoff.currency)}")
        for cause in signoff.causes:
            echo(f"    because of {printable_line(str(cause))}")
    if not signed:
        echo("No month is signed off." if month is None else f"{month:%Y-%m} is not signed off.")
    elif not found:
        echo("Every figure of the signed months is as it was signed.")


def _read(company: str | None, month: date | None, *, withdrawn: bool = False) -> list[SignOff]:
    window = None if month is None else _window(month)
    with connect(autocommit=True) as connection:
        require_company(connection, company)
        return read_signoffs(connection, company, window, withdrawn=withdrawn)


def _window(month: date) -> Window:
    # It refuses years that no event is of.
    return month_of(f"{month:%Y-%m}")


def _heading(signoff: SignOff) -> str:
    whose = "all companies" if signoff.company_id is None else signoff.company_id
    return f"{signoff.period} {whose}: signed by {signoff.signed_by} on {signoff.signed_at.astimezone(UTC):%Y-%m-%d}"


def _state(signoff: SignOff) -> str:
    if signoff.withdrawal is not None:
        withdrawal = signoff.withdrawal
        return f", withdrawn by {withdrawal.by} on {withdrawal.at.astimezone(UTC):%Y-%m-%d}: {withdrawal.because}"
    if signoff.restatements:
        number = len(signoff.restatements)
        return f", {number} {'figure differs' if number == 1 else 'figures differ'} since"
    return f", since then {signoff.causes[0]}" if signoff.causes else ""


def _line(restated: Restatement, currency: str) -> str:
    unit = {Unit.MONEY: f", {currency}", Unit.PERCENT: ", %"}.get(restated.unit, "")
    before, after = _number(restated.before), _number(restated.after)
    difference = "" if restated.difference is None else f" ({restated.difference:+f})"
    return f"{restated.label}{unit}: {after}, signed {before}{difference}"


def _whose(companies: Sequence[str | None]) -> str:
    named = [company for company in companies if company is not None]
    if None not in companies:
        return printable_line(", ".join(named))
    return f"all companies together and {len(named)} of them" if named else "all companies together"


def _number(value: Decimal | None) -> str:
    return "undefined" if value is None else f"{value:f}"
