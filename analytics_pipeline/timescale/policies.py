"""Compression, retention and refresh policies: what this database wants, what it has, and bringing it about.

What is wanted is kept in the database (``analytics_policies``). A migration changes no policy that is there:
``ANALYTICS_RETENTION=never db migrate`` once removed the retention policy, and the next migration from a shell
without that variable added it again, whose first run dropped events.

``add_*_policy(if_not_exists => true)`` only warns when a policy with another configuration exists, so configurations
are compared here, and a different policy is replaced.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

from psycopg import sql
from psycopg.rows import class_row

from analytics_pipeline.ages import NEVER
from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.errors import AnalyticsError, ArgumentError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.expiry import has_archive
from analytics_pipeline.timescale.refresh import retention_horizon
from analytics_pipeline.timescale.server import CONCURRENT_REFRESH_FIXED, ServerInfo, version_text

COMPRESSION = "policy_compression"
RETENTION = "policy_retention"
# Monthly refreshes look back three months, a month's bucket may straddle that, and a chunk of a week goes as a whole.
_LEAST_RETENTION = "4 months 7 days"
REFRESH = "policy_refresh_continuous_aggregate"
# Brings back what was changed or removed by hand.
APPLY = "analytics-pipeline db policies --apply"

_ADD = {
    COMPRESSION: "SELECT add_compression_policy(%(relation)s::regclass, %(compress_after)s::interval)",
    # A new retention policy drops at once unless it says when to begin: leave a day to notice a mistake.
    RETENTION: (
        "SELECT add_retention_policy(%(relation)s::regclass, %(drop_after)s::interval, "
        "initial_start => now() + interval '1 day')"
    ),
    # In one pass, as by hand: in batches (of one bucket before TimescaleDB 2.25, of ten from then on) a stretch
    # without a chunk stays stale.
    REFRESH: (
        "SELECT add_continuous_aggregate_policy(%(relation)s::regclass, %(start_offset)s::interval, "
        "%(end_offset)s::interval, %(schedule_interval)s::interval, buckets_per_batch => 0)"
    ),
}
_REMOVE = {
    COMPRESSION: "SELECT remove_compression_policy(%s::regclass)",
    RETENTION: "SELECT remove_retention_policy(%s::regclass)",
    REFRESH: "SELECT remove_continuous_aggregate_policy(%s::regclass)",
}
_SCHEDULED, _UNSCHEDULED = "scheduled = True", "scheduled = False"
# The part of a configuration that says what the policy does; the engine adds options of its own.
_SHOWN = ("compress_after", "drop_after", "start_offset", "end_offset", "buckets_per_batch")


@dataclass(frozen=True, slots=True)
class PolicyValues:
    """What is wanted: ages as PostgreSQL intervals or ``never``, and ``dagster`` or ``timescaledb``."""

    retention: str
    compress_after: str
    refresh_owner: str


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """One of the wanted values, with who set it: ``set_by`` is the database's role, ``client`` user and machine.

    ``origin`` is ``environment`` (of a new database), ``adopted`` (what the database had before) or ``command``.
    """

    name: str
    value: str
    origin: str
    set_by: str
    client: str
    set_at: datetime


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy as it is wanted or found; ``config`` holds PostgreSQL intervals by TimescaleDB's names."""

    procedure: str
    relation: str
    config: Mapping[str, str] = field(hash=False)
    scheduled: bool = True
    schedule_interval: str | None = None
    job_id: int | None = None

    def __str__(self) -> str:
        """Show what the policy does."""
        shown = ", ".join(f"{name} {self.config[name]}" for name in _SHOWN if name in self.config) or "without limits"
        return shown if self.scheduled else f"{shown}, not scheduled"

    def as_json(self) -> dict[str, object]:
        """Return the policy with the fields of the commands' JSON, in which a number is one."""
        config = {name: int(value) if value.isdecimal() else value for name, value in self.config.items()}
        return {**asdict(self), "config": config}


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What was done to one policy, in words for the log."""

    relation: str
    procedure: str
    action: str

    @property
    def drops_events(self) -> bool:
        """Whether raw events will be dropped by what was done, at once or by way of the archive."""
        return self.procedure == RETENTION and self.action not in {"removed", _UNSCHEDULED}


@dataclass(frozen=True, slots=True)
class PolicyDifference:
    """One policy that is not as the database wants it, in a sentence without its full stop."""

    relation: str
    procedure: str
    text: str


@dataclass(frozen=True, slots=True)
class DroppableEvents:
    """The chunks of raw events that a retention of some age would drop now: ``[first, last)``, None without any."""

    chunks: int
    first: datetime | None
    last: datetime | None


def wanted_policies(values: PolicyValues, *, archived: bool) -> list[Policy]:
    """Return the policies that the values stand for.

    ``archived``: the database has an archive. Then retention drops nothing by itself; its policy says the age.
    """
    policies = []
    if values.compress_after != NEVER:
        policies.append(Policy(COMPRESSION, EVENTS, {"compress_after": values.compress_after}))
    if values.retention != NEVER:
        policies.append(Policy(RETENTION, EVENTS, {"drop_after": values.retention}, scheduled=not archived))
    # Refreshing has one owner. The policies are there to be read and to be handed over by one
    # command, and run only then: two refreshers of one aggregate duplicated rows before 2.26.3.
    engine_refreshes = values.refresh_owner == "timescaledb"
    for aggregate in AGGREGATES:
        refresh = aggregate.refresh_policy
        config = {"start_offset": refresh.start_offset, "end_offset": refresh.end_offset}
        if engine_refreshes:
            # Policies of older databases lack it, which matters only once they run.
            config["buckets_per_batch"] = "0"
        policies.append(Policy(REFRESH, aggregate.name, config, engine_refreshes, refresh.schedule_interval))
    return policies


def read_policies(connection: Connection) -> list[Policy]:
    """Return the policies the database has on our relations."""
    rows = connection.execute(load_query("policies")).fetchall()
    return [
        Policy(
            procedure,
            relation,
            {name: str(value) for name, value in config.items() if isinstance(value, str | int)},
            scheduled,
            every,
            job_id,
        )
        for job_id, procedure, relation, scheduled, every, config in rows
    ]


def policy_records(connection: Connection) -> dict[str, PolicyRecord]:
    """Return what the database wants, by name; empty before its first migration has ended."""
    with connection.cursor(row_factory=class_row(PolicyRecord)) as cursor:
        return {record.name: record for record in cursor.execute(load_query("policy_records"))}


def policy_values(connection: Connection) -> PolicyValues:
    """Return what the database wants.

    Raises ``AnalyticsError`` before its first migration has ended.
    """
    values = {name: record.value for name, record in policy_records(connection).items()}
    if not values:
        raise AnalyticsError(
            "The database doesn't say yet which policies it wants: run 'analytics-pipeline db migrate' first."
        )
    return PolicyValues(**values)


def settle_policies(connection: Connection, server: ServerInfo, initial: PolicyValues) -> list[PolicyChange]:
    """Give a new database the policies of ``initial``, and an older one what it lacks; return what changed.

    A database that has policies or events, and doesn't say yet what it wants, wants what it has. From then on only
    a refresh policy that is missing is added, such as that of a new aggregate: it drops nothing. One transaction.
    Raises ``AnalyticsError`` when the values for a new database contradict each other or the server's version.
    """
    # With nothing to do it takes no lock.
    if policy_records(connection) and not _missing_refreshes(connection, policy_values(connection)):
        return []
    with connection.transaction():
        _lock(connection)
        if policy_records(connection):
            return list(_add_missing_refreshes(connection, policy_values(connection)))
        found = read_policies(connection)
        if found or connection.execute(load_query("event_chunks")).fetchone():
            adopted = _adopted_values(found)
            _record(connection, asdict(adopted), "adopted")
            return list(_add_missing_refreshes(connection, adopted))
        _require_sound(connection, server, initial)
        _record(connection, asdict(initial), "environment")
        return list(_apply(connection, initial))


def change_policies(
    connection: Connection,
    server: ServerInfo,
    changes: Mapping[str, str],
    *,
    expected: PolicyValues | None = None,
) -> list[PolicyChange]:
    """Want other values (names as in ``PolicyValues``), make the policies the wanted ones, return what changed.

    Without changes it only brings back what was changed or removed by hand. One transaction. Raises
    ``AnalyticsError`` when the values contradict each other or the server's version, or when the database wants
    something else than ``expected``.
    """
    with connection.transaction():
        _lock(connection)
        current = policy_values(connection)
        if expected is not None and current != expected:
            raise AnalyticsError("Somebody else has changed the policies meanwhile: look at them again.")
        values = replace(current, **changes)
        _require_sound(connection, server, values)
        _record(connection, changes, "command")
        applied = list(_apply(connection, values))
        if applied or values != current:
            details = {
                "from": asdict(current),
                "to": asdict(values),
                "policies": list(map(asdict, applied)),
            }
            audit.record(connection, "policy.change", EVENTS, details)
        return applied


def begin_archive(connection: Connection, location: str) -> bool:
    """Note that this database has an archive, and stop its retention policy; return whether it was the first time.

    From then on nothing but ``archive`` drops events. ``location`` is where it is, without credentials. One transaction
    of an autocommit connection.
    """
    if has_archive(connection):
        return False
    # It remembers what was lost before.
    retention_horizon(connection)
    with connection.transaction():
        _lock(connection)
        begun = connection.execute(load_query("archive_begin"), {"location": location}).rowcount == 1
        if begun:
            # Nothing else: whatever was changed by hand stays as it is.
            for policy in read_policies(connection):
                if policy.procedure == RETENTION and policy.relation == EVENTS:
                    _schedule(connection, replace(policy, scheduled=False), policy.job_id)
            audit.record(connection, "archive.begin", EVENTS, {"location": location})
    return begun


def preview_policies(connection: Connection, server: ServerInfo, changes: Mapping[str, str]) -> list[PolicyChange]:
    """Return what ``change_policies`` would do, and do nothing."""
    with connection.transaction(force_rollback=True):
        return change_policies(connection, server, changes)


def policy_differences(connection: Connection, values: PolicyValues) -> list[PolicyDifference]:
    """Return where the policies differ from what is wanted: missing, superfluous, configured or scheduled otherwise."""
    wanted = {(p.procedure, p.relation): p for p in wanted_policies(values, archived=has_archive(connection))}
    found = {(p.procedure, p.relation): p for p in read_policies(connection)}
    differences = []
    for (procedure, relation), policy in wanted.items():
        current = found.get((procedure, relation))
        if current is None:
            text = f"{relation} has no {procedure}, wanted is {policy}"
        elif not _same_configuration(connection, policy, current):
            text = f"{procedure} on {relation} is {current}, wanted is {policy}"
        elif current.scheduled and not policy.scheduled:
            beside = "would drop what no archive holds" if procedure == RETENTION else "Dagster refreshes it too"
            text = f"{procedure} on {relation} is scheduled, and {beside}"
        elif policy.scheduled and not current.scheduled:
            text = f"{procedure} on {relation} is not scheduled, so it does nothing"
        else:
            continue
        differences.append(PolicyDifference(relation, procedure, text))
    differences += [
        PolicyDifference(
            relation, procedure, f"{relation} has a {procedure} ({found[procedure, relation]}) that is not wanted"
        )
        for procedure, relation in sorted(found.keys() - wanted.keys())
    ]
    return differences


def same_age(connection: Connection, one: str, other: str) -> bool:
    """Return whether two ages agree, ``never`` too, as PostgreSQL compares intervals (``24:00:00`` is one day)."""
    if NEVER in {one, other}:
        return one == other
    return fetch_row(connection, "SELECT %s::interval = %s::interval", [one, other]) == (True,)


def droppable_events(connection: Connection, retention: str) -> DroppableEvents:
    """Return what a retention policy of this age would drop if it ran now."""
    if retention == NEVER:
        return DroppableEvents(0, None, None)
    parameters = {"drop_after": retention}
    return DroppableEvents(*fetch_row(connection, load_query("droppable_chunks"), parameters))


def add_policy(connection: Connection, policy: Policy, action: str = "added") -> PolicyChange:
    """Give a relation a policy that it has none of yet, and return what was done."""
    if policy.procedure == RETENTION:
        action += _describe_first_drop(connection, policy)
    parameters = {"relation": policy.relation, "schedule_interval": policy.schedule_interval, **policy.config}
    (job_id,) = fetch_row(connection, sql.SQL(_ADD[policy.procedure]), parameters)
    if not policy.scheduled:
        _schedule(connection, policy, job_id)
    return PolicyChange(policy.relation, policy.procedure, action)


def _lock(connection: Connection) -> None:
    """Let one transaction at a time change what is wanted, or the policies; everybody may read."""
    connection.execute("LOCK TABLE analytics_policies IN SHARE ROW EXCLUSIVE MODE")


def _record(connection: Connection, values: Mapping[str, str], origin: str) -> None:
    for name, value in values.items():
        parameters = {"name": name, "value": value, "origin": origin, "client": audit.local_actor()}
        connection.execute(load_query("policy_record"), parameters)


def _adopted_values(found: list[Policy]) -> PolicyValues:
    on_events = {p.procedure: p.config for p in found if p.relation == EVENTS}
    engine_refreshes = any(p.scheduled for p in found if p.procedure == REFRESH)
    return PolicyValues(
        retention=on_events.get(RETENTION, {}).get("drop_after", NEVER),
        compress_after=on_events.get(COMPRESSION, {}).get("compress_after", NEVER),
        refresh_owner="timescaledb" if engine_refreshes else "dagster",
    )


def _apply(connection: Connection, values: PolicyValues) -> Iterator[PolicyChange]:
    wanted = {(p.procedure, p.relation): p for p in wanted_policies(values, archived=has_archive(connection))}
    found = {(p.procedure, p.relation): p for p in read_policies(connection)}
    for procedure, relation in sorted(found.keys() - wanted.keys()):
        connection.execute(_REMOVE[procedure], [relation])
        yield PolicyChange(relation, procedure, "removed")
    for key, policy in wanted.items():
        current = found.get(key)
        if current is None:
            yield add_policy(connection, policy, "added")
        elif not _same_configuration(connection, policy, current):
            connection.execute(_REMOVE[policy.procedure], [policy.relation])
            yield add_policy(connection, policy, "replaced")
        elif current.scheduled != policy.scheduled:
            _schedule(connection, policy, current.job_id)
            yield PolicyChange(policy.relation, policy.procedure, _SCHEDULED if policy.scheduled else _UNSCHEDULED)


def _add_missing_refreshes(connection: Connection, values: PolicyValues) -> Iterator[PolicyChange]:
    for policy in _missing_refreshes(connection, values):
        yield add_policy(connection, policy, "added")


def _missing_refreshes(connection: Connection, values: PolicyValues) -> list[Policy]:
    found = {p.relation for p in read_policies(connection) if p.procedure == REFRESH}
    return [p for p in wanted_policies(values, archived=False) if p.procedure == REFRESH and p.relation not in found]


def _same_configuration(connection: Connection, wanted: Policy, found: Policy) -> bool:
    """Return whether two policies agree; numbers compare as seconds, which does no harm."""
    pairs = [(value, found.config.get(name)) for name, value in wanted.config.items()]
    if wanted.schedule_interval is not None:
        pairs.append((wanted.schedule_interval, found.schedule_interval))
    return all(other is not None and same_age(connection, value, other) for value, other in pairs)


def _schedule(connection: Connection, policy: Policy, job_id: int | None) -> None:
    connection.execute("SELECT alter_job(%s, scheduled => %s)", [job_id, policy.scheduled])


def _describe_first_drop(connection: Connection, policy: Policy) -> str:
    drop = droppable_events(connection, policy.config["drop_after"])
    if not drop.chunks:
        return "; nothing is old enough to be dropped"
    if not policy.scheduled:
        return (
            f"; {drop.chunks} chunks of raw events of {drop.first:%Y-%m-%d} to {drop.last:%Y-%m-%d} are dropped once "
            "they are in the archive"
        )
    return (
        f"; its first run, in a day, will drop {drop.chunks} chunks of raw events of {drop.first:%Y-%m-%d} to "
        f"{drop.last:%Y-%m-%d}"
    )


def _require_sound(connection: Connection, server: ServerInfo, values: PolicyValues) -> None:
    if values.refresh_owner == "timescaledb" and not server.allows_engine_refresh:
        raise AnalyticsError(
            f"The refresh owner timescaledb needs TimescaleDB {version_text(CONCURRENT_REFRESH_FIXED)} or later, this "
            f"is {server.timescaledb_version}: before it, concurrent refreshes duplicate rows. Use dagster "
            "(ANALYTICS_REFRESH_OWNER of a new database, --refresh-owner of 'db policies')."
        )
    if values.retention == NEVER:
        return
    row = connection.execute(
        "SELECT now() - %s::interval < now() - %s::interval", [values.retention, _LEAST_RETENTION]
    ).fetchone()
    if row != (True,):
        raise ArgumentError(
            f"A retention of {values.retention} is too short: it must be longer than {_LEAST_RETENTION}, because a "
            "refresh that reaches into dropped events erases history. Use '5 months' or so, or never "
            "(ANALYTICS_RETENTION of a new database, --retention of 'db policies')."
        )
    if values.compress_after == NEVER:
        return
    row = connection.execute(
        "SELECT now() - %s::interval > now() - %s::interval", [values.compress_after, values.retention]
    ).fetchone()
    if row != (True,):
        raise ArgumentError(
            f"With a retention of {values.retention}, compressing after {values.compress_after} would never compress "
            "anything, because events are dropped before: use a shorter age, or never (ANALYTICS_COMPRESS_AFTER of a "
            "new database, --compress-after of 'db policies')."
        )
