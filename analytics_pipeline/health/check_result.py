"""What a check found, in words and in numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from analytics_pipeline.windows import Window

# Counts, texts, instants, lists and objects: whatever JSON can say, plus datetimes and intervals as text.
Metadata = Mapping[str, Any]


class Severity(StrEnum):
    """How bad a failed check is: an error means wrong or missing figures, now or soon; a warning does not."""

    WARNING = "warning"
    ERROR = "error"


class State(StrEnum):
    """How a finding is shown."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    ERROR = "error"


def close_command(window: Window) -> str:
    """Return the command that closes a half-open window, to the minute: the remedy of much that is found."""
    return f"analytics-pipeline close --start {window.start:%Y-%m-%dT%H:%M} --end {window.end:%Y-%m-%dT%H:%M}"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong: what, and the exact SQL or command that fixes it (empty: the sentence says it).

    ``fallback`` is for when the remedy alone changes nothing.
    """

    text: str
    remedy: str = ""
    severity: Severity = Severity.ERROR
    fallback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The outcome of one check of one subject (a relation, or ``server``).

    ``summary`` is for people; ``metadata`` holds what was measured, ``limits`` what it was compared with: thresholds,
    and how far back was looked, which are the same each time.
    ``failed_windows``: the partitions that fail, if all of them are known; the rest of what was judged passes.
    """

    check: str
    subject: str
    passed: bool
    summary: str
    severity: Severity = Severity.ERROR
    remedies: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    limits: Metadata = field(default_factory=dict)
    skipped: bool = False
    failed_windows: tuple[Window, ...] = ()

    @classmethod
    def judge(
        cls,
        check: str,
        subject: str,
        problems: Sequence[Violation],
        *,
        good: str,
        metadata: Metadata | None = None,
        limits: Metadata | None = None,
        failed_windows: Iterable[Window] = (),
    ) -> "CheckResult":
        """Return a finding that fails with the problems, as severe as the worst of them, or passes with ``good``."""
        severe = any(problem.severity is Severity.ERROR for problem in problems)
        given = [remedy for problem in problems for remedy in (problem.remedy, problem.fallback) if remedy]
        return cls(
            check=check,
            subject=subject,
            passed=not problems,
            severity=Severity.ERROR if severe or not problems else Severity.WARNING,
            summary=" ".join(_sentence(problem.text) for problem in problems) or good,
            remedies=tuple(dict.fromkeys(given)),
            metadata=metadata or {},
            limits=limits or {},
            failed_windows=tuple(failed_windows),
        )

    @property
    def state(self) -> State:
        """How to show it."""
        if self.skipped:
            return State.SKIPPED
        return State.OK if self.passed else State(self.severity)

    @property
    def text(self) -> str:
        """The summary with its remedies, in one paragraph."""
        if not self.remedies:
            return self.summary
        return f"{self.summary} Remedy: {' and then '.join(self.remedies)}"

    def as_json(self) -> dict[str, Any]:
        """Return the finding with the fields of the command's JSON."""
        return {
            "check": self.check,
            "subject": self.subject,
            "state": str(self.state),
            "summary": self.summary,
            "remedies": list(self.remedies),
            "metadata": {**self.metadata, **self.limits},
        }


def _sentence(text: str) -> str:
    first_word = text.split(maxsplit=1)[0]
    # A name of the database is no word to be capitalised.
    text = text if "_" in first_word else text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
