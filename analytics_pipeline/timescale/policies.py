"""Compression, retention and refresh policies: what the settings ask for, and bringing it about.

``add_*_policy(if_not_exists => true)`` only warns when a policy with another configuration exists,
so configurations are compared here, and a different policy is replaced.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from psycopg import sql

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.aggregates import AGGREGATES, EVENTS
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.server import CONCURRENT_REFRESH_FIXED, ServerInfo

COMPRESSION = "policy_compression"
RETENTION = "policy_retention"
REFRESH = "policy_refresh_continuous_aggregate"

_ADD = {
    COMPRESSION: "SELECT add_compression_policy(%(relation)s::regclass, %(compress_after)s::interval)",
    # A new retention policy drops at once unless told when to begin: leave a day to notice a mistake.
    RETENTION: (
        "SELECT add_retention_policy(%(relation)s::regclass, %(drop_after)s::interval, "
        "initial_start => now() + interval '1 day')"
    ),
    REFRESH: (
        "SELECT add_continuous_aggregate_policy(%(relation)s::regclass, %(start_offset)s::interval, "
        "%(end_offset)s::interval, %(schedule_interval)s::interval)"
    ),
}
_REMOVE = {
    COMPRESSION: "SELECT remove_compression_policy(%s::regclass)",
    RETENTION: "SELECT remove_retention_policy(%s::regclass)",
    REFRESH: "SELECT remove_continuous_aggregate_policy(%s::regclass)",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy as it is wanted or found; ``config`` holds PostgreSQL intervals by TimescaleDB's names."""

    procedure: str
    relation: str
    config: Mapping[str, str] = field(hash=False)
    scheduled: bool = True
    schedule_interval: str | None = None
    job_id: int | None = None


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What was done to one policy, in words for the log."""

    relation: str
    procedure: str
    action: str


def wanted_policies(settings: Settings) -> list[Policy]:
    """Return the policies the settings ask for."""
    policies = [Policy(COMPRESSION, EVENTS, {"compress_after": settings.compress_after})]
    if not settings.keeps_events_forever:
        policies.append(Policy(RETENTION, EVENTS, {"drop_after": settings.retention}))
    # Refreshing has one owner. The policies are there to be read and to be handed over by one
    # setting, and run only then: two refreshers of one aggregate duplicated rows before 2.26.3.
    engine_refreshes = settings.refresh_owner == "timescaledb"
    for aggregate in AGGREGATES:
        refresh = aggregate.refresh_policy
        config = {"start_offset": refresh.start_offset, "end_offset": refresh.end_offset}
        policies.append(Policy(REFRESH, aggregate.name, config, engine_refreshes, refresh.schedule_interval))
    return policies


def read_policies(connection: Connection) -> list[Policy]:
    """Return the policies the database has on our relations."""
    rows = connection.execute(load_sql("queries/policies.sql")).fetchall()
    return [
        Policy(
            procedure,
            relation,
            {k: v for k, v in config.items() if isinstance(v, str)},
            scheduled,
            every,
            job_id,
        )
        for job_id, procedure, relation, scheduled, every, config in rows
    ]


def apply_policies(connection: Connection, settings: Settings, server: ServerInfo) -> list[PolicyChange]:
    """Make the database's policies those of the settings and return what changed; one transaction.

    Raises ``AnalyticsError`` when the settings contradict each other or the server's version.
    """
    if settings.refresh_owner == "timescaledb" and not server.allows_engine_refresh:
        floor = ".".join(map(str, CONCURRENT_REFRESH_FIXED))
        raise AnalyticsError(
            f"ANALYTICS_REFRESH_OWNER=timescaledb needs TimescaleDB {floor} or later, this is "
            f"{server.timescaledb_version}: before it, concurrent refreshes duplicate rows. Set it to dagster."
        )
    with connection.transaction():
        _require_retention_beyond_refresh(connection, settings)
        return list(_apply(connection, settings))


def _apply(connection: Connection, settings: Settings) -> Iterator[PolicyChange]:
    wanted = {(p.procedure, p.relation): p for p in wanted_policies(settings)}
    found = {(p.procedure, p.relation): p for p in read_policies(connection)}
    for key in found.keys() - wanted.keys():
        connection.execute(_REMOVE[key[0]], [key[1]])
        yield PolicyChange(key[1], key[0], "removed")
    for key, policy in wanted.items():
        current = found.get(key)
        if current is not None and not same_configuration(connection, policy, current):
            connection.execute(_REMOVE[policy.procedure], [policy.relation])
        elif current is not None:
            if current.scheduled != policy.scheduled:
                _schedule(connection, policy, current.job_id)
                yield PolicyChange(policy.relation, policy.procedure, f"scheduled = {policy.scheduled}")
            continue
        action = "added" if current is None else "replaced"
        if policy.procedure == RETENTION:
            action += _describe_first_drop(connection, policy)
        parameters = {
            "relation": policy.relation,
            "schedule_interval": policy.schedule_interval,
            **policy.config,
        }
        row = fetch_row(connection, sql.SQL(_ADD[policy.procedure]), parameters)
        if not policy.scheduled:
            _schedule(connection, policy, row[0])
        yield PolicyChange(policy.relation, policy.procedure, action)


def same_configuration(connection: Connection, wanted: Policy, found: Policy) -> bool:
    """Tell whether two policies agree, comparing intervals as PostgreSQL does (``24:00:00`` is one day)."""
    pairs = [(value, found.config.get(name)) for name, value in wanted.config.items()]
    if wanted.schedule_interval is not None:
        pairs.append((wanted.schedule_interval, found.schedule_interval))
    return all(
        other is not None
        and connection.execute("SELECT %s::interval = %s::interval", [value, other]).fetchone() == (True,)
        for value, other in pairs
    )


def _schedule(connection: Connection, policy: Policy, job_id: int | None) -> None:
    connection.execute("SELECT alter_job(%s, scheduled => %s)", [job_id, policy.scheduled])


def _describe_first_drop(connection: Connection, policy: Policy) -> str:
    row = fetch_row(connection, load_sql("queries/droppable_chunks.sql"), policy.config)
    count, first, last = row
    if not count:
        return "; nothing is old enough to be dropped"
    return f"; its first run, in a day, will drop {count} chunks of raw events of {first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _require_retention_beyond_refresh(connection: Connection, settings: Settings) -> None:
    if settings.keeps_events_forever:
        return
    longest = "3 months"
    row = connection.execute(
        # A bucket of a month may straddle the cut, and a chunk goes as a whole.
        "SELECT now() - %s::interval < now() - %s::interval - interval '1 month 7 days'",
        [settings.retention, longest],
    ).fetchone()
    if row != (True,):
        raise AnalyticsError(
            f"ANALYTICS_RETENTION={settings.retention} is too short: monthly refreshes look back {longest}, and one "
            "that reaches into dropped events erases history. Use at least '5 months', or never."
        )
