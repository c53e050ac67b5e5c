"""The words of a failure and of its recovery: what, since when, which partitions, why, where to look, what to do."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from analytics_pipeline.languages.wording import Message, message, plural
from analytics_pipeline.locales import DEFAULT_LOCALE
from analytics_pipeline.messages.incident_words import (
    error_in_words,
    partitions_in_words,
    remedy_in_words,
    subject_in_words,
)
from analytics_pipeline.messages.message import Content, Event, Severity, one_line, storable
from analytics_pipeline.messages.templates import render
from analytics_pipeline.text import capitalised

if TYPE_CHECKING:
    from analytics_pipeline.messages.message_notation import MessageNotation

_FOOTER = message(
    "You get one message when something fails and one when it works again. 'analytics-pipeline outbox list' shows the "
    "messages; every failure is in the table analytics_notifications."
)
_LINE_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Incident:
    """A failure, from its first occurrence to its recovery (None while it lasts)."""

    key: str
    subject: str
    first_at: datetime
    last_at: datetime
    count: int
    recovered_at: datetime | None
    partitions: str | None
    error: str
    remedy: str
    link: str | None
    recovery: str | None
    severity: Severity = "error"

    @property
    def title(self) -> Message:
        """The incident in half a line."""
        subject = subject_in_words(self.subject)
        if self.recovered_at:
            return message("recovered: {subject}", subject=subject)
        return message("failed: {subject}", subject=subject)

    @property
    def version(self) -> str:
        """What distinguishes its messages: the one of its end, or of how often it has occurred."""
        return f"{self.key} {'recovered' if self.recovered_at else self.count}"

    def facts(self, notation: "MessageNotation") -> list[tuple[str, str]]:
        """Return what there is to know, in the order in which people ask, in the words of a language."""
        error, link = error_in_words(self.error), self.link or ""
        found = [(message("Partitions"), partitions_in_words(self.partitions or ""))]
        found.append((message("Failed since"), self._since(notation)))
        if self.recovered_at:
            found.append((message("Works since"), notation.moment(self.recovered_at)))
            found.append((message("How"), remedy_in_words(self.recovery or "")))
            found += [(message("It had failed with"), error), (message("See"), link)]
        else:
            found += [(message("First line of the error"), error), (message("See"), link)]
            found.append((message("What to do"), remedy_in_words(self.remedy)))
        say = notation.say
        return [(say(name), one_line(say(value), _LINE_CHARACTERS)) for name, value in found if value]

    def _since(self, notation: "MessageNotation") -> str:
        first = notation.moment(self.first_at)
        if self.count == 1:
            return first
        number, last = notation.count(self.count), notation.moment(self.last_at)
        return message("{first}, {number} times, last {last}", first=first, number=number, last=last)


def compose(incidents: Sequence[Incident], locale: str = DEFAULT_LOCALE) -> Content:
    """Return one message about the incidents, at least one; several that are due together are one message.

    It is in the words and the notation of a locale. Only one about a single incident begins or ends something by
    itself.
    """
    if not incidents:
        raise ValueError("a message is about at least one incident")
    # It loads Babel: only who has something to say pays for it.
    from analytics_pipeline.messages.message_notation import notation_of

    notation = notation_of(locale)
    say = notation.say
    first = incidents[0]
    is_single = len(incidents) == 1
    sections = [
        {"heading": capitalised(say(incident.title)), "facts": incident.facts(notation)} for incident in incidents
    ]
    summary = say(first.title if is_single else _summary(incidents, notation))
    subject = f"[analytics] {summary}"
    said = {
        "title": one_line(subject),
        "language": notation.language.code,
        "sections": sections,
        "footer": say(_FOOTER),
    }
    return Content(
        subject=subject,
        text=render("failures.txt", said),
        html=render("failures.html", said),
        summary=f"{capitalised(summary)}.",
        facts=(
            first.facts(notation)
            if is_single
            else [(capitalised(say(incident.title)), say(error_in_words(incident.error))) for incident in incidents]
        ),
        link=(first.link or "") if is_single else "",
        opens=say(message("Open")),
        language=notation.language,
        event=_event(first) if is_single else None,
        payload=_payload(incidents, subject),
    )


def _summary(incidents: Sequence[Incident], notation: "MessageNotation") -> Message:
    """Return how many failures and recoveries there are, and the first of them."""
    recovered = sum(1 for incident in incidents if incident.recovered_at)
    failed = len(incidents) - recovered
    failures = plural("{number} failure", "{number} failures", failed, number=notation.count(failed))
    recoveries = plural("{number} recovery", "{number} recoveries", recovered, number=notation.count(recovered))
    counted = message("{failures} and {recoveries}", failures=failures, recoveries=recoveries)
    if not failed or not recovered:
        counted = failures if failed else recoveries
    return message("{counted}, first of {subject}", counted=counted, subject=subject_in_words(incidents[0].subject))


def _event(incident: Incident) -> Event:
    return Event(
        key=incident.key,
        source=incident.subject,
        severity=incident.severity,
        at=incident.recovered_at or incident.last_at,
        is_over=incident.recovered_at is not None,
    )


def _payload(incidents: Sequence[Incident], subject: str) -> str:
    """Return the JSON that docs/notifications.md describes."""
    payload = {
        "type": f"failure.{'recovered' if all(incident.recovered_at for incident in incidents) else 'failed'}",
        "timestamp": max(incident.recovered_at or incident.last_at for incident in incidents).isoformat(),
        "text": subject,
        "data": {
            "failures": [
                {
                    "key": incident.key,
                    "subject": incident.subject,
                    "partitions": incident.partitions,
                    "since": incident.first_at.isoformat(),
                    "last": incident.last_at.isoformat(),
                    "times": incident.count,
                    "recoveredAt": incident.recovered_at and incident.recovered_at.isoformat(),
                    "error": incident.error,
                    "remedy": incident.remedy,
                    "link": incident.link,
                }
                for incident in incidents
            ]
        },
    }
    return storable(json.dumps(payload))
