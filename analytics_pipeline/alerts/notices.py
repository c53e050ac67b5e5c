"""What messages about alerts say, and the JSON of a webhook.

Ids and names of companies come from data: every piece of text becomes one plain line; in HTML the templates escape it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from analytics_pipeline.alerts.rules import Rule
from analytics_pipeline.health.check_result import Severity
from analytics_pipeline.messages.message import Content, Event, one_line, storable
from analytics_pipeline.messages.templates import render
from analytics_pipeline.windows import Granularity

ALL_COMPANIES = "all companies"

_COMPANY_CHARACTERS = 100
# A mail lists so many companies; the JSON has all of them.
_MAX_ROWS = 200
_FOOTER = (
    "You get one message when an alert begins and one when it is over; 'analytics-pipeline alerts list' shows all."
)


class Condition(StrEnum):
    """What an alert is about: the threshold is crossed, or there is nothing to compare with it."""

    FIRING = "firing"
    NO_DATA = "no_data"


class Resolution(StrEnum):
    """Why an alert is over."""

    RECOVERED = "recovered"
    CORRECTED = "corrected"
    RULE_CHANGED = "rule changed"
    RULE_REMOVED = "rule removed"


_LABELS = {
    Resolution.RECOVERED: "resolved",
    Resolution.CORRECTED: "corrected",
    Resolution.RULE_CHANGED: "closed",
    Resolution.RULE_REMOVED: "closed",
}
_BEGUN = {
    Condition.FIRING: "Firing: the figure has crossed the threshold of the rule.",
    Condition.NO_DATA: "No data: there is nothing to compare with the threshold.",
}
_OVER = {
    Resolution.RECOVERED: "Over: a period has been closed that is as it should be.",
    Resolution.CORRECTED: "Corrected: the figures of this very period have changed since, and are as they should be.",
    Resolution.RULE_CHANGED: "Closed: the rule was changed, and the figure does not cross its threshold as it is now.",
    Resolution.RULE_REMOVED: (
        "Closed: the rule was removed or no longer covers this, or notifies others; what it still finds begins anew."
    ),
}
_FIGURES_AGAIN = "Over: there are figures again."
_SILENCE_OVER = {
    Resolution.RECOVERED: _FIGURES_AGAIN,
    Resolution.CORRECTED: _FIGURES_AGAIN,
    Resolution.RULE_CHANGED: "Closed: the rule was changed, and no longer notifies of missing figures.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One alert as a message shows it.

    ``name`` is what the company is called, None: by its id; ``time_zone`` that of its days and months.
    ``resolution`` is why it is over, None: it has begun. ``shown`` is the figure in words, ``value`` and ``change``
    the numbers, as of the period that starts at ``period``; ``reason`` is why there is no figure.
    """

    alert_id: int
    condition: Condition
    company: str | None
    period: datetime
    since: datetime
    shown: str
    value: Decimal | None
    change: Decimal | None = None
    reason: str = ""
    resolution: Resolution | None = None
    name: str | None = None
    time_zone: str = "UTC"


def compose(rule: Rule, revision: int, notices: Sequence[Notice], now: datetime, *, ui_url: str = "") -> Content:
    """Return one message about alerts of one rule that share condition, resolution and period; at least one.

    It links to the closed figures in the Dagster UI, if ``ui_url`` says where that is. Only one about a single alert
    begins or ends something by itself.
    """
    first = notices[0]
    is_single = len(notices) == 1
    period = period_text(rule.granularity, first.period)
    rows = [] if is_single else [(_company(n), n.shown, period_text(rule.granularity, n.since)) for n in notices]
    subject = _subject(rule, notices, period)
    link = f"{ui_url}/assets/{rule.metric.table.asset(rule.granularity)}?view=checks" if ui_url else ""
    heading = rule.description or f"{rule.metric.name} {rule.condition}"
    said = {
        "heading": heading,
        "summary": _summary(first),
        "facts": _facts(rule, notices, period),
        "rows": rows[:_MAX_ROWS],
        "more": max(len(rows) - _MAX_ROWS, 0),
        "link": link,
        "footer": _FOOTER,
    }
    return Content(
        subject=subject,
        text=render("notice.txt", said),
        html=render("notice.html", {**said, "title": heading, "link_text": "The figures in Dagster"}),
        summary=_summary(first),
        facts=_facts(rule, notices, period),
        link=link,
        event=_event(rule, first, now) if is_single else None,
        payload=_payload(rule, revision, notices, subject, now),
    )


def _event(rule: Rule, notice: Notice, now: datetime) -> Event:
    return Event(
        key=f"alert:{notice.alert_id}",
        source=f"{rule.metric.name} of {_company(notice)}",
        severity="error" if rule.severity is Severity.ERROR else "warning",
        at=now,
        is_over=notice.resolution is not None,
    )


def _subject(rule: Rule, notices: Sequence[Notice], period: str) -> str:
    first = notices[0]
    label = str(rule.severity) if first.resolution is None else _LABELS[first.resolution]
    if len(notices) == 1:
        who, what = _company(first), first.shown
    else:
        who, what = f"{len(notices)} companies", "no data" if _is_silent(first) else ""
    against = "no data before" if first.resolution and first.condition is Condition.NO_DATA else rule.condition
    return one_line(f"[{label}] {rule.id}: {who} {rule.metric.name} {what} ({against}) {period}")


def _summary(notice: Notice) -> str:
    if notice.resolution is None:
        return _BEGUN[notice.condition]
    of_silence = _SILENCE_OVER if notice.condition is Condition.NO_DATA else {}
    return of_silence.get(notice.resolution, _OVER[notice.resolution])


def _is_silent(notice: Notice) -> bool:
    return notice.condition is Condition.NO_DATA and notice.resolution is None


def _company(notice: Notice) -> str:
    return ALL_COMPANIES if notice.company is None else one_line(notice.name or notice.company, _COMPANY_CHARACTERS)


def _zone(notices: Sequence[Notice]) -> str:
    zones = {notice.time_zone for notice in notices}
    return zones.pop() if len(zones) == 1 else "where each company is"


def _facts(rule: Rule, notices: Sequence[Notice], period: str) -> list[tuple[str, str]]:
    first = notices[0]
    facts = [("Rule", f"{rule.id}, {rule.severity}"), ("Figure", f"{rule.metric.name}: {rule.metric.description}")]
    facts += [("Condition", rule.condition), (str(rule.granularity).capitalize(), f"{period} ({_zone(notices)})")]
    if len(notices) > 1:
        return [*facts, ("Companies", str(len(notices)))]
    facts += [("Company", _company(first)), ("Value", first.shown)]
    if first.reason:
        facts.append(("Why", one_line(first.reason)))
    return [*facts, ("Since", period_text(rule.granularity, first.since))]


def _payload(rule: Rule, revision: int, notices: Sequence[Notice], subject: str, now: datetime) -> str:
    """Return the JSON that docs/alerts.md describes; numbers are exact, as text."""
    content = {
        "type": f"alert.{'resolved' if notices[0].resolution else notices[0].condition}",
        "timestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "text": subject,
        "data": {
            "rule": rule.id,
            "revision": revision,
            "description": rule.description,
            "severity": str(rule.severity),
            "metric": rule.metric.name,
            "unit": str(rule.metric.unit),
            "granularity": str(rule.granularity),
            "condition": rule.condition,
            "alerts": [
                {
                    "id": notice.alert_id,
                    "companyId": notice.company,
                    "companyName": None if notice.company is None else notice.name or notice.company,
                    "timeZone": notice.time_zone,
                    "period": period_text(rule.granularity, notice.period),
                    "since": period_text(rule.granularity, notice.since),
                    "value": exact(notice.value),
                    "change": exact(notice.change),
                    "shown": notice.shown,
                    "reason": notice.reason or None,
                    "resolution": notice.resolution,
                }
                for notice in notices
            ],
        },
    }
    return storable(json.dumps(content))


def period_text(granularity: Granularity, start: datetime) -> str:
    """Return the name of a day or month: ``2026-01-31``, ``2026-01``."""
    return f"{start:%Y-%m-%d}" if granularity is Granularity.DAY else f"{start:%Y-%m}"


def exact(value: Decimal | None) -> str | None:
    """Return all digits of a number, for programs."""
    return None if value is None else f"{value:f}"
