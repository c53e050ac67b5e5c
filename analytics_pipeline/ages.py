"""Ages at which policies act, as people write them: '2 years', '30 days' or 'never'."""

import re

NEVER = "never"
_INTERVAL = re.compile(r"^[1-9]\d{0,5} (hour|day|week|month|year)s?$")


def require_age(value: str) -> str:
    """Return an age as it was given; raises ``ValueError`` unless it looks like '2 years' or is 'never'."""
    if _INTERVAL.match(value) or value == NEVER:
        return value
    raise ValueError(f"must look like '2 years' or '30 days', or be never, not {value!r}")
