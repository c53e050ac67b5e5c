"""What a token may be used for."""

from enum import StrEnum


class Scope(StrEnum):
    """What a token may be used for: reading figures, reports, recording events, and signing months off."""

    FIGURES = "figures"
    REPORTS = "reports"
    EVENTS = "events"
    SIGN = "sign periods"
