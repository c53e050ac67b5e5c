"""Ids of companies and users that were stored before ids had one form: finding them, and giving them that form."""

from dataclasses import dataclass
from typing import Final

from analytics_pipeline.errors import AnalyticsError, UnknownNameError
from analytics_pipeline.events.ids import UNSEEN_RANGES, to_id, visible_id
from analytics_pipeline.intake.rejection import RejectedEvent, shown
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection

# As PostgreSQL's regular expressions write it; no text of PostgreSQL holds the first character.
_UNSEEN_CLASS: Final = "[{}]".format("".join(f"\\U{max(first, 1):08X}-\\U{last:08X}" for first, last in UNSEEN_RANGES))


@dataclass(frozen=True, slots=True)
class StoredId:
    """A company (``user_id`` is None) or a user of it, under a name that no record could have today."""

    company_id: str
    user_id: str | None

    @property
    def name(self) -> str:
        """The id itself."""
        return self.company_id if self.user_id is None else self.user_id

    @property
    def present(self) -> str:
        """The name in the form that ids have today; empty if nothing of it can be seen."""
        return visible_id(self.name)

    def __str__(self) -> str:
        """Name it for people, unseen characters escaped."""
        company = f"company {self.company_id!a}"
        return company if self.user_id is None else f"user {self.user_id!a} of {company}"


def ids_stored_otherwise(connection: Connection) -> list[StoredId]:
    """Return users, then companies, whose ids are not in the form that ids have today.

    In this order all of them can be renamed: a user is found under the name that its company has now.
    """
    rows = connection.execute(load_query("ids_stored_otherwise"), {"unseen": _UNSEEN_CLASS}).fetchall()
    return sorted((StoredId(*row) for row in rows), key=lambda each: each.user_id is None)


def rename_id(connection: Connection, stored: StoredId, present: str) -> int:
    """Give a company or user another name, grants included, and return how many events bear it now.

    The former name stays an alias: a file that was taken before changes nothing when it is taken again. If there is a
    company or user of the new name, the two become one. Closed partitions become stale by it and are closed again;
    figures whose events have expired keep the former name. Works day by day on an autocommit connection; killed, the
    same call goes on. Raises ``AnalyticsError`` for a name that is no id.
    """
    try:
        checked = to_id(present, "the new name")
    except RejectedEvent as error:
        raise AnalyticsError(f"{stored} can't be renamed: {error.reason}") from error
    if checked == stored.name:
        raise AnalyticsError(f"{stored} is its name already: choose another one.")
    values = {"company": stored.company_id, "user": stored.user_id, "present": checked}
    with connection.transaction():
        # From now on, what comes in under the former name bears the new one.
        connection.execute(load_query("id_alias_add"), values)
    events = 0
    # One transaction a day: TimescaleDB notes the span from the first to the last changed row of each.
    for (day,) in connection.execute(load_query("id_event_days"), values).fetchall():
        with connection.transaction():
            connection.execute("SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
            statement = load_query("id_rename_company_events" if stored.user_id is None else "id_rename_user_events")
            events += connection.execute(statement, {**values, "day": day}).rowcount
    with connection.transaction():
        if stored.user_id is None:
            connection.execute("SELECT analytics_rename_company(%(company)s, %(present)s)", values)
        else:
            connection.execute("SELECT analytics_rename_user(%(company)s, %(user)s, %(present)s)", values)
        details = {"user": stored.user_id, "present": checked, "events": events}
        audit.record(connection, "id.rename", stored.company_id, details)
    return events


def find_stored(found: list[StoredId], company: str | None, user: str | None) -> list[StoredId]:
    """Return those of a company and user; each as stored, or with unseen characters escaped as ``ascii`` does.

    Raises ``AnalyticsError`` if there is none.
    """
    meant = [each for each in found if _is(each.company_id, company) and _is(each.user_id, user)]
    if not meant:
        raise UnknownNameError(
            f"No id stored in another form is {shown(company if user is None else user)}: see "
            "'analytics-pipeline ids list'."
        )
    return meant


def _is(name: str | None, said: str | None) -> bool:
    return said is None or (name is not None and said in (name, ascii(name)[1:-1]))
