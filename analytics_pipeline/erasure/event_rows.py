"""Events, in compressed chunks too, with what the ERP's ledger knows of them, and the stored rows of aggregates."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from psycopg import sql

from analytics_pipeline.erasure.subject import Subject
from analytics_pipeline.erp.ledger import Ledger
from analytics_pipeline.events.exact_json import parse_json, to_json
from analytics_pipeline.events.model import AnalyticsEvent
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row

_EVENTS = "analytics_events"
# Everything that is changed may lie in compressed chunks: what of them is unpacked has no limit of its own then.
_UNLIMITED = "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0"


class StoredEvents:
    """The hypertable, day by day: TimescaleDB notes the span from first to last changed row of a transaction."""

    def __init__(self, connection: Connection) -> None:
        """Take an autocommit connection."""
        self._connection = connection

    def count(self, subject: Subject) -> Mapping[str, int]:
        """Count the events of the company or person, and those that name the person in their metadata."""
        return {_EVENTS: fetch_row(self._connection, load_query("erasure_events"), _parameters(subject))[0]}

    def erase(self, subject: Subject) -> None:
        """Remove the company's events; give the person's the pseudonym, and of the metadata keep what figures need."""
        days = self._connection.execute(load_query("erasure_event_days"), _parameters(subject)).fetchall()
        for (day,) in days:
            with self._connection.transaction():
                self._connection.execute(_UNLIMITED)
                if subject.is_company:
                    self._connection.execute(load_query("erasure_delete_events"), {**_parameters(subject), "day": day})
                else:
                    self._conceal(subject, day)

    def search(self, subject: Subject) -> Iterator[str]:
        """Look for the ids in every column."""
        if subject.is_company:
            if number := self.count(subject)[_EVENTS]:
                yield f"{_EVENTS}: {number:,} events"
            return
        left = 0
        for is_theirs, text in self._connection.execute(load_query("erasure_event_texts"), _parameters(subject)):
            left += is_theirs or subject.text(text) != text
        if left:
            yield f"{_EVENTS}: {left:,} events"

    def suspect(self, subject: Subject) -> Iterator[str]:
        """Look through the same columns."""
        if subject.is_company:
            return
        rows = self._connection.execute(load_query("erasure_event_texts"), _parameters(subject))
        if number := sum(subject.suspects(text) for _, text in rows):
            yield f"{_EVENTS}: {number:,} events"

    def _conceal(self, subject: Subject, day: datetime) -> None:
        rows = self._connection.execute(load_query("erasure_events_of_day"), {**_parameters(subject), "day": day})
        events = [AnalyticsEvent._make([*row[:-1], parse_json(row[-1])]) for row in rows.fetchall()]
        concealed = [(event, *subject.concealed(event.user_id, event.metadata)) for event in events]
        changed = [
            event._replace(user_id=user_id, metadata=metadata)
            for event, user_id, metadata in concealed
            if (user_id, metadata) != (event.user_id, event.metadata)
        ]
        if not changed:
            return
        values = {
            **_parameters(subject),
            "day": day,
            "event_ids": [event.event_id for event in changed],
            "timestamps": [event.timestamp for event in changed],
            "user_ids": [event.user_id for event in changed],
            "metadata": [to_json(event.metadata) for event in changed],
        }
        self._connection.execute(load_query("erasure_update_events"), values)
        # As the next pass over the ERP will make of its rows.
        Ledger(self._connection).correct(changed)


class AggregateRows:
    """The stored rows of continuous aggregates, in place: a refresh would only reach those whose events are there."""

    def __init__(self, connection: Connection) -> None:
        """Take an autocommit connection."""
        self._connection = connection

    def count(self, subject: Subject) -> Mapping[str, int]:
        """Count the rows by their aggregate."""
        return {name: self._count(table, column, subject) for name, table, column in self._tables(subject)}

    def erase(self, subject: Subject) -> None:
        """Give the person's rows the pseudonym, or remove the company's."""
        for _, table, column in self._tables(subject):
            with self._connection.transaction():
                self._connection.execute(_UNLIMITED)
                for id_, pseudonym in subject.stored_as.items():
                    if subject.is_company:
                        self._connection.execute(sql.SQL("DELETE FROM {} WHERE company_id = %s").format(table), [id_])
                    else:
                        change = sql.SQL("UPDATE {} SET {} = %s WHERE company_id = %s AND {} = %s")
                        values = [pseudonym, subject.company_id, id_]
                        self._connection.execute(change.format(table, column, column), values)

    def search(self, subject: Subject) -> Iterator[str]:
        """Look for rows of the ids."""
        for name, number in self.count(subject).items():
            if number:
                yield f"{name}: {number:,} rows"

    def suspect(self, _: Subject) -> Iterator[str]:
        """Name none: they hold ids by themselves alone."""
        yield from ()

    def _tables(self, subject: Subject) -> list[tuple[str, sql.Identifier, sql.Identifier]]:
        """Return the aggregates that have a column of ids: name, table of the stored rows, column."""
        columns = ["company_id"] if subject.is_company else ["user_id"]
        found = self._connection.execute(load_query("erasure_aggregates"), {"columns": columns}).fetchall()
        return [(name, sql.Identifier(schema, table), sql.Identifier(column)) for name, schema, table, column in found]

    def _count(self, table: sql.Identifier, column: sql.Identifier, subject: Subject) -> int:
        query = sql.SQL("SELECT count(*) FROM {} WHERE company_id = %s AND {} = ANY (%s)").format(table, column)
        number: int = fetch_row(self._connection, query, [subject.company_id, subject.ids])[0]
        return number


def _parameters(subject: Subject) -> dict[str, Any]:
    return {
        "company": subject.company_id,
        "users": None if subject.is_company else subject.ids,
        "patterns": subject.patterns if subject.in_texts else [],
    }
