"""Alerts from their start to their end: rows of ``analytics_alerts``, and the messages enqueued with them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from analytics_pipeline.alerts.active_rules import ActiveRule
from analytics_pipeline.alerts.evaluation import RuleEvaluation
from analytics_pipeline.alerts.notices import Condition, Notice, Resolution, compose
from analytics_pipeline.alerts.rules import EACH_COMPANY, Measure, NoData, Rule
from analytics_pipeline.companies.calendar import Calendars, calendar_in
from analytics_pipeline.locales import DEFAULT_LOCALE
from analytics_pipeline.messages.enqueue import Message, enqueue_incidents
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity

NO_CALENDARS: Calendars = {}
# A rule that has more to say at once says it in one message.
MAX_MESSAGES = 10


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that goes on; the periods are their starts, ``notified_at`` None: nobody was notified."""

    alert_id: int
    rule_id: str
    revision: int
    company: str | None
    granularity: Granularity
    condition: Condition
    first_period: datetime
    last_period: datetime
    value: Decimal | None
    shown: str
    threshold: str
    severity: str
    opened_at: datetime
    notified_at: datetime | None


@dataclass(slots=True)
class Changes:
    """How many alerts began and ended, and how many messages were enqueued for that."""

    opened: int = 0
    resolved: int = 0
    messages: int = 0

    def add(self, other: "Changes") -> None:
        """Count those of another round, too."""
        self.opened += other.opened
        self.resolved += other.resolved
        self.messages += other.messages


def open_alerts(connection: Connection, rules: Collection[str] | None = None) -> list[Alert]:
    """Return the alerts that go on, of the rules named (None: of all)."""
    parameters = {"rules": None if rules is None else list(rules)}
    return [_alert(row) for row in connection.execute(load_query("alert_going_on"), parameters)]


def follow(
    connection: Connection,
    active: ActiveRule,
    evaluations: Iterable[RuleEvaluation],
    alerts: Iterable[Alert],
    now: datetime,
    *,
    calendars: Calendars = NO_CALENDARS,
    ui_url: str = "",
) -> Changes:
    """Begin, continue and end the alerts of one rule as evaluated for its latest closed period, and notify of it.

    ``alerts`` are those of the rule that go on. Part of the caller's transaction, under ``lock_alerts``.
    """
    rule = active.rule
    going_on = {(alert.company, alert.condition): alert for alert in alerts}
    changes, notices, evaluated = Changes(), [], set()
    for evaluation in evaluations:
        evaluated.add(evaluation.company)
        missing = evaluation.has_no_data
        # Without figures nobody knows whether it is over.
        firing = True if evaluation.fires else None if missing else False
        silent = missing and rule.no_data is NoData.ALERT
        for condition, holds in ((Condition.FIRING, firing), (Condition.NO_DATA, silent)):
            alert = going_on.get((evaluation.company, condition))
            if holds:
                alert = _go_on(connection, active, evaluation, condition, alert, changes)
                if alert is not None and alert.notified_at is None and _may_notify(rule, evaluation, now):
                    notices.append(_notice(evaluation, alert))
            elif holds is not None and alert is not None:
                resolution = _resolution(active, evaluation, alert)
                _resolve(connection, alert, resolution)
                changes.resolved += 1
                if alert.notified_at is not None:
                    notices.append(_notice(evaluation, alert, resolution))
    changes.messages = _notify(connection, active, notices, now, calendars, ui_url)
    # A company without any figures is no longer evaluated: what was found of it would go on for ever.
    without_figures = [alert for alert in going_on.values() if alert.company not in evaluated]
    changes.add(close(connection, active, without_figures, calendars=calendars, ui_url=ui_url))
    return changes


def close(
    connection: Connection,
    active: ActiveRule,
    alerts: Sequence[Alert],
    *,
    calendars: Calendars = NO_CALENDARS,
    ui_url: str = "",
) -> Changes:
    """End alerts that their rule no longer covers: removed, changed, or without figures; notify whoever was."""
    notices = []
    for alert in alerts:
        _resolve(connection, alert, Resolution.RULE_REMOVED)
        if alert.notified_at is not None:
            notices.append(
                Notice(
                    alert_id=alert.alert_id,
                    condition=alert.condition,
                    company=alert.company,
                    period=alert.last_period,
                    since=alert.first_period,
                    shown=alert.shown,
                    value=alert.value,
                    resolution=Resolution.RULE_REMOVED,
                )
            )
    messages = _notify(connection, active, notices, database_now(connection), calendars, ui_url)
    return Changes(resolved=len(alerts), messages=messages)


def covers(rule: Rule, alert: Alert) -> bool:
    """Return whether a rule evaluates the company of an alert."""
    return rule.company == alert.company or (rule.company == EACH_COMPANY and alert.company is not None)


def _notify(
    connection: Connection,
    active: ActiveRule,
    notices: Sequence[Notice],
    now: datetime,
    calendars: Calendars,
    ui_url: str,
) -> int:
    """Enqueue messages about alerts of one rule, note that, and return how many messages there are.

    An alert is a message; where a rule has more than ten of one kind, all of them are one.
    """
    kinds: dict[tuple[Condition, Resolution | None, datetime], list[Notice]] = defaultdict(list)
    for unnamed in notices:
        calendar = calendar_in(calendars, unnamed.company) if calendars else None
        notice = unnamed if calendar is None else replace(unnamed, name=calendar.name, time_zone=calendar.time_zone)
        kinds[notice.condition, notice.resolution, notice.period].append(notice)
    count = 0
    for of_kind in kinds.values():
        together = [of_kind] if len(of_kind) > MAX_MESSAGES else [[notice] for notice in of_kind]
        for group in together:
            count += _enqueue(connection, active, group, now, calendars, ui_url)
    if notices:
        connection.execute(load_query("alert_notified"), {"alerts": [notice.alert_id for notice in notices]})
    return count


def _enqueue(
    connection: Connection,
    active: ActiveRule,
    notices: list[Notice],
    now: datetime,
    calendars: Calendars,
    ui_url: str,
) -> int:
    def message(about: Sequence[Notice]) -> Message:
        return _message(active, about, now, locale=_locale(active.rule, about, calendars), ui_url=ui_url)

    together = message(notices)
    single = [together] if len(notices) == 1 else [message([notice]) for notice in notices]
    return enqueue_incidents(connection, active.rule.recipients, together, single)


def _locale(rule: Rule, notices: Sequence[Notice], calendars: Calendars) -> str:
    """Return the locale of a message: the rule's, else that of its companies, the platform's where theirs differ."""
    if rule.locale is not None:
        return rule.locale
    if not calendars:
        return DEFAULT_LOCALE
    locales = {calendar_in(calendars, notice.company).locale for notice in notices}
    return locales.pop() if len(locales) == 1 else calendars[None].locale


def _message(active: ActiveRule, notices: Sequence[Notice], now: datetime, *, locale: str, ui_url: str) -> Message:
    rule, first = active.rule, notices[0]
    return Message(
        kind="alert",
        # An alert begins once and ends once.
        key=f"alert:{first.alert_id}:{'end' if first.resolution else 'start'}",
        content=compose(rule, active.revision, notices, now, ui_url=ui_url, locale=locale),
        company_id=first.company if len(notices) == 1 else None,
        # Whoever opens and closes something by these must not get the end, or the next beginning, first.
        about=[rule.id if notice.company is None else f"{rule.id}:{notice.company}" for notice in notices],
    )


def _go_on(
    connection: Connection,
    active: ActiveRule,
    evaluation: RuleEvaluation,
    condition: Condition,
    alert: Alert | None,
    changes: Changes,
) -> Alert | None:
    """Begin an alert, or bring one that goes on to this period; return it as it then is."""
    rule, start = active.rule, evaluation.period.start
    parameters = {
        "rule": rule.id,
        "revision": active.revision,
        "company": evaluation.company,
        "granularity": str(rule.granularity),
        "condition": str(condition),
        "severity": str(rule.severity),
        "period": start,
        "value": evaluation.latest.figure.value,
        "shown": evaluation.shown,
        "threshold": rule.condition,
    }
    if alert is None:
        row = connection.execute(load_query("alert_open"), parameters).fetchone()
        changes.opened += row is not None
        return None if row is None else _alert(row)
    if condition is Condition.FIRING and evaluation.has_no_data:
        # It goes on by what earlier periods gave.
        parameters |= {"value": alert.value, "shown": alert.shown}
    connection.execute(load_query("alert_continue"), {**parameters, "alert": alert.alert_id})
    return alert


def _alert(row: Sequence[Any]) -> Alert:
    alert_id, rule_id, revision, company, granularity, condition, *rest = row
    return Alert(alert_id, rule_id, revision, company, Granularity(granularity), Condition(condition), *rest)


def _resolve(connection: Connection, alert: Alert, resolution: Resolution) -> None:
    parameters = {"alert": alert.alert_id, "resolution": str(resolution)}
    connection.execute(load_query("alert_resolve"), parameters)


def _resolution(active: ActiveRule, evaluation: RuleEvaluation, alert: Alert) -> Resolution:
    if alert.condition is Condition.NO_DATA and evaluation.has_no_data:
        return Resolution.RULE_CHANGED
    if alert.last_period < evaluation.period.start:
        return Resolution.RECOVERED
    # The same period, evaluated anew: by another rule, or with other figures.
    return Resolution.RULE_CHANGED if alert.revision != active.revision else Resolution.CORRECTED


def _may_notify(rule: Rule, evaluation: RuleEvaluation, now: datetime) -> bool:
    return rule.tell_within is None or now - evaluation.period.end <= rule.tell_within


def _notice(evaluation: RuleEvaluation, alert: Alert, resolution: Resolution | None = None) -> Notice:
    latest = evaluation.latest
    return Notice(
        alert_id=alert.alert_id,
        condition=alert.condition,
        company=evaluation.company,
        period=evaluation.period.start,
        since=alert.first_period,
        shown=evaluation.shown,
        value=latest.figure.value,
        change=None if evaluation.rule.threshold.measure is Measure.VALUE else latest.compared,
        reason=latest.missing,
        resolution=resolution,
    )
