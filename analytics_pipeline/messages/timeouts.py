"""How long the program waits for the other side of a channel."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: for each step of a conversation, and for the answer to the whole message."""

    step: float
    answer: float
