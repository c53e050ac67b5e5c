"""What the kernel says of a process: with the time it started, its id is that of one process only."""

from pathlib import Path


def process_stat(pid: int) -> tuple[str, int]:
    """Return a process's state, a letter, and when it started, in the kernel's ticks since the machine did.

    Raises ``OSError`` where there is no such process, or no /proc.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    # Fields 3 and 22: the command's name before them may hold anything.
    return fields[0], int(fields[19])
