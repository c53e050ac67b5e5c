"""Events that are stated in two ways: by a later record that contradicts them, or under one id at two instants.

Which of the two is right is for a person to say. So both are warnings, and both name what settles them.
"""

import shlex
from datetime import datetime, timedelta

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.erp.record_source import CHANGED
from analytics_pipeline.events.contradictions import ARCHIVE
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation, close_command
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.hypertable import hypertable_status
from analytics_pipeline.windows import Window

CONTRADICTIONS = "events_contradicted"
TWO_INSTANTS = "one_id_at_two_instants"
LOOK_BACK = timedelta(days=35)
# Up to so many events all ids are compared (some seconds), beyond it an even share of them.
MAX_IDS = 2_000_000

_MAX_LISTED = 10
_MAX_NAMED = 3


def events_contradicted(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge that no record contradicts a stored event without somebody having decided which of them is right."""
    parameters = {"changed": CHANGED, "most": _MAX_LISTED}
    rows = connection.execute(load_query("open_conflicts"), parameters).fetchall()
    count = rows[0][-1] if rows else 0
    named = []
    problems = []
    for company, name, timestamp, source, source_key, _, difference, _ in rows:
        if source_key is None:
            named.append(f"event {name} of {company} at {timestamp:%Y-%m-%dT%H:%M:%S.%fZ}, by {source}: {difference}")
        else:
            named.append(f"row {name} of {company}, source {source}")
    if rows:
        more = f"; and {count - _MAX_NAMED} more" if count > _MAX_NAMED else ""
        problems.append(
            Violation(
                f"{count} records contradict what is stored, and nobody has decided which is right: "
                f"{'; '.join(named[:_MAX_NAMED])}{more}",
                severity=Severity.WARNING,
            )
        )
    of_records = [row for row in rows if row[4] is None]
    if in_database := [row for row in of_records if row[3] != ARCHIVE]:
        _, name, timestamp, *_ = in_database[0]
        problems.append(
            Violation(
                "table analytics_event_conflicts holds stored and sent values side by side; if the record is right, "
                "have it replace the event, and if the event is right, say so",
                "analytics-pipeline ingest --on-conflict replace FILE",
                Severity.WARNING,
                _keep_statement(name, timestamp),
            )
        )
    if in_archive := [row for row in of_records if row[3] == ARCHIVE]:
        _, name, timestamp, *_ = in_archive[0]
        month = Window.of_month(timestamp.date())
        problems.append(
            Violation(
                f"event {name} is in the archive, and the record that contradicts it came after its month had been "
                "dropped: if the event is right, say so; if the record is right, bring the month back, then "
                f"'analytics-pipeline ingest --on-conflict replace FILE', then '{close_command(month)}', then "
                "'analytics-pipeline archive release'",
                f"analytics-pipeline archive restore --month {timestamp:%Y-%m}",
                Severity.WARNING,
                _keep_statement(name, timestamp),
            )
        )
    if of_erp := [row for row in rows if row[4] is not None]:
        *_, source, source_key, _, _, _ = of_erp[0]
        problems.append(
            Violation(
                "a row of the ERP that is right replaces its event, one that is wrong is to be corrected there",
                f"analytics-pipeline sources accept {source} {shlex.quote(source_key)}",
                Severity.WARNING,
            )
        )
    return CheckResult.judge(
        CONTRADICTIONS,
        EVENTS,
        problems,
        good="No record contradicts a stored event.",
        metadata={"undecided contradictions": count, "the newest of them": named},
        limits={"such contradictions allowed": 0},
    )


def one_id_at_two_instants(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge that no event of the last 35 days came in under an id that its company has at another instant, too.

    Each such event counts: an exporter whose times differ from one export to the next counts everything twice.
    """
    events = hypertable_status(connection).approximate_rows
    shares = max(1, -(-events // MAX_IDS))
    parameters = {"look_back": LOOK_BACK, "most": _MAX_LISTED, "shares": shares}
    rows = connection.execute(load_query("repeated_event_ids"), parameters).fetchall()
    count = rows[0][-1] if rows else 0
    named = [
        f"{event_id} of {company} at {' and '.join(f'{instant:%Y-%m-%dT%H:%M:%S.%fZ}' for instant in instants)}"
        for company, event_id, instants, _, _ in rows
    ]
    problems = []
    if rows:
        company, event_id, instants, _, _ = rows[0]
        more = f"; and {count - _MAX_NAMED} more" if count > _MAX_NAMED else ""
        of_event = f"company_id = {_literal(company)} AND event_id = '{event_id}'"
        instant = f"\"timestamp\" = '{instants[-1]:%Y-%m-%d %H:%M:%S.%f}+00'"
        problems.append(
            Violation(
                f"{count} ids stand for several events, at several instants, of which each counts: "
                f"{'; '.join(named[:_MAX_NAMED])}{more}. If they are one event, delete the wrong one, and have its "
                "source send the same time always; if not, give each an id of its own",
                f"DELETE FROM {EVENTS} WHERE {of_event} AND {instant};",  # noqa: S608  # for people to read and run
                Severity.WARNING,
            )
        )
    return CheckResult.judge(
        TWO_INSTANTS,
        EVENTS,
        problems,
        good=f"No id that came in within {LOOK_BACK.days} days stands for events at several instants.",
        metadata={
            "ids at several instants": count,
            "the newest of them": named,
            "share of the ids that was compared": f"1 in {shares}",
        },
        limits={"such ids allowed": 0, "days looked at, by arrival": LOOK_BACK.days},
    )


def _keep_statement(event_id: str, timestamp: datetime) -> str:
    of_event = f"event_id = '{event_id}' AND \"timestamp\" = '{timestamp:%Y-%m-%d %H:%M:%S.%f}+00'"
    keep = "UPDATE analytics_event_conflicts SET outcome = 'kept', decided_at = now() WHERE outcome = 'open'"
    return f"{keep} AND {of_event};"


def _literal(text: str) -> str:
    # For statements that people read and run: standard_conforming_strings is on everywhere here.
    return "'" + text.replace("'", "''") + "'"
