"""How long backups are kept: the newest of each of the last days, weeks and months that have one."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from analytics_pipeline.operations.backup import PREFIX
from analytics_pipeline.operations.places import Backup, list_backups

DAILY, WEEKLY, MONTHLY = 7, 4, 12
# An unfinished one that was begun before that is what a killed process has left.
_UNFINISHED_FOR = timedelta(days=2)


def whole_backups(root: str) -> list[Backup]:
    """Return the finished backups of databases in a place, the oldest first."""
    return [backup for backup in list_backups(root) if backup.name.startswith(PREFIX) and backup.is_whole()]


def drop_superfluous(root: str) -> list[str]:
    """Remove from a place what need not be kept, and return its names: old backups, and what killed ones have left.

    Exports of events stay: they are made by people.
    """
    found = whole_backups(root)
    kept = kept_backups([backup.begun_at for backup in found])
    long_ago = datetime.now(UTC) - _UNFINISHED_FOR
    dropped = [backup for backup in found if backup.begun_at not in kept]
    dropped += [backup for backup in list_backups(root) if not backup.is_whole() and backup.begun_at < long_ago]
    for backup in dropped:
        backup.remove()
    return [backup.name for backup in dropped]


def kept_backups(times: Sequence[datetime]) -> set[datetime]:
    """Return which of the backups begun at these times (UTC) are kept.

    Those are the newest of each of the last 7 days, 4 weeks (from Monday) and 12 months that have any. Days without a
    backup don't count: while none is made, none is lost.
    """
    return (
        _newest(times, DAILY, lambda time: (time.year, time.month, time.day))
        | _newest(times, WEEKLY, lambda time: tuple(time.isocalendar()[:2]))
        | _newest(times, MONTHLY, lambda time: (time.year, time.month))
    )


def _newest(times: Sequence[datetime], count: int, period: Callable[[datetime], tuple[int, ...]]) -> set[datetime]:
    """Return the newest time of each of the last periods."""
    newest = {period(time): time for time in sorted(times)}
    return {newest[key] for key in sorted(newest)[-count:]}
