"""What ``status`` says of an embedded server."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

State = Literal["running", "starting", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedStatus:
    """One look at an embedded server; ``url`` holds a password where the server asks for one."""

    state: State
    data_dir: Path
    log_file: Path
    pid: int | None = None
    url: str | None = field(default=None, repr=False)
    versions: dict[str, str] = field(default_factory=dict)
    since: datetime | None = None
    clients: int | None = None
    waiting: int | None = None
    busy_since: datetime | None = None
    last_error: str | None = None

    @property
    def running(self) -> bool:
        """Whether the server takes clients."""
        return self.state == "running"

    def __str__(self) -> str:
        """Return ``running``, ``stopped`` or ``failed: <reason>``."""
        return f"failed: {self.last_error}" if self.state == "failed" else self.state
