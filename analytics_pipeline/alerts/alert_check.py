"""Evaluates the rules over closed periods: what they say of the latest one, and what that changes today.

Filling in or closing old periods again notifies nobody: the latest closed period alone begins and ends alerts. It is
evaluated each time, because late events may have changed it, or what it is compared with. A new version of the
definitions begins and ends no alert about what has been evaluated by the one before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from analytics_pipeline.alerts.active_rules import ActiveRule, active_rules, lock_alerts
from analytics_pipeline.alerts.closed_figures import Figures, latest_closed, periods_before, read_figures
from analytics_pipeline.alerts.evaluation import RuleEvaluation, evaluate_periods, look_back
from analytics_pipeline.alerts.lifecycle import NO_CALENDARS, Changes, follow, open_alerts
from analytics_pipeline.alerts.notices import ALL_COMPANIES, period_text
from analytics_pipeline.alerts.rules import NoData, Rule
from analytics_pipeline.alerts.rules_file import load_configured
from analytics_pipeline.companies.calendar import Calendars, all_calendars, calendar_in, titled
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.messages.message import one_line
from analytics_pipeline.metrics.tables import MetricTable
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window

CHECK = "alerts"
_MAX_SHOWN = 5
# A metadata table is stored with every evaluation: the worst day must not be megabytes of it.
_MAX_ROWS = 100


@dataclass(frozen=True, slots=True)
class CheckedRules:
    """What rules say of the latest closed period, the window (None: nothing is closed).

    ``firing`` and ``silent`` (no data, of rules that notify of it) are in the order of rules, companies, periods;
    ``evaluated`` counts companies and periods, ``without_data`` those that have nothing to compare.
    """

    window: Window | None
    rules: int
    evaluated: int
    without_data: int
    firing: Sequence[RuleEvaluation]
    silent: Sequence[RuleEvaluation]


def check_alerts(
    connection: Connection, settings: Settings, table: MetricTable, granularity: Granularity
) -> CheckResult:
    """Load the file of rules, bring alerts to the latest closed period, and evaluate that period.

    A file that is refused fails the check; the rules loaded before are evaluated. Autocommit connection.
    """
    problem = None
    try:
        load_configured(connection, settings)
    except AnalyticsError as error:
        problem = str(error)
    calendars = all_calendars(connection, settings)
    changes = update_alerts(
        connection, table, granularity, database_now(connection), calendars=calendars, ui_url=settings.ui_url
    )
    rules = [active.rule for active in rules_for(connection, table, granularity)]
    checked = evaluate(connection, table, granularity, rules)
    return _result(table.asset(granularity), checked, changes, problem, calendars)


def rules_for(connection: Connection, table: MetricTable, granularity: Granularity) -> list[ActiveRule]:
    """Return the rules in force over the days or months of a metric table."""
    return [a for a in active_rules(connection) if a.rule.metric.table == table and a.rule.granularity is granularity]


def update_alerts(
    connection: Connection,
    table: MetricTable,
    granularity: Granularity,
    now: datetime,
    *,
    calendars: Calendars = NO_CALENDARS,
    ui_url: str = "",
) -> Changes:
    """Evaluate the latest closed period, begin and end alerts by it, and enqueue the messages.

    All of it is one transaction, and one process does it at a time: repeating it changes nothing and notifies nobody.
    ``now`` (aware) is what a rule's ``tell_within`` is counted from; ``ui_url`` is where mails link to, if anywhere.
    """
    changes = Changes()
    with connection.transaction():
        lock_alerts(connection)
        active = rules_for(connection, table, granularity)
        period = latest_closed(connection, table, granularity) if active else None
        if period is None:
            return changes
        figures = _read(connection, table, granularity, period, [a.rule for a in active])
        alerts = open_alerts(connection, [a.rule.id for a in active])
        of_rule = {rule: list(group) for rule, group in groupby(alerts, key=lambda alert: alert.rule_id)}
        for a in active:
            if not _can_decide(a.rule, figures, period):
                continue
            evaluations = evaluate_periods(a.rule, figures, [period])
            of_this = of_rule.get(a.rule.id, [])
            changes.add(follow(connection, a, evaluations, of_this, now, calendars=calendars, ui_url=ui_url))
    return changes


def evaluate(
    connection: Connection, table: MetricTable, granularity: Granularity, rules: Sequence[Rule]
) -> CheckedRules:
    """Return what rules over this table and granularity say of the latest closed period; changes nothing."""
    window = latest_closed(connection, table, granularity)
    if window is None:
        return CheckedRules(None, len(rules), 0, 0, [], [])
    if not rules:
        return CheckedRules(window, 0, 0, 0, [], [])
    evaluated = without_data = 0
    firing, silent = [], []
    for evaluation in evaluate_window(connection, table, granularity, window, rules):
        evaluated += 1
        without_data += evaluation.has_no_data
        if evaluation.fires:
            firing.append(evaluation)
        elif evaluation.has_no_data and evaluation.rule.no_data is NoData.ALERT:
            silent.append(evaluation)
    return CheckedRules(window, len(rules), evaluated, without_data, firing, silent)


def evaluate_window(
    connection: Connection, table: MetricTable, granularity: Granularity, window: Window, rules: Sequence[Rule]
) -> Iterator[RuleEvaluation]:
    """Evaluate every closed period of a window by every rule, which all have to be over this table and granularity."""
    figures = _read(connection, table, granularity, window, rules)
    closed = [period for period in window.split(granularity) if period.start in figures.closed]
    for rule in rules:
        yield from evaluate_periods(rule, figures, closed)


def _can_decide(rule: Rule, figures: Figures, latest: Window) -> bool:
    """Return whether the latest closed period may begin or end alerts of a rule, and is not different by definition.

    One that was only computed again by another version of the definitions was evaluated before. One that is compared
    with periods of another version is evaluated when those are computed again, else with the period that follows.
    """
    if figures.closed[latest.start].is_restated:
        return False
    first = periods_before(rule.granularity, latest.start, look_back(rule))
    return len({closed.definitions_version for start, closed in figures.closed.items() if start >= first}) == 1


def _read(
    connection: Connection, table: MetricTable, granularity: Granularity, window: Window, rules: Sequence[Rule]
) -> Figures:
    start = periods_before(granularity, window.start, max(look_back(rule) for rule in rules))
    return read_figures(connection, table, granularity, Window(start, window.end), {rule.company for rule in rules})


def _result(
    subject: str, checked: CheckedRules, changes: Changes, problem: str | None, calendars: Calendars
) -> CheckResult:
    problems = [] if problem is None else [Violation(f"{problem} The rules loaded before stay in force")]
    problems += _problems("rules fire", checked.firing, calendars)
    problems += _problems("rules have no data", checked.silent, calendars)
    return CheckResult.judge(
        CHECK,
        subject,
        problems,
        good=_good(checked),
        metadata={
            "window": str(checked.window) if checked.window else None,
            "rules": checked.rules,
            "companies and periods judged": checked.evaluated,
            "without data": checked.without_data,
            "firing": len(checked.firing),
            "firing rules": [_row(evaluation, calendars) for evaluation in checked.firing[:_MAX_ROWS]],
            "rules without data": [_row(evaluation, calendars) for evaluation in checked.silent[:_MAX_ROWS]],
            "alerts begun": changes.opened,
            "alerts ended": changes.resolved,
            "messages enqueued": changes.messages,
        },
    )


def _problems(what: str, evaluations: Sequence[RuleEvaluation], calendars: Calendars) -> list[Violation]:
    if not evaluations:
        return []
    shown = "; ".join(_shown(evaluation, calendars) for evaluation in evaluations[:_MAX_SHOWN])
    more = f"; and {len(evaluations) - _MAX_SHOWN} more" if len(evaluations) > _MAX_SHOWN else ""
    is_severe = any(evaluation.rule.severity is Severity.ERROR for evaluation in evaluations)
    return [Violation(f"{what}: {shown}{more}", severity=Severity.ERROR if is_severe else Severity.WARNING)]


def _shown(evaluation: RuleEvaluation, calendars: Calendars) -> str:
    rule = evaluation.rule
    period = period_text(rule.granularity, evaluation.period.start)
    company = _company(evaluation, calendars)
    return f"{rule.id}: {company} {rule.metric.name} {evaluation.shown} ({rule.condition}) {period}"


def _good(checked: CheckedRules) -> str:
    if not checked.rules:
        return "No rule watches these figures."
    if checked.window is None:
        return "Nothing is closed yet."
    rules = "1 rule" if checked.rules == 1 else f"{checked.rules} rules"
    return f"Of {rules} none fires in {checked.window}."


def _row(evaluation: RuleEvaluation, calendars: Calendars) -> dict[str, str]:
    rule = evaluation.rule
    return {
        "rule": rule.id,
        "severity": str(rule.severity),
        "company": _company(evaluation, calendars),
        "period": period_text(rule.granularity, evaluation.period.start),
        "value": evaluation.shown,
        "threshold": rule.condition,
        "why": evaluation.latest.missing,
    }


def _company(evaluation: RuleEvaluation, calendars: Calendars) -> str:
    company = evaluation.company
    return ALL_COMPANIES if company is None else one_line(titled(calendar_in(calendars, company)))
