"""What a token may be used for."""

from enum import StrEnum


class Scope(StrEnum):
    """What a token may be used for: reading figures, reports, and recording events."""

    FIGURES = "figures"
    REPORTS = "reports"
    EVENTS = "events"
