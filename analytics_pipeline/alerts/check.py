"""All there is to do when partitions are closed, and how it looks as the finding of a check.

Belongs here: its order, its wording for people. Does not belong here: the asset check, which is Dagster's matter.
"""

from collections.abc import Sequence

from analytics_pipeline.alerts.evaluate import Evaluation, evaluate, rules_for, update_alerts
from analytics_pipeline.alerts.incidents import Changes
from analytics_pipeline.alerts.judge import RuleEvaluation
from analytics_pipeline.alerts.load import load_configured
from analytics_pipeline.alerts.words import ALL_COMPANIES, period_text, shown
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.messages.message import one_line
from analytics_pipeline.metrics.tables import MetricTable
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity

CHECK = "alerts"
_MAX_SHOWN = 5
# A metadata table is stored with every evaluation: the worst day must not be megabytes of it.
_MAX_ROWS = 100


def check_alerts(
    connection: Connection, settings: Settings, table: MetricTable, granularity: Granularity
) -> CheckResult:
    """Load the file of rules, bring alerts to the latest closed period, and judge that period.

    A file that is refused fails the finding; the rules loaded before are judged. Autocommit connection.
    """
    problem = None
    try:
        load_configured(connection, settings)
    except AnalyticsError as error:
        problem = str(error)
    changes = update_alerts(connection, table, granularity, database_now(connection), ui_url=settings.ui_url)
    rules = [active.rule for active in rules_for(connection, table, granularity)]
    evaluation = evaluate(connection, table, granularity, rules)
    return _finding(table.asset(granularity), evaluation, changes, problem)


def _finding(subject: str, evaluation: Evaluation, changes: Changes, problem: str | None) -> CheckResult:
    problems = [] if problem is None else [Violation(f"{problem} The rules loaded before stay in force")]
    problems += _problems("rules fire", evaluation.firing)
    problems += _problems("rules have no data", evaluation.silent)
    return CheckResult.judge(
        CHECK,
        subject,
        problems,
        good=_good(evaluation),
        metadata={
            "window": str(evaluation.window) if evaluation.window else None,
            "rules": evaluation.rules,
            "companies and periods judged": evaluation.judged,
            "without data": evaluation.without_data,
            "firing": len(evaluation.firing),
            "firing rules": [_row(judgement) for judgement in evaluation.firing[:_MAX_ROWS]],
            "rules without data": [_row(judgement) for judgement in evaluation.silent[:_MAX_ROWS]],
            "alerts begun": changes.opened,
            "alerts ended": changes.resolved,
            "messages put into the outbox": changes.messages,
        },
    )


def _problems(what: str, judgements: Sequence[RuleEvaluation]) -> list[Violation]:
    if not judgements:
        return []
    told = "; ".join(_told(judgement) for judgement in judgements[:_MAX_SHOWN])
    more = f"; and {len(judgements) - _MAX_SHOWN} more" if len(judgements) > _MAX_SHOWN else ""
    is_severe = any(judgement.rule.severity is Severity.ERROR for judgement in judgements)
    return [Violation(f"{what}: {told}{more}", severity=Severity.ERROR if is_severe else Severity.WARNING)]


def _told(judgement: RuleEvaluation) -> str:
    rule = judgement.rule
    period = period_text(rule.granularity, judgement.period.start)
    return f"{rule.id}: {_company(judgement)} {rule.metric.name} {shown(judgement)} ({rule.condition}) {period}"


def _good(evaluation: Evaluation) -> str:
    if not evaluation.rules:
        return "No rule watches these figures."
    if evaluation.window is None:
        return "Nothing is closed yet."
    rules = "1 rule" if evaluation.rules == 1 else f"{evaluation.rules} rules"
    return f"Of {rules} none fires in {evaluation.window}."


def _row(judgement: RuleEvaluation) -> dict[str, str]:
    rule = judgement.rule
    return {
        "rule": rule.id,
        "severity": str(rule.severity),
        "company": _company(judgement),
        "period": period_text(rule.granularity, judgement.period.start),
        "value": shown(judgement),
        "threshold": rule.condition,
        "why": judgement.latest.missing,
    }


def _company(judgement: RuleEvaluation) -> str:
    return ALL_COMPANIES if judgement.company is None else one_line(judgement.company)
