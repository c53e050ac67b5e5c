"""Why a record was rejected, in words its sender can act on."""

from analytics_pipeline.errors import AnalyticsError

_MAX_SHOWN_CHARACTERS = 60


class RejectedEvent(AnalyticsError):  # noqa: N818 - what happens to a record, not a defect
    """A record that can't be an event: ``reason`` names field, value and remedy; ``kind`` groups reasons."""

    def __init__(self, kind: str, reason: str) -> None:
        """Keep the short kind, which summaries count, beside the full reason."""
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def shown(value: object) -> str:
    """Return the value as a reason shows it: escaped, and cut when long."""
    try:
        # Cut before repr() too: the text may be a megabyte.
        text = repr(value[: _MAX_SHOWN_CHARACTERS + 1] if isinstance(value, str | bytes) else value)
    except (RecursionError, ValueError):
        # Nested hundreds of levels deep, or a whole number of thousands of digits.
        text = f"a {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}..."
