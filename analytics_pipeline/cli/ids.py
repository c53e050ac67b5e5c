"""The ``ids`` commands: ids of companies and users in a form that no record could have today."""

import click

from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.rename import find_stored, ids_stored_otherwise, rename_id


@click.group()
def ids() -> None:
    """Show and rename ids of companies and users that are stored in another form than ids have today.

    Ids are stored in Unicode's normal form C, without control and zero-width characters. What was stored before that
    stays as it is until it is renamed.
    """


@ids.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_(*, as_json: bool) -> None:
    """Show the ids, unseen characters escaped, and the names they would get."""
    with connect(autocommit=True) as connection:
        found = ids_stored_otherwise(connection)
    if as_json:
        rows = [{"companyId": each.company_id, "userId": each.user_id, "present": each.present} for each in found]
        echo_json(rows)
        return
    for each in found:
        echo(f"{each}: {each.present!a}")
    if not found:
        echo("Every id is in the form that ids have today.")


@ids.command("rename")
@click.option("--company", help="Only this one and its users, as stored or as 'ids list' prints it.")
@click.option("--user", help="Only this user, as stored or as 'ids list' prints it.")
@click.option("--to", "present", help="The new name; default: the one that 'ids list' shows.")
@click.option("--json", "as_json", is_flag=True, help="Print what was renamed as JSON.")
def rename(company: str | None, user: str | None, present: str | None, *, as_json: bool) -> None:
    """Rename the ids that 'ids list' shows, or those that are named: events, grants, recipients and all else.

    The former name stays an alias, so that the same file again changes nothing. A company or user that has the new
    name already and the renamed one become one. Closed partitions of the events are closed again by themselves;
    figures whose events have expired keep the former name.
    """
    renamed = []
    with connect(autocommit=True) as connection:
        found = ids_stored_otherwise(connection)
        meant = find_stored(found, company, user) if company is not None or user is not None else found
        if present is not None:
            # A name for a company is none for its users.
            meant = [each for each in meant if user is not None or each.user_id is None]
            if len(meant) != 1:
                raise click.UsageError(f"--to names one id, and {len(meant)} are meant: add --company or --user.")
        for each in meant:
            name = present if present is not None else each.present
            if not name:
                raise AnalyticsError(f"Nothing of {each} can be seen: name it with --to.")
            events = rename_id(connection, each, name)
            renamed.append({"companyId": each.company_id, "userId": each.user_id, "present": name, "events": events})
            if not as_json:
                echo(f"{each} is {name} now, with {events:,} events.")
    if as_json:
        echo_json(renamed)
    elif not renamed:
        echo("Every id is in the form that ids have today.")
