"""Every check there is, and how one is run.

Dagster's asset checks, ``analytics-pipeline doctor`` and docs/checks.md are made from this list. A new
check is a function and an entry here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psycopg

from analytics_pipeline.asset_names import COMPANY_REPORTS, EVENTS, FX_ASSET, MONTHLY_REPORT, SUBSCRIPTIONS_ASSET, USERS
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.health import (
    access,
    contradictions,
    events,
    figures,
    freshness,
    fx,
    hypertable,
    mail,
    metrics,
    policies,
    server,
    signoffs,
    subscriptions,
    users,
)
from analytics_pipeline.health.check_result import CheckResult, Violation
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES, MetricTable
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import AGGREGATES, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check of one subject: of its state, which is that of its newest closed periods.

    ``blocking``: what is built on the subject must wait when it fails. ``judge_window``, where there is one, proves a
    window of partitions that a run has just closed; a subject has one such check at most.
    """

    name: str
    subject: str
    description: str
    judge: Callable[[Connection, Settings], CheckResult]
    blocking: bool = False
    judge_window: Callable[[Connection, Settings, Window], CheckResult] | None = None


def all_checks() -> list[HealthCheck]:
    """Return every check of server, schema, policies, events, rates, mails and aggregates, the cheap ones first."""
    return [
        *event_checks(),
        *fx_checks(),
        *report_checks(),
        *user_checks(),
        *subscription_checks(),
        *(check for aggregate in AGGREGATES for check in aggregate_checks(aggregate)),
        *(
            check
            for table in METRIC_TABLES
            for granularity in GRANULARITIES
            for check in metric_checks(table, granularity)
        ),
    ]


def window_checks() -> list[HealthCheck]:
    """Return the checks that prove windows, one for each subject whose windows hold figures or what they stand on."""
    return [check for check in all_checks() if check.judge_window is not None]


def event_checks() -> list[HealthCheck]:
    """Return the checks whose subject is ``analytics_events``: server, policies and raw events."""
    return [
        HealthCheck(
            "timescaledb_extension",
            EVENTS,
            "TimescaleDB is installed, of its Community edition, of a sound version, with the internal tables that are "
            "read here, preloaded, not left in restoring mode, and has background workers enough for its policies.",
            server.timescaledb_extension,
            blocking=True,
        ),
        HealthCheck(
            "clock",
            EVENTS,
            "The machine's clock is that of the database, which decides what has ended: a difference above a minute is "
            "a warning, above five minutes nothing is closed or ingested.",
            server.clock,
        ),
        HealthCheck(
            "hypertable_layout",
            EVENTS,
            'analytics_events is a hypertable on "timestamp" with its columns, unique key and compression settings.',
            hypertable.hypertable_layout,
            blocking=True,
        ),
        HealthCheck(
            "refresh_policies",
            EVENTS,
            "Every aggregate has its declared refresh policy, scheduled only if TimescaleDB owns refreshing.",
            policies.refresh_policies,
        ),
        HealthCheck(
            "compression_policy",
            EVENTS,
            "The compression policy is as the database wants it, and no chunk is uncompressed past its age.",
            policies.compression_policy,
        ),
        HealthCheck(
            "retention_policy",
            EVENTS,
            "The retention policy is as the database wants it, no chunk outlives it, and no refresh window reaches "
            "what it drops; where there is an archive, its place is known here.",
            policies.retention_policy,
        ),
        HealthCheck(
            "policy_jobs_healthy",
            EVENTS,
            "No policy job is paused, late, or failing with its work undone; what it did counts, not only its record.",
            policies.policy_jobs_healthy,
        ),
        HealthCheck(
            "events_arrive",
            EVENTS,
            "The newest event is recent: the ERP still writes.",
            freshness.events_arrive,
        ),
        HealthCheck(
            "event_times",
            EVENTS,
            "No event is dated in the future or before the first partition.",
            events.event_times,
        ),
        HealthCheck(
            "known_event_types",
            EVENTS,
            "Types and categories of the last 35 days are those of the catalogue, each type in its category.",
            events.known_event_types,
        ),
        HealthCheck(
            "currencies_present",
            EVENTS,
            "Every amount has a currency, written as a code like EUR or a ticker like BTC.",
            events.currencies_present,
        ),
        HealthCheck(
            contradictions.CONTRADICTIONS,
            EVENTS,
            "No record, and no row of the ERP, contradicts a stored event without somebody having decided which is "
            "right.",
            contradictions.events_contradicted,
        ),
        HealthCheck(
            contradictions.TWO_INSTANTS,
            EVENTS,
            "No event of the last 35 days, by arrival, came in under an id that its company has at another instant, "
            "too.",
            contradictions.one_id_at_two_instants,
        ),
        HealthCheck(
            "ids_stored_otherwise",
            EVENTS,
            "Ids of companies and users are in Unicode's normal form C, without control and zero-width characters.",
            events.ids_stored_otherwise,
        ),
        HealthCheck(
            access.CHECK,
            EVENTS,
            "analytics_reader reads the metric tables, a company at a time by row-level security, and no events or "
            "aggregates.",
            access.reader_access,
        ),
    ]


def fx_checks() -> list[HealthCheck]:
    """Return the checks whose subject is ``fx_rates``: rates of exchange against the amounts to convert."""
    return [
        HealthCheck(
            "rates_fresh",
            FX_ASSET,
            "Every currency with amounts of the last 35 days has a rate towards the reporting currency, at most 7 days "
            "older than the newest event.",
            fx.rates_fresh,
        ),
        HealthCheck(
            "rates_without_gaps",
            FX_ASSET,
            "Every day from the first to the last amount in a currency has a rate: none is unconverted.",
            fx.rates_without_gaps,
        ),
    ]


def user_checks() -> list[HealthCheck]:
    """Return the checks whose subject is ``analytics_users``."""
    return [
        HealthCheck(
            users.CHECK,
            USERS,
            "Stored users, deletions and returns are those of the events: of the last 35 days all of them, both ways, "
            f"and a sample of {users.SAMPLE} older ones, another each day. What is stale is left out.",
            users.users_match_events,
            judge_window=users.users_match_events,
        ),
    ]


def subscription_checks() -> list[HealthCheck]:
    """Return the checks whose subject is ``subscriptions``."""
    return [
        HealthCheck(
            subscriptions.MATCH_CHECK,
            SUBSCRIPTIONS_ASSET,
            "Stored changes of subscriptions are those that the events of the last 35 days give. What is stale is left "
            "out.",
            subscriptions.subscriptions_match_events,
            judge_window=subscriptions.subscriptions_match_events,
        ),
        HealthCheck(
            subscriptions.CHECK,
            SUBSCRIPTIONS_ASSET,
            "Every change of a subscription of the last 35 days says what its monthly amount is made of.",
            subscriptions.subscription_events,
        ),
        HealthCheck(
            subscriptions.ORDER_CHECK,
            SUBSCRIPTIONS_ASSET,
            "Of several changes of a subscription at one instant their sequence, an end, or their arrival says which "
            "one counts, and never an id alone.",
            subscriptions.subscription_order,
        ),
    ]


def report_checks() -> list[HealthCheck]:
    """Return the checks of reports: what is sent of them, and whether what was signed still holds."""
    return [
        HealthCheck(
            mail.CHECK,
            MONTHLY_REPORT,
            "Every message of the last 14 days was delivered, and nothing waits for long.",
            mail.mail_delivered,
        ),
        HealthCheck(
            signoffs.CHECK,
            MONTHLY_REPORT,
            "Every figure of the months that were signed off is as it was signed: what differs is listed, with causes.",
            signoffs.no_restatements,
        ),
        *(
            HealthCheck(
                mail.CURRENT_CHECK,
                subject,
                "Every document that was mailed to a recipient last shows the figures of the current one, by the same "
                "definitions; those made anew within 45 days.",
                partial(mail.mailed_documents_current, subject=subject),
            )
            for subject in (MONTHLY_REPORT, COMPANY_REPORTS)
        ),
    ]


def aggregate_checks(aggregate: ContinuousAggregate) -> list[HealthCheck]:
    """Return the checks of one continuous aggregate."""
    return [
        HealthCheck(
            "matches_declaration",
            aggregate.name,
            "The relation exists and has the bucket width, source, columns, real-time setting and query of its "
            "declaration.",
            lambda connection, _settings: hypertable.matches_declaration(connection, aggregate),
        ),
        HealthCheck(
            "up_to_date",
            aggregate.name,
            "No event waits in a bucket that should be closed by now: the lag of the data, whatever runs there were.",
            partial(freshness.up_to_date, aggregate=aggregate),
        ),
        HealthCheck(
            figures.CHECK,
            aggregate.name,
            "The stored rows of the last 35 days of what is closed equal, column for column, what the declaration "
            "gives over the raw events. What is stale is left out.",
            partial(figures.reconciles_with_events, aggregate=aggregate),
            judge_window=lambda connection, settings, window: figures.reconciles_with_events(
                connection, settings, aggregate, window
            ),
        ),
    ]


def metric_checks(table: MetricTable, granularity: Granularity) -> list[HealthCheck]:
    """Return the checks of the days or months of a metric table."""
    subject = table.asset(granularity)
    checks = [
        HealthCheck(
            metrics.EQUALS_CHECK,
            subject,
            f"The stored rows of the newest closed {granularity}s, those of {metrics.LOOK_BACK[granularity].days} "
            "days, equal what the SQL functions that define the figures give. What is stale is left out.",
            lambda connection, settings: metrics.equals_definitions(connection, settings, subject, table, granularity),
            judge_window=lambda connection, settings, window: metrics.equals_definitions(
                connection, settings, subject, table, granularity, window
            ),
        ),
        HealthCheck(
            "figures_current",
            subject,
            f"Every closed {granularity} has seen every change of users, subscriptions and rates, and follows today's "
            "definitions and reporting currency.",
            lambda connection, settings: metrics.figures_current(connection, settings, subject, table, granularity),
        ),
    ]
    if table.converts:
        checks.append(
            HealthCheck(
                metrics.CONVERTED_CHECK,
                subject,
                f"Every amount of the newest closed {granularity}s, those of {metrics.LOOK_BACK[granularity].days} "
                "days, has a rate to the reporting currency, at most 7 days old.",
                lambda connection, settings: metrics.amounts_converted(
                    connection, settings, subject, table, granularity
                ),
            )
        )
    return checks


def run_check(
    check: HealthCheck,
    connection: Connection,
    settings: Settings,
    window: Window | None = None,
) -> CheckResult:
    """Run one check, over a window only if it can judge one; what keeps it from judging fails it.

    A lost connection raises.
    """
    try:
        if window is None or check.judge_window is None:
            return check.judge(connection, settings)
        return check.judge_window(connection, settings, window)
    except psycopg.OperationalError:
        raise
    except (AnalyticsError, psycopg.Error) as error:
        return CheckResult.judge(check.name, check.subject, [_obstacle(error)], good="", metadata={"judged": False})


def _obstacle(error: AnalyticsError | psycopg.Error) -> Violation:
    if isinstance(error, AnalyticsError):
        return Violation(str(error))
    message = error.diag.message_primary or str(error)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Violation(
            f"it can't be judged: {message}", "connect as the owner of analytics_events (ANALYTICS_DATABASE_URL)"
        )
    return Violation(f"it can't be judged: {message}", "analytics-pipeline db migrate")
