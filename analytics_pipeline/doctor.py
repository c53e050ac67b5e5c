"""``analytics-pipeline doctor``: every check there is, with the remedy of each violation."""

import time
from collections import Counter
from collections.abc import Iterator

import click
import psycopg

from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.database import connect, database_url
from analytics_pipeline.database_urls import describe_url
from analytics_pipeline.embedded import EmbeddedPostgres
from analytics_pipeline.errors import AnalyticsError, first_line
from analytics_pipeline.health.access import function_access
from analytics_pipeline.health.check_result import CheckResult, State, Violation
from analytics_pipeline.health.checks import all_checks, run_check
from analytics_pipeline.health.disk import disk_space
from analytics_pipeline.health.tuning import judge_settings, machine_memory, read_server_settings
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.sql_files import list_sql
from analytics_pipeline.timescale.catalog import missing_from_catalog
from analytics_pipeline.timescale.connection import Connection, fetch_row

_COLORS = {State.OK: "green", State.SKIPPED: "blue", State.WARNING: "yellow", State.ERROR: "red"}
_MIGRATE = "analytics-pipeline db migrate"


def examine(settings: Settings) -> Iterator[CheckResult]:
    """Yield every finding, first what the later ones depend on; what can't be judged is said to be skipped."""
    started = time.monotonic()
    try:
        connection = connect(settings, autocommit=True)
    except AnalyticsError as error:
        yield CheckResult.judge("connection", "server", [Violation(str(error))], good="")
        yield _skipped("database checks", "server", "The database can't be reached.")
        yield from disk_space(settings, None)
        return
    with connection:
        yield _connection_finding(connection, settings, time.monotonic() - started)
        try:
            yield from _examine_database(connection, settings)
            yield from _examine_partitions(connection, settings)
        except psycopg.OperationalError as error:
            reason = first_line(error)
            yield CheckResult.judge("connection", "server", [Violation(f"the connection was lost: {reason}")], good="")


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--strict", is_flag=True, help="Exit with status 1 for warnings too.")
def doctor(*, as_json: bool, strict: bool) -> None:
    """Examine server, schema, policies, data and partitions, and print the remedy of each violation.

    It fixes nothing by itself, but marks failed the runs that a dead process has left. Exit status 1 if there is an
    error; a warning means that no figure is wrong.
    """
    findings = []
    for finding in examine(get_settings()):
        findings.append(finding)
        if not as_json:
            _print(finding)
    counts = Counter(finding.state for finding in findings)
    if as_json:
        report = {
            "healthy": not counts[State.ERROR],
            "counts": {str(state): counts[state] for state in State},
            "findings": [finding.as_json() for finding in findings],
        }
        echo_json(report)
    else:
        echo(
            f"\n{counts[State.OK]} ok, {counts[State.WARNING]} warnings, {counts[State.ERROR]} errors, "
            f"{counts[State.SKIPPED]} skipped"
        )
    if counts[State.ERROR] or (strict and counts[State.WARNING]):
        raise SystemExit(1)


def _connection_finding(connection: Connection, settings: Settings, seconds: float) -> CheckResult:
    version = fetch_row(connection, "SELECT current_setting('server_version')")[0]
    where = "the embedded database" if settings.database_url is None else describe_url(database_url(settings))
    return CheckResult.judge(
        "connection",
        "server",
        [],
        good=f"Connected to {where} in {seconds:.2f} s, PostgreSQL {version}.",
        metadata={"server": where, "PostgreSQL": version, "seconds to connect": round(seconds, 3)},
    )


def _examine_database(connection: Connection, settings: Settings) -> Iterator[CheckResult]:
    checks = all_checks()
    if fetch_row(connection, "SELECT to_regclass('analytics_events') IS NOT NULL") != (True,):
        yield run_check(checks[0], connection, settings)
        missing = Violation("this database has no schema of ours yet", _MIGRATE)
        yield CheckResult.judge("migrations", "server", [missing], good="")
        yield _skipped("schema, policies and data", "server", "There is nothing to judge before the migration.")
        yield from disk_space(settings, None)
        return
    if missing_from_catalog(connection):
        # Whatever reads the missing would fail too, with a sentence that explains less.
        yield run_check(checks[0], connection, settings)
        yield _skipped("schema, policies and data", "server", "Nothing can be judged on this TimescaleDB.")
        yield from disk_space(settings, None)
        return
    yield _migrations_finding(connection)
    for check in checks:
        yield run_check(check, connection, settings)
    yield function_access(connection)
    server = read_server_settings(connection)
    yield judge_settings(server, machine_memory() if server.local else None)
    yield from disk_space(settings, server.database_bytes)


def _migrations_finding(connection: Connection) -> CheckResult:
    known = [name.removeprefix("migrations/") for name in list_sql("migrations")]
    applied = {name for (name,) in connection.execute("SELECT name FROM analytics_schema_migrations").fetchall()}
    pending = [name for name in known if name not in applied]
    problems = [Violation(f"the schema lacks {', '.join(pending)}", _MIGRATE)] if pending else []
    good = f"All {len(known)} migrations are applied."
    return CheckResult.judge(
        "migrations", "server", problems, good=good, metadata={"pending": pending}, limits={"pending allowed": 0}
    )


def _examine_partitions(connection: Connection, settings: Settings) -> Iterator[CheckResult]:
    """Judge runs and partitions; an embedded storage of Dagster that isn't running is not started for that.

    Runs that a dead process has left are marked failed: they would hold up all others.
    """
    check = "no_failed_partitions"
    if fetch_row(connection, "SELECT to_regclass('analytics_partitions') IS NOT NULL") != (True,):
        yield _skipped(check, "partitions", f"The schema lacks analytics_partitions: run '{_MIGRATE}'.")
        return
    if settings.dagster_postgres_url is None and not EmbeddedPostgres(settings.home).status().running:
        yield _skipped(check, "Dagster", "Dagster's storage isn't running: 'analytics-pipeline up' starts it.")
        return
    # Dagster takes a second to import: not before there is something to ask it.
    from analytics_pipeline.orchestration.instance import enter_dagster_environment

    enter_dagster_environment(settings)
    from analytics_pipeline.orchestration.closing.failed_partitions import failed_partition_findings
    from analytics_pipeline.orchestration.closing.jobs import partitioned_assets
    from analytics_pipeline.orchestration.closing.recorded_partitions import recorded_partitions_finding
    from analytics_pipeline.orchestration.runs.dagster_storage import StorageError, open_instance
    from analytics_pipeline.orchestration.runs.dead_runs import fail_dead_runs

    try:
        with open_instance(settings) as instance:
            dead = fail_dead_runs(instance, settings)
            findings = list(failed_partition_findings(instance, connection, settings, partitioned_assets()))
            findings.append(recorded_partitions_finding(instance, connection, settings))
    except psycopg.OperationalError:
        raise
    except StorageError as error:
        yield CheckResult.judge("storage", "Dagster", [Violation(str(error))], good="")
        yield _skipped(check, "Dagster", "Dagster's storage can't be used.")
        return
    except Exception as error:  # noqa: BLE001  # whatever keeps Dagster from answering, the other findings count
        yield _skipped(check, "Dagster", f"Dagster's records can't be read: {type(error).__name__}.")
        return
    good = f"Marked failed: {'; '.join(dead)}." if dead else "The process of every unfinished run lives."
    yield CheckResult.judge("dead_runs", "Dagster", [], good=good, metadata={"dead runs": len(dead)})
    yield from findings


def _skipped(check: str, subject: str, why: str) -> CheckResult:
    return CheckResult(check=check, subject=subject, passed=True, skipped=True, summary=why)


def _print(finding: CheckResult) -> None:
    state = click.style(f"{finding.state:<8}", fg=_COLORS[finding.state])
    echo(f" {finding.check:<24} {finding.subject}: {finding.summary}", label=state)
    if not finding.passed:
        for remedy in finding.remedies:
            echo(f"         remedy:   {remedy}")
