"""The words of a failure and of its recovery: what, since when, which partitions, why, where to look, what to do."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from analytics_pipeline.messages.message import Content, Event, Severity, one_line, storable
from analytics_pipeline.messages.templates import render

_FOOTER = (
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
    def title(self) -> str:
        """The incident in half a line."""
        return f"{'recovered' if self.recovered_at else 'failed'}: {self.subject}"

    @property
    def heading(self) -> str:
        """The title as the beginning of a sentence."""
        return self.title[0].upper() + self.title[1:]

    @property
    def version(self) -> str:
        """What distinguishes its messages: the one of its end, or of how often it has occurred."""
        return f"{self.key} {'recovered' if self.recovered_at else self.count}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What there is to know, in the order in which people ask."""
        times = "" if self.count == 1 else f", {self.count} times, last {_moment(self.last_at)}"
        found = [("Partitions", self.partitions), ("Failed since", f"{_moment(self.first_at)}{times}")]
        if self.recovered_at:
            found += [("Works since", _moment(self.recovered_at)), ("How", self.recovery)]
            found += [("It had failed with", self.error), ("See", self.link)]
        else:
            found += [("First line of the error", self.error), ("See", self.link), ("What to do", self.remedy)]
        return [(name, one_line(value, _LINE_CHARACTERS)) for name, value in found if value]


def compose(incidents: Sequence[Incident]) -> Content:
    """Return one message about the incidents, at least one; several that are due together are one message.

    Only one about a single incident begins or ends something by itself.
    """
    if not incidents:
        raise ValueError("a message is about at least one incident")
    first = incidents[0]
    is_single = len(incidents) == 1
    recovered = sum(1 for incident in incidents if incident.recovered_at)
    counts = [_count(len(incidents) - recovered, "failure", "failures"), _count(recovered, "recovery", "recoveries")]
    summary = first.title if is_single else f"{' and '.join(filter(None, counts))}, first of {first.subject}"
    subject = f"[analytics] {summary}"
    said = {"title": one_line(subject), "sections": incidents, "footer": _FOOTER}
    return Content(
        subject=subject,
        text=render("failures.txt", said),
        html=render("failures.html", said),
        summary=f"{summary[0].upper()}{summary[1:]}.",
        facts=first.facts if is_single else [(incident.heading, incident.error) for incident in incidents],
        link=(first.link or "") if is_single else "",
        event=_event(first) if is_single else None,
        payload=_payload(incidents, subject),
    )


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


def _moment(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}" if number else ""
