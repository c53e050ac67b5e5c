"""The words of a message: what failed, since when, which partitions, why, where to look, what to do.

Belongs here: wording. Does not belong here: deciding that something is told.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from analytics_pipeline.messages.notifier import Message

_ERROR_CHARACTERS = 500
_FOOTER = (
    "You get one message when something fails and one when it works again; everything told and still to be told "
    "is in the table analytics_notifications."
)


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

    @property
    def title(self) -> str:
        """The incident in half a line."""
        return f"{'recovered' if self.recovered_at else 'failed'}: {self.subject}"


def compose(incidents: Sequence[Incident]) -> Message:
    """Return one message about the incidents; several that are due together are told together."""
    if not incidents:
        raise ValueError("a message is about at least one incident")
    recovered = sum(1 for incident in incidents if incident.recovered_at)
    failed = len(incidents) - recovered
    if len(incidents) == 1:
        summary = incidents[0].title
    else:
        counts = [_count(failed, "failure", "failures"), _count(recovered, "recovery", "recoveries")]
        summary = f"{' and '.join(filter(None, counts))}, first of {incidents[0].subject}"
    identity = "\n".join(f"{i.key} {i.count if not i.recovered_at else 'recovered'}" for i in incidents)
    sections = [_section(incident) for incident in incidents]
    return Message(
        subject=f"[analytics] {summary}",
        text="\n\n".join([*sections, _FOOTER]) + "\n",
        id=hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()[:32],
    )


def first_line(error: str | None) -> str:
    """Return the first line of an error that says something, without credentials, cut when long."""
    lines = (line.strip() for line in (error or "").splitlines())
    line = next((line for line in lines if line), "no reason given")
    return without_credentials(line)[:_ERROR_CHARACTERS]


def visible_line(text: str) -> str:
    """Return the text as one line: what is not printable becomes a blank, blanks in a row one."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def without_credentials(text: str) -> str:
    """Return the text without user names and passwords in URIs and connection strings."""
    text = re.sub(r"//[^/@\s]*@", "//", text)
    return re.sub(r"(?i)\bpassword\s*=\s*('[^']*'|\S+)", "password=...", text)


def _section(incident: Incident) -> str:
    lines = [incident.title[0].upper() + incident.title[1:]]
    if incident.partitions:
        lines.append(f"Partitions: {incident.partitions}")
    times = "" if incident.count == 1 else f", {incident.count} times, last {_moment(incident.last_at)}"
    lines.append(f"Failed since: {_moment(incident.first_at)}{times}")
    if incident.recovered_at:
        lines.append(f"Works since: {_moment(incident.recovered_at)}")
        if incident.recovery:
            lines.append(f"How: {incident.recovery}")
        lines.append(f"It had failed with: {incident.error}")
    else:
        lines.append(f"First line of the error: {incident.error}")
    if incident.link:
        lines.append(f"See: {incident.link}")
    if not incident.recovered_at:
        lines.append(f"What to do: {incident.remedy}")
    return "\n".join(lines)


def _moment(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}" if number else ""
