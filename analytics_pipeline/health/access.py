"""Who may read figures: the role, the row-level security that binds it, and nothing around them."""

import shlex
from dataclasses import dataclass

from analytics_pipeline.asset_names import EVENTS, USERS
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.metrics.access import (
    API,
    GROUPS,
    OPERATOR,
    READER,
    Grant,
    describe_company,
    find_role,
    list_grants,
    misleading_grants,
    readers_of_any_company,
    readers_without_grants,
)
from analytics_pipeline.metrics.partitions import PARTITIONS
from analytics_pipeline.metrics.subscriptions import SUBSCRIPTIONS
from analytics_pipeline.metrics.tables import METRIC_TABLES
from analytics_pipeline.metrics.users import USER_DAYS
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import SQL_ROOT, load_query
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.audit import AUDIT
from analytics_pipeline.timescale.connection import Connection

CHECK = "reader_access"
_GRANTS = "analytics_company_grants"
# The policies of each table: the pipeline's own, the readers', and that of operators and analysts.
_POLICIES = {_GRANTS: ["own_grants", "pipeline"]} | {
    table.table: ["every_company", "own_companies", "pipeline"] for table in METRIC_TABLES
}
# These hold every company's rows, and no row-level security stands before them.
_HIDDEN = [
    EVENTS,
    USERS,
    USER_DAYS,
    SUBSCRIPTIONS,
    PARTITIONS,
    AUDIT,
    *(aggregate.name for aggregate in AGGREGATES),
]
_MIGRATE = "analytics-pipeline db migrate"
# What TimescaleDB lets every login call and does something for it although it owns nothing: a job of its own runs on
# and on, in one of the background workers that our policies need. Its other functions ask for the owner.
_OPENED_BY_TIMESCALEDB = ["add_job"]


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    is_guarded: bool
    policies: list[str]
    is_readable: bool
    is_writable: bool


def reader_access(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge that ``analytics_reader`` reads the metric tables, company by company, and nothing else of a company."""
    roles = {name: find_role(connection, name) for name in GROUPS}
    missing = [name for name, found in roles.items() if found is None]
    reader = roles[READER]
    if missing or reader is None:
        problem = Violation(
            f"the role {' and the role '.join(missing)} doesn't exist, and this login may not make it: applications "
            "and people that are not the owner can't do their job",
            " ".join(f"CREATE ROLE {name} NOLOGIN;" for name in missing)
            + f" GRANT {READER} TO {API}; GRANT {', '.join(missing)} TO {connection.info.user} "
            + f"WITH ADMIN TRUE, INHERIT FALSE, SET FALSE; -- by an administrator, then {_MIGRATE}",
            Severity.WARNING,
        )
        return CheckResult.judge(CHECK, EVENTS, [problem], good="", metadata={"role": "missing"})
    rows = connection.execute(load_query("reader_tables"), {"tables": list(_POLICIES)}).fetchall()
    tables = [_Table(*row) for row in rows]
    parameters = {"roles": [READER, API, OPERATOR], "relations": _HIDDEN}
    exposed = connection.execute(load_query("reader_hidden"), parameters).fetchall()
    problems = [problem for table in tables for problem in _judge_table(table)]
    grants = list_grants(connection)
    sees_nothing = readers_without_grants(connection)
    problems += _judge_grants(grants, misleading_grants(connection))
    if reader.is_unbound:
        problems.append(
            Violation(
                f"{READER} bypasses row-level security: its members read every company",
                f"ALTER ROLE {READER} NOSUPERUSER NOBYPASSRLS;",
            )
        )
    # What analytics_reader may read analytics_api may read as its member, and what everybody may read all of them.
    for relation, role in {relation: role for role, relation in exposed}.items():
        problems.append(
            Violation(
                f"{role} may read every company's rows in {relation}", f"REVOKE ALL ON {relation} FROM {role}, PUBLIC;"
            )
        )
    return CheckResult.judge(
        CHECK,
        EVENTS,
        problems,
        good=f"{READER} reads the metric tables company by company, and no events or aggregates." + _told(sees_nothing),
        metadata={
            "row-level security": {table.name: table.is_guarded for table in tables},
            "policies": {table.name: table.policies for table in tables},
            "relations open by mistake": len(exposed),
            "relations that roles may not read but do": [f"{role}: {relation}" for role, relation in exposed],
            "grants": len(grants),
            "readers that name their company by analytics.company": readers_of_any_company(connection),
            "readers that see no company": sees_nothing,
        },
        limits={"such relations allowed": 0},
    )


def function_access(connection: Connection) -> CheckResult:
    """Judge that a role that may only log in can call no function that locks, writes or occupies a worker."""
    parameters = {"timescaledb": _OPENED_BY_TIMESCALEDB}
    rows = connection.execute(load_query("open_functions"), parameters).fetchall()
    ours, theirs = ([signature for signature, is_ours in rows if is_ours is wanted] for wanted in (True, False))
    problems = []
    if ours:
        problems.append(Violation(f"every login may call our {', '.join(ours)}", _MIGRATE, Severity.WARNING))
    if theirs:
        problems.append(
            Violation(
                f"TimescaleDB lets every login call {', '.join(theirs)}: jobs of anybody then occupy the background "
                "workers that compression and retention need",
                " ".join(f"REVOKE EXECUTE ON FUNCTION {signature} FROM PUBLIC;" for signature in theirs)
                + " -- as a superuser",
                Severity.WARNING,
            )
        )
    return CheckResult.judge(
        "function_access",
        "server",
        problems,
        good="Only the owner calls functions that lock, write or schedule jobs.",
        metadata={"open functions of ours": ours, "open functions of TimescaleDB": theirs},
        limits={"such functions allowed": 0},
    )


def _judge_grants(grants: list[Grant], misleading: dict[str, str]) -> list[Violation]:
    problems = [
        Violation(why, f"analytics-pipeline access list {shlex.quote(role)}", Severity.WARNING)
        for role, why in misleading.items()
    ]
    problems += [
        Violation(
            f"the grant of {describe_company(grant.company_id)} to {grant.role} no longer holds: that role was "
            "renamed, or dropped and made again, and shows nothing by it",
            f"analytics-pipeline access revoke {shlex.quote(grant.role)} {_option(grant.company_id)}",
            Severity.WARNING,
        )
        for grant in grants
        if not grant.holds
    ]
    return problems


def _told(sees_nothing: list[str]) -> str:
    # Roles belong to the whole server: another database's readers are among them.
    if not sees_nothing:
        return ""
    return f" Without a grant here, and not in {API}, these see nothing: {', '.join(sees_nothing)} (docs/access.md)."


def _option(company_id: str | None) -> str:
    return "--all-companies" if company_id is None else f"--company {shlex.quote(company_id)}"


def _judge_table(table: _Table) -> list[Violation]:
    problems = []
    if not table.is_guarded:
        problems.append(
            Violation(
                f"row-level security of {table.name} is not enabled and forced: readers see every company",
                f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;",
            )
        )
    missing = [name for name in _POLICIES[table.name] if name not in table.policies]
    if missing:
        whom = "the owner" if "pipeline" in missing else "readers"
        problems.append(
            Violation(
                f"{table.name} lacks the policy {' and '.join(missing)}: it shows {whom} nothing",
                f"analytics-pipeline db psql -f {shlex.quote(str(SQL_ROOT / 'migrations' / '0013_metrics.sql'))}",
                fallback=_MIGRATE,
            )
        )
    foreign = [name for name in table.policies if name not in _POLICIES[table.name]]
    if foreign:
        problems.append(
            Violation(
                f"{table.name} has the further policy {', '.join(foreign)}: any policy that applies lets a row be seen",
                " ".join(f'DROP POLICY "{name}" ON {table.name};' for name in foreign),
            )
        )
    if not table.is_readable:
        problems.append(Violation(f"{READER} may not read {table.name}", _MIGRATE, Severity.WARNING))
    if table.is_writable:
        problems.append(
            Violation(
                f"{READER} may write to {table.name}",
                f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {table.name} FROM {READER}, PUBLIC;",
            )
        )
    return problems
