"""``analytics-pipeline erase``: forgets a person, or a company."""

from functools import partial

import click

from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import confirm, echo, echo_json
from analytics_pipeline.companies.known import is_known_company
from analytics_pipeline.database import connect
from analytics_pipeline.erasure import erase as erasing
from analytics_pipeline.erasure.all_places import all_places
from analytics_pipeline.erasure.subject import Subject
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import get_settings
from analytics_pipeline.signals import describing


@click.command("erase", epilog=examples("erase --company acme --user ann@example.com", "erase --company acme --yes"))
@click.option("--company", required=True, help="The company whose user is erased, or which is erased itself.")
@click.option("--user", help="The person to be erased, as the events name them; without it the company is removed.")
@click.option("--texts", is_flag=True, help="Look for the id within texts, though it is an ordinary word or number.")
@click.option("--yes", is_flag=True, help="Go on without asking, for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def erase(company: str, user: str | None, *, texts: bool, yes: bool, as_json: bool) -> None:
    """Erase a person, or remove a company, wherever they are kept: the right to be forgotten.

    A person's ids and metadata are replaced by a random pseudonym, and every figure stays as it is. Of a company every
    row goes, and figures over all companies are computed again where events are there. Shows first what is touched,
    and asks. In the end every table and file is searched: where something is left, it is named, and the exit status is
    1. Places that may hold the id as a part of a longer word (sub-user-17) are left alone and named. Interrupted, the
    same command goes on.
    """
    settings = get_settings()
    with connect(settings, autocommit=True) as connection:
        erasing.require_owner(connection)
        subject = erasing.subject_of(
            connection, company, user, in_texts=texts, is_known=partial(is_known_company, connection)
        )
        places = all_places(connection, settings)
        counts = erasing.count(places, subject)
        _show(subject, counts, err=as_json)
        confirm("Erase it? It can't be taken back.", yes=yes)
        with describing(lambda: "some places are done, none is half done; the same command goes on."):
            done = erasing.erase(connection, places, subject, counts)
    if as_json:
        fields = {
            "erasure": done.erasure_id,
            "pseudonym": done.pseudonym,
            "touched": done.touched,
            "left": done.left,
            "suspected": done.suspected,
            "notReached": erasing.NOT_REACHED,
        }
        echo_json(fields)
    else:
        echo(f"Erased as {done.pseudonym}, erasure {done.erasure_id}.")
        echo("Not reached are:")
        for line in erasing.NOT_REACHED:
            echo(f"  {line}")
    if done.suspected:
        echo("These may hold the id as a part of a longer word, and were left alone: look whose it is there.", err=True)
        for line in done.suspected:
            echo(f"  {line}", err=True)
    if done.left:
        raise AnalyticsError(f"Not everything could be erased. Left is {'; '.join(done.left)}. Repeat the command.")


def _show(subject: Subject, counts: dict[str, int], *, err: bool) -> None:
    what = (
        "Removed is what is kept of the company:" if subject.is_company else "A pseudonym takes the person's place in:"
    )
    echo(what, err=err)
    for name, number in counts.items():
        echo(f"  {name}: {number:,}", err=err)
    if not counts:
        echo("  nothing that is kept now", err=err)
    if len(subject.told) < len(subject.ids):
        echo(
            "An id of it is an ordinary word or number: within longer texts that is not looked for; --texts does so.",
            err=err,
        )
