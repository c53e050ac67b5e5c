"""The ``companies`` commands: what companies are called, and in which zone, currency and locale their figures are."""

from pathlib import Path

import click
from rich.table import Table

from analytics_pipeline.cli.ingest import SOME_REJECTED, new_rejects_path
from analytics_pipeline.cli.options import allow_unknown_option, require_company
from analytics_pipeline.cli.terminal import data_console, echo, echo_json
from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.companies.company_store import CompanyRow, list_companies, remove_company, store_companies
from analytics_pipeline.companies.company_values import COMPANY, CompanyParser
from analytics_pipeline.companies.csv_companies import ImportedCompanies, import_companies
from analytics_pipeline.database import connect
from analytics_pipeline.errors import ArgumentError
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.intake.rejects import RejectsFile
from analytics_pipeline.settings import get_settings

_OR_EMPTY = "; '': as the ERP or the platform has it."


@click.group()
def companies() -> None:
    """Say what companies are called, and in which time zone, currency and locale their figures are.

    What a company leaves open is as the platform has it: ANALYTICS_TIME_ZONE, ANALYTICS_BASE_CURRENCY and
    ANALYTICS_LOCALE. Ids stay what companies are asked for by.
    """


@companies.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON; null: as the platform has it.")
def list_(*, as_json: bool) -> None:
    """Show what is known of companies, and what the platform has; * is what was set by hand."""
    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        platform = platform_calendar(connection, settings)
        found = list_companies(connection)
    if as_json:
        shared = {"timeZone": platform.time_zone, "currency": platform.currency, "locale": platform.locale}
        echo_json({"platform": shared, "companies": [_as_json(row) for row in found]})
        return
    table = Table()
    for heading in ("company", "name", "time zone", "currency", "locale", "test"):
        table.add_column(heading)
    table.add_row("(platform)", "", platform.time_zone, platform.currency, platform.locale, "")
    for row in found:
        table.add_row(
            row.company_id,
            *(
                f"{value or ''}{'*' if field in row.by_hand else ''}"
                for field, value in (
                    ("name", row.name),
                    ("time_zone", row.time_zone),
                    ("currency", row.currency),
                    ("locale", row.locale),
                    ("is_test", "yes" if row.is_test else ""),
                )
            ),
        )
    data_console().print(table)


@companies.command("set")
@click.argument("company")
@click.option("--name", help=f"What people read for its id{_OR_EMPTY}")
@click.option("--time-zone", help=f"Where its days and months begin, Europe/Berlin{_OR_EMPTY}")
@click.option("--currency", help=f"Its reporting currency, a code of ISO 4217 or a ticker with rates{_OR_EMPTY}")
@click.option("--locale", help=f"Notation and words of its documents and alerts, de_CH{_OR_EMPTY}")
@click.option("--test/--no-test", "is_test", default=None, help="Whether figures over all companies leave it out.")
@allow_unknown_option
def set_(
    company: str,
    name: str | None,
    time_zone: str | None,
    currency: str | None,
    locale: str | None,
    *,
    is_test: bool | None,
) -> None:
    """Set what the options say of COMPANY; the rest stays as it is.

    It stays as it is set, whatever an ERP says. With another time zone or currency its closed days and months are
    computed again by themselves, those of other companies aren't.
    """
    options = {"name": name, "time_zone": time_zone, "currency": currency, "locale": locale, "is_test": is_test}
    given = {field: value for field, value in options.items() if value is not None}
    if not given:
        raise click.UsageError("Say what is to be set: --name, --time-zone, --currency, --locale or --test.")
    with connect(autocommit=True) as connection:
        require_company(connection, company)
        try:
            values = CompanyParser(connection).parse({COMPANY: company, **given})
        except RejectedEvent as error:
            raise ArgumentError(error.reason) from error
        with connection.transaction():
            changed = store_companies(connection, [values], by_hand=True)
    said = ", ".join(f"{field} {_said(value)}" for field, value in values.fields.items())
    echo(f"{values.company_id}: {said}{'' if changed else ', as it was'}.")


@companies.command("remove")
@click.argument("company")
def remove(company: str) -> None:
    """Remove what is known of COMPANY beside its events; the platform's settings count for it from then on."""
    with connect(autocommit=True) as connection:
        remove_company(connection, company)
    echo(f"{company} has the platform's settings now.")


@companies.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON Lines file for rejected lines; default: a new one in ANALYTICS_HOME/rejects.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def import_(context: click.Context, file: Path, rejects: Path | None, *, as_json: bool) -> None:
    """Set companies as FILE says: CSV with the column company_id and any of name, time_zone, currency, locale, is_test.

    A column that is not there stays as it is; an empty cell is as the ERP or the platform has it. Everything goes in
    together, any number of times. Lines that can't be a company are kept, with line number and reason, in the rejects
    file and in analytics_ingest_rejects; the rest goes in.

    Exit status: 0 everything is in, 3 some lines were rejected, 1 the file or the database couldn't be used.
    """
    settings = get_settings()
    path = rejects or new_rejects_path("companies")
    with connect(settings, autocommit=True) as connection:
        imported = import_companies(connection, file, rejects_kept=settings.rejects_kept)
    with RejectsFile(path) as kept:
        for reject in imported.rejects:
            kept.add(reject)
        kept.add_counts(imported.limit)
    if as_json:
        echo_json(_summary(imported, path))
    else:
        echo(_described(imported, path))
    if imported.rejected:
        context.exit(SOME_REJECTED)


def _summary(imported: ImportedCompanies, path: Path) -> dict[str, object]:
    return {
        "read": imported.read,
        "new": imported.new,
        "changed": imported.changed,
        "unchanged": imported.unchanged,
        "rejected": imported.rejected,
        "reasons": dict(imported.reasons.most_common()),
        "rejects": str(path.absolute()) if imported.rejected else None,
    }


def _described(imported: ImportedCompanies, path: Path) -> str:
    lines = [
        f"{imported.read:,} companies read: {imported.new:,} new, {imported.changed:,} changed, "
        f"{imported.unchanged:,} as they were, {imported.rejected:,} rejected"
    ]
    lines += [f"line {reject.line}: {reject.reason}" for reject in imported.rejects]
    if imported.rejected:
        lines.append(f"kept in {path.absolute()}")
    return "\n".join(lines)


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "as the ERP or the platform has it" if value is None else repr(value)


def _as_json(row: CompanyRow) -> dict[str, object]:
    return {
        "companyId": row.company_id,
        "name": row.name,
        "timeZone": row.time_zone,
        "currency": row.currency,
        "locale": row.locale,
        "isTest": row.is_test,
        "byHand": list(row.by_hand),
        "changedAt": row.changed_at,
    }
