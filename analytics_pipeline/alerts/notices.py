"""What messages about alerts say, and the JSON of a webhook.

Ids and names of companies come from data: every piece of text becomes one plain line; in HTML the templates escape it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from analytics_pipeline.alerts.alert_words import SEVERITIES, condition_in_words, figure_in_words, in_notation
from analytics_pipeline.alerts.rules import Rule
from analytics_pipeline.health.check_result import Severity
from analytics_pipeline.languages.wording import message, plural
from analytics_pipeline.locales import DEFAULT_LOCALE
from analytics_pipeline.messages.message import Content, Event, one_line, storable
from analytics_pipeline.messages.templates import render
from analytics_pipeline.text import isolated
from analytics_pipeline.windows import Granularity

if TYPE_CHECKING:
    from analytics_pipeline.messages.message_notation import MessageNotation

ALL_COMPANIES = message("all companies")

_COMPANY_CHARACTERS = 100
# A mail lists so many companies; the JSON has all of them.
_MAX_ROWS = 200
_FOOTER = message(
    "You get one message when an alert begins and one when it is over; 'analytics-pipeline alerts list' shows all."
)
_GRANULARITIES = {Granularity.DAY: message("Day"), Granularity.MONTH: message("Month")}


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
    Resolution.RECOVERED: message("resolved"),
    Resolution.CORRECTED: message("corrected"),
    Resolution.RULE_CHANGED: message("closed"),
    Resolution.RULE_REMOVED: message("closed"),
}
_BEGUN = {
    Condition.FIRING: message("Firing: the figure has crossed the threshold of the rule."),
    Condition.NO_DATA: message("No data: there is nothing to compare with the threshold."),
}
_OVER = {
    Resolution.RECOVERED: message("Over: a period has been closed that is as it should be."),
    Resolution.CORRECTED: message(
        "Corrected: the figures of this very period have changed since, and are as they should be."
    ),
    Resolution.RULE_CHANGED: message(
        "Closed: the rule was changed, and the figure does not cross its threshold as it is now."
    ),
    Resolution.RULE_REMOVED: message(
        "Closed: the rule was removed or no longer covers this, or notifies others; what it still finds begins anew."
    ),
}
_FIGURES_AGAIN = message("Over: there are figures again.")
_SILENCE_OVER = {
    Resolution.RECOVERED: _FIGURES_AGAIN,
    Resolution.CORRECTED: _FIGURES_AGAIN,
    Resolution.RULE_CHANGED: message("Closed: the rule was changed, and no longer notifies of missing figures."),
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


def compose(
    rule: Rule,
    revision: int,
    notices: Sequence[Notice],
    now: datetime,
    *,
    ui_url: str = "",
    locale: str = DEFAULT_LOCALE,
) -> Content:
    """Return one message about alerts of one rule that share condition, resolution and period; at least one.

    It links to the closed figures in the Dagster UI, if ``ui_url`` says where that is, and is in the words and the
    notation of ``locale``. Only one about a single alert begins or ends something by itself.
    """
    # It loads Babel: not while definitions load.
    from analytics_pipeline.messages.message_notation import notation_of

    words = _Words(rule, notation_of(locale))
    first = notices[0]
    is_single = len(notices) == 1
    rows = [] if is_single else [(words.company(n), words.found(n), words.period(n.since)) for n in notices]
    subject = words.subject(notices)
    link = f"{ui_url}/assets/{rule.metric.table.asset(rule.granularity)}?view=checks" if ui_url else ""
    heading = rule.description or words.say(
        message("{figure} {condition}", figure=words.figure, condition=words.condition)
    )
    summary = words.say(_summary(first))
    facts = words.facts(notices)
    listed = [words.row(*row) for row in rows[:_MAX_ROWS]]
    said = {
        "_": lambda text: words.say(message(text)),
        "language": words.notation.language.code,
        "title": heading,
        "heading": heading,
        "summary": summary,
        "facts": facts,
        "rows": rows[:_MAX_ROWS],
        "listed": listed,
        "more": words.more(len(rows) - _MAX_ROWS),
        "link": link,
        "footer": words.say(_FOOTER),
    }
    return Content(
        subject=subject,
        text=render("notice.txt", said),
        html=render("notice.html", said),
        summary=summary,
        facts=facts,
        link=link,
        opens=words.say(message("Open")),
        language=words.notation.language,
        event=_event(rule, first, now) if is_single else None,
        payload=_payload(rule, revision, notices, subject, now),
    )


@dataclass(frozen=True, slots=True)
class _Words:
    """What a message about alerts of a rule says, in the words and the notation of its locale."""

    rule: Rule
    notation: "MessageNotation"

    def say(self, text: str) -> str:
        """Return a message in the language."""
        return self.notation.say(text)

    @property
    def figure(self) -> str:
        """What the figure is called: in English by the name that the rule has for it."""
        metric = self.rule.metric
        return metric.name if self.notation.is_english else self.say(metric.title)

    @property
    def condition(self) -> str:
        """What the rule watches for."""
        return in_notation(condition_in_words(self.rule.condition), self.notation)

    def found(self, notice: Notice) -> str:
        """Return the figure, or how far it has come to which one."""
        return in_notation(figure_in_words(notice.shown), self.notation)

    def period(self, start: datetime) -> str:
        """Return the name of the day or month that starts then (midnight UTC of its date)."""
        if self.notation.is_english:
            return period_text(self.rule.granularity, start)
        day = start.date()
        return self.notation.day(day) if self.rule.granularity is Granularity.DAY else self.notation.month(day)

    def company(self, notice: Notice) -> str:
        """Return what the company is called, or the words for all of them."""
        return self.say(_company(notice))

    def subject(self, notices: Sequence[Notice]) -> str:
        """Return severity or end, rule, company, figure, condition and period in one line."""
        first = notices[0]
        if len(notices) == 1:
            who, what = self.company(first), self.found(first)
        else:
            number = self.notation.count(len(notices))
            who = plural("{number} company", "{number} companies", len(notices), number=number)
            what = message("no data") if _is_silent(first) else ""
        is_no_longer_silent = first.resolution is not None and first.condition is Condition.NO_DATA
        values = {
            "label": SEVERITIES[self.rule.severity] if first.resolution is None else _LABELS[first.resolution],
            "rule": self.rule.id,
            "company": who,
            "figure": self.figure,
            "condition": message("no data before") if is_no_longer_silent else self.condition,
            "period": self.period(first.period),
        }
        subject = (
            message("[{label}] {rule}: {company} {figure} {found} ({condition}) {period}", found=what, **values)
            if what
            else message("[{label}] {rule}: {company} {figure} ({condition}) {period}", **values)
        )
        return one_line(self.say(subject))

    def facts(self, notices: Sequence[Notice]) -> list[tuple[str, str]]:
        """Return what there is to know, in the order in which people ask."""
        rule, first = self.rule, notices[0]
        severity, period = self.say(SEVERITIES[rule.severity]), self.period(first.period)
        metric = rule.metric
        figure = metric.name if self.notation.is_english else f"{self.figure} ({metric.name})"
        facts = [
            (message("Rule"), f"{rule.id}, {severity}"),
            (message("Figure"), f"{figure}: {self.say(metric.description)}"),
            (message("Condition"), self.condition),
            (_GRANULARITIES[rule.granularity], f"{period} ({self.say(_zone(notices))})"),
        ]
        if len(notices) > 1:
            facts.append((message("Companies"), self.notation.count(len(notices))))
        else:
            facts += [(message("Company"), self.company(first)), (message("Value"), self.found(first))]
            if first.reason:
                facts.append((message("Why"), one_line(self.say(first.reason))))
            facts.append((message("Since"), self.period(first.since)))
        return [(self.say(name), value) for name, value in facts]

    def row(self, company: str, found: str, since: str) -> str:
        """Return one company of several in a line."""
        said = message("{company}: {found}, since {period}", company=isolated(company), found=found, period=since)
        return self.say(said)

    def more(self, number: int) -> str:
        """Return how many companies are not listed, empty if all are."""
        if number <= 0:
            return ""
        return self.say(message("and {number} more", number=self.notation.count(number)))


def _company(notice: Notice) -> str:
    return ALL_COMPANIES if notice.company is None else one_line(notice.name or notice.company, _COMPANY_CHARACTERS)


def _event(rule: Rule, notice: Notice, now: datetime) -> Event:
    return Event(
        key=f"alert:{notice.alert_id}",
        # In English: PagerDuty groups and routes by it.
        source=f"{rule.metric.name} of {_company(notice)}",
        severity="error" if rule.severity is Severity.ERROR else "warning",
        at=now,
        is_over=notice.resolution is not None,
    )


def _summary(notice: Notice) -> str:
    if notice.resolution is None:
        return _BEGUN[notice.condition]
    of_silence = _SILENCE_OVER if notice.condition is Condition.NO_DATA else {}
    return of_silence.get(notice.resolution, _OVER[notice.resolution])


def _is_silent(notice: Notice) -> bool:
    return notice.condition is Condition.NO_DATA and notice.resolution is None


def _zone(notices: Sequence[Notice]) -> str:
    zones = {notice.time_zone for notice in notices}
    return zones.pop() if len(zones) == 1 else message("where each company is")


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
