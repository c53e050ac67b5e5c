"""The server: TimescaleDB is there, sound, licensed, loaded, has workers for its policies, and a clock like ours."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from psycopg.rows import class_row

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.catalog import describe_missing, missing_from_catalog
from analytics_pipeline.timescale.clock import MAX_DIFFERENCE, MAX_SILENT_DIFFERENCE, SET_CLOCK, Clocks, read_clocks
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.server import (
    MINIMUM_VERSION,
    RECOMMENDED_VERSION,
    ServerInfo,
    Version,
    parse_version,
    require_fit_server,
    version_text,
)

# Below it, on a server with several sessions, only Dagster's locks keep concurrent refreshes from
# duplicating rows, and a restore needs two calls of timescaledb_post_restore().
WARNING_BELOW: Version = (2, 26, 4)
# Every database with the extension keeps one background worker; so many more let policies run.
JOB_WORKERS = 2
# PostgreSQL's own background processes (autovacuum, replication) beside TimescaleDB's and the parallel ones.
OTHER_WORKERS = 3
# The scheduler of a database that was just created or restarted needs a moment to start.
_SCHEDULER_STARTS_WITHIN = 2.0

CREATE_EXTENSION = "CREATE EXTENSION timescaledb;"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What the server says of itself; None where it doesn't tell this role, or where it has no such thing."""

    postgres_version: str
    embedded: bool
    available_version: str | None
    timescaledb_version: str | None
    license: str | None
    restoring: bool
    preloaded: bool | None
    timescaledb_workers: int | None
    max_worker_processes: int
    max_parallel_workers: int
    sees_workers: bool
    schedulers: int
    scheduler_here: bool


def read_server_state(connection: Connection) -> ServerState:
    """Return the state; waits a moment for the background worker scheduler of a new database."""
    deadline = time.monotonic() + _SCHEDULER_STARTS_WITHIN
    while True:
        with connection.cursor(row_factory=class_row(ServerState)) as cursor:
            state = cursor.execute(load_query("server_state")).fetchone()
        if state is None:
            raise LookupError("server_state.sql returned no row")
        settled = state.embedded or state.scheduler_here or not state.sees_workers or state.timescaledb_version is None
        if settled or time.monotonic() > deadline:
            return state
        time.sleep(0.2)


def timescaledb_extension(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge the extension of the database we are connected to."""
    state = read_server_state(connection)
    return judge_server(state, missing_from_catalog(connection) if state.timescaledb_version else [])


def judge_server(state: ServerState, missing: Sequence[str] = ()) -> CheckResult:
    """Judge a server by its state, and by what is missing of the internal tables that we read."""
    metadata = {
        **asdict(state),
        "minimum version": version_text(MINIMUM_VERSION),
        "warning below": version_text(WARNING_BELOW),
        "recommended version": version_text(RECOMMENDED_VERSION),
        "missing from the catalog": list(missing),
        "workers wanted": state.schedulers + JOB_WORKERS,
        "worker processes wanted": _wanted_processes(state),
    }
    problems = _extension_problems(state)
    # An older release than the floor lacks things too, and has its own sentence.
    if missing and state.timescaledb_version and parse_version(state.timescaledb_version) >= MINIMUM_VERSION:
        problems.append(Violation(describe_missing(state.timescaledb_version, missing)))
    if not problems and not state.embedded:
        problems = _worker_problems(state)
    kind = "embedded, one session, jobs run by the server itself" if state.embedded else "with background workers"
    good = (
        f"TimescaleDB {state.timescaledb_version}, Community edition, on PostgreSQL {state.postgres_version} ({kind})."
    )
    return CheckResult.judge("timescaledb_extension", EVENTS, problems, good=good, metadata=metadata)


def clock(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge how far this machine's clock is from the database's, which decides what has ended."""
    return judge_clocks(read_clocks(connection))


def judge_clocks(clocks: Clocks) -> CheckResult:
    """Judge two clocks that were read together."""
    problems = []
    if clocks.difference > MAX_SILENT_DIFFERENCE:
        refused = clocks.difference > MAX_DIFFERENCE
        consequence = "nothing is closed and no event is taken until they agree" if refused else "they should agree"
        problems.append(
            Violation(f"{clocks}; {consequence}", SET_CLOCK, Severity.ERROR if refused else Severity.WARNING),
        )
    return CheckResult.judge(
        "clock",
        EVENTS,
        problems,
        good=f"This machine's clock and the database's agree, to within {_seconds(MAX_SILENT_DIFFERENCE):g} seconds.",
        metadata={
            "machine": clocks.machine,
            "database": clocks.database,
            "seconds apart at least": _seconds(clocks.difference),
            "seconds of the round trip": _seconds(2 * clocks.uncertainty),
        },
        limits={
            "seconds allowed": _seconds(MAX_SILENT_DIFFERENCE),
            "seconds refused": _seconds(MAX_DIFFERENCE),
        },
    )


def _seconds(span: timedelta) -> float:
    return round(span.total_seconds(), 3)


def _extension_problems(state: ServerState) -> list[Violation]:
    if state.timescaledb_version is None:
        if state.available_version is None:
            return [Violation("this server has no TimescaleDB: install the package timescaledb-2 for its PostgreSQL")]
        return [Violation("the database lacks the TimescaleDB extension", CREATE_EXTENSION)]
    problems = []
    try:
        require_fit_server(
            ServerInfo(state.postgres_version, state.timescaledb_version, state.license or "unknown"),
        )
    except AnalyticsError as error:
        remedy = (
            "ALTER SYSTEM SET timescaledb.license = 'timescale'; -- then restart the server"
            if "licence" in str(error)
            else "ALTER EXTENSION timescaledb UPDATE; -- first in a new session, after installing the newer package"
        )
        problems.append(Violation(str(error), remedy))
    else:
        if not state.embedded and parse_version(state.timescaledb_version) < WARNING_BELOW:
            problems.append(
                Violation(
                    f"TimescaleDB {state.timescaledb_version} duplicates rows when two refreshes meet: only this "
                    "program's locks prevent it, and a refresh by hand is not safe",
                    "ALTER EXTENSION timescaledb UPDATE; -- first in a new session, after installing "
                    f"{version_text(RECOMMENDED_VERSION)} or later",
                    Severity.WARNING,
                )
            )
    if state.restoring:
        problems.append(
            Violation(
                "the database was left in restoring mode, in which policies and refreshes do nothing",
                "SELECT timescaledb_post_restore();",
            )
        )
    if state.preloaded is False and not state.embedded:
        problems.append(
            Violation(
                "timescaledb is not preloaded, so its background workers never run",
                "ALTER SYSTEM SET shared_preload_libraries = 'timescaledb'; -- then restart the server",
            )
        )
    return problems


def _worker_problems(state: ServerState) -> list[Violation]:
    problems = []
    workers = state.timescaledb_workers
    wanted = state.schedulers + JOB_WORKERS
    if workers is not None and workers < wanted:
        problems.append(
            Violation(
                f"{state.schedulers} databases share {workers} background workers, {wanted} are needed: policies wait",
                f"ALTER SYSTEM SET timescaledb.max_background_workers = {max(16, 2 * wanted)}; -- then restart",
                Severity.WARNING,
            )
        )
    if state.max_worker_processes < _wanted_processes(state):
        problems.append(
            Violation(
                f"max_worker_processes is {state.max_worker_processes}, wanted are {_wanted_processes(state)} "
                "(TimescaleDB's workers, the parallel ones, and three)",
                f"ALTER SYSTEM SET max_worker_processes = {_wanted_processes(state)}; -- then restart the server",
                Severity.WARNING,
            )
        )
    if state.sees_workers and not state.scheduler_here:
        problems.append(
            Violation(
                "no background worker scheduler runs for this database, so no policy does",
                "SELECT _timescaledb_functions.start_background_workers();",
                Severity.WARNING,
            )
        )
    return problems


def _wanted_processes(state: ServerState) -> int:
    return (state.timescaledb_workers or 0) + state.max_parallel_workers + OTHER_WORKERS
