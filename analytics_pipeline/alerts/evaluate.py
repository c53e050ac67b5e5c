"""Evaluates the rules over closed periods: what they say of the latest one, and what that changes today.

Belongs here: which periods are judged, and that the latest closed one alone begins and ends alerts. Does not belong
here: judging one period (``judge``), alerts themselves (``incidents``).

Filling in or closing old periods again notifies nobody. The latest closed period is judged
each time, because late events may have changed it, or what it is compared with. A new version of the definitions
begins and ends no alert about what has been judged by the one before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from analytics_pipeline.alerts.figures import Figures, latest_closed, periods_before, read_figures
from analytics_pipeline.alerts.incidents import Changes, follow, open_alerts
from analytics_pipeline.alerts.judge import RuleEvaluation, judge_periods, look_back
from analytics_pipeline.alerts.rules import NoData, Rule
from analytics_pipeline.alerts.store import ActiveRule, active_rules, lock_alerts
from analytics_pipeline.metrics.tables import MetricTable
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What rules say of the latest closed period, the window (None: nothing is closed).

    ``firing`` and ``silent`` (no data, of rules that tell of it) are in the order of rules, companies, periods;
    ``judged`` counts companies and periods, ``without_data`` those that have nothing to compare.
    """

    window: Window | None
    rules: int
    judged: int
    without_data: int
    firing: Sequence[RuleEvaluation]
    silent: Sequence[RuleEvaluation]


def rules_for(connection: Connection, table: MetricTable, granularity: Granularity) -> list[ActiveRule]:
    """Return the rules in force over the days or months of a metric table."""
    return [a for a in active_rules(connection) if a.rule.metric.table == table and a.rule.granularity is granularity]


def update_alerts(
    connection: Connection, table: MetricTable, granularity: Granularity, now: datetime, *, ui_url: str = ""
) -> Changes:
    """Judge the latest closed period, begin and end alerts by it, and put the messages into the outbox.

    All of it is one transaction, and one process does it at a time: repeating it changes and tells nothing.
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
            judgements = judge_periods(a.rule, figures, [period])
            changes.add(follow(connection, a, judgements, of_rule.get(a.rule.id, []), now, ui_url=ui_url))
    return changes


def evaluate(connection: Connection, table: MetricTable, granularity: Granularity, rules: Sequence[Rule]) -> Evaluation:
    """Return what rules over this table and granularity say of the latest closed period; changes nothing."""
    window = latest_closed(connection, table, granularity)
    if window is None:
        return Evaluation(None, len(rules), 0, 0, [], [])
    if not rules:
        return Evaluation(window, 0, 0, 0, [], [])
    judged = without_data = 0
    firing, silent = [], []
    for judgement in judge_window(connection, table, granularity, window, rules):
        judged += 1
        without_data += judgement.has_no_data
        if judgement.fires:
            firing.append(judgement)
        elif judgement.has_no_data and judgement.rule.no_data is NoData.ALERT:
            silent.append(judgement)
    return Evaluation(window, len(rules), judged, without_data, firing, silent)


def judge_window(
    connection: Connection, table: MetricTable, granularity: Granularity, window: Window, rules: Sequence[Rule]
) -> Iterator[RuleEvaluation]:
    """Judge every closed period of a window by every rule, which all have to be over this table and granularity."""
    figures = _read(connection, table, granularity, window, rules)
    closed = [period for period in window.split(granularity) if period.start in figures.closed]
    for rule in rules:
        yield from judge_periods(rule, figures, closed)


def _can_decide(rule: Rule, figures: Figures, latest: Window) -> bool:
    """Tell whether the latest closed period may begin or end alerts of a rule, and is not different by definition.

    One that was only computed again by another version of the definitions was judged before. One that is compared with
    periods of another version is judged when those are computed again, else with the period that follows.
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
