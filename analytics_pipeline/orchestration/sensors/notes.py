"""What sensors say to people: bounded in length, and in the log once, not at every tick."""

import hashlib
from collections.abc import Iterable

from dagster import SensorEvaluationContext

from analytics_pipeline.text import printable

MAX_SHOWN = 5
_MAX_LENGTH = 400


def in_words(notes: Iterable[str]) -> str:
    """Return the first notes as one text, each bounded, with how many there are besides."""
    listed = list(notes)
    shown = [note if len(note) <= _MAX_LENGTH else f"{note[: _MAX_LENGTH - 3]}..." for note in listed[:MAX_SHOWN]]
    more = [f"and {len(listed) - MAX_SHOWN} more"] if len(listed) > MAX_SHOWN else []
    return "; ".join([*shown, *more])


def warn_of_news(context: SensorEvaluationContext, notes: Iterable[str]) -> str:
    """Log notes as a warning if they are not those of the tick before, and return the cursor that remembers them."""
    text = printable(in_words(notes))
    cursor = hashlib.sha256(text.encode()).hexdigest() if text else "none"
    if text and cursor != context.cursor:
        context.log.warning(text)
    return cursor
