"""Settings of the server that decide whether months of buckets stay fast, against the machine's memory."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from psycopg.rows import class_row

from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

_MIB = 1024 * 1024

# Shares of the machine's memory; between the bounds a server is left to whoever tuned it.
SHARED_BUFFERS_WANTED = 0.25
SHARED_BUFFERS_LEAST = 0.10
SHARED_BUFFERS_MOST = 0.50
CACHE_WANTED = 0.75
CACHE_LEAST = 0.40
# Where the memory isn't known, the distribution's defaults are what is too small.
SHARED_BUFFERS_LEAST_BYTES = 256 * _MIB
# Monthly totals sort and hash: PostgreSQL's default of 4 MiB spills to disk.
WORK_MEM_LEAST = 16 * _MIB
# Compressing a chunk and building its indexes.
MAINTENANCE_WORK_MEM_LEAST = 128 * _MIB
# A statement over all chunks locks each chunk with its indexes and its compressed twin.
LOCKS_PER_CHUNK = 6
CHECK = "server_settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The settings, sizes in bytes, and the number of chunks in the database."""

    embedded: bool
    local: bool
    database: str
    shared_buffers: int
    effective_cache_size: int
    work_mem: int
    maintenance_work_mem: int
    max_connections: int
    max_prepared_transactions: int
    max_locks_per_transaction: int
    jit: bool
    chunks: int
    database_bytes: int


def read_server_settings(connection: Connection) -> ServerSettings:
    """Return the settings in force for this connection."""
    with connection.cursor(row_factory=class_row(ServerSettings)) as cursor:
        settings = cursor.execute(load_query("server_settings")).fetchone()
    if settings is None:
        raise LookupError("server_settings.sql returned no row")
    return settings


def judge_settings(settings: ServerSettings, memory: int | None) -> CheckResult:
    """Judge settings against the memory of the server's machine (None: it isn't known)."""
    metadata = asdict(settings) | {
        "memory of the machine": memory,
        "shared_buffers wanted": _shared_buffers_wanted(memory),
        "effective_cache_size wanted": round(memory * CACHE_WANTED) if memory else None,
        "work_mem least": WORK_MEM_LEAST,
        "maintenance_work_mem least": MAINTENANCE_WORK_MEM_LEAST,
        "locks wanted": settings.chunks * LOCKS_PER_CHUNK,
    }
    problems = [] if settings.embedded else [*_memory_problems(settings, memory), *_other_problems(settings)]
    good = (
        "The embedded engine sets its own memory."
        if settings.embedded
        else "Memory, locks and jit are set for this load."
        + ("" if memory else " The server is elsewhere: its memory isn't known here.")
    )
    return CheckResult.judge(CHECK, "server", problems, good=good, metadata=metadata)


def machine_memory() -> int:
    """Return the bytes of memory this process may use: the machine's, or its container's if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def _memory_problems(settings: ServerSettings, memory: int | None) -> list[Violation]:
    problems = []
    wanted = _shared_buffers_wanted(memory)
    least = memory * SHARED_BUFFERS_LEAST if memory else SHARED_BUFFERS_LEAST_BYTES
    if settings.shared_buffers < least:
        problems.append(_setting("shared_buffers", settings.shared_buffers, wanted, "is small", restart=True))
    elif memory and settings.shared_buffers > memory * SHARED_BUFFERS_MOST:
        problems.append(
            _setting("shared_buffers", settings.shared_buffers, wanted, "leaves no room for the rest", restart=True)
        )
    if memory and settings.effective_cache_size < memory * CACHE_LEAST:
        cache = round(memory * CACHE_WANTED)
        problems.append(
            _setting("effective_cache_size", settings.effective_cache_size, cache, "understates the memory")
        )
    if settings.work_mem < WORK_MEM_LEAST:
        problems.append(_setting("work_mem", settings.work_mem, 2 * WORK_MEM_LEAST, "makes sums spill to disk"))
    elif memory and settings.work_mem * settings.max_connections > 2 * memory:
        problems.append(
            _setting(
                "work_mem",
                settings.work_mem,
                max(WORK_MEM_LEAST, memory // settings.max_connections),
                f"times {settings.max_connections} connections is more than twice the memory",
            )
        )
    if settings.maintenance_work_mem < MAINTENANCE_WORK_MEM_LEAST:
        problems.append(
            _setting(
                "maintenance_work_mem",
                settings.maintenance_work_mem,
                4 * MAINTENANCE_WORK_MEM_LEAST,
                "slows compression",
            )
        )
    return problems


def _other_problems(settings: ServerSettings) -> list[Violation]:
    problems = []
    slots = settings.max_connections + settings.max_prepared_transactions
    needed = settings.chunks * LOCKS_PER_CHUNK
    if settings.max_locks_per_transaction * slots < needed:
        wanted = 2 * -(-needed // slots)
        problems.append(
            Violation(
                f"max_locks_per_transaction is {settings.max_locks_per_transaction}: a statement over all "
                f"{settings.chunks} chunks can run out of locks",
                f"ALTER SYSTEM SET max_locks_per_transaction = {wanted}; -- then restart the server",
                Severity.WARNING,
            )
        )
    if settings.jit:
        problems.append(
            Violation(
                "the setting jit is on, which makes statements over many chunks ten times slower",
                f'ALTER DATABASE "{settings.database}" SET jit = off;',
                Severity.WARNING,
            )
        )
    return problems


def _setting(name: str, value: int, wanted: int, why: str, *, restart: bool = False) -> Violation:
    end = "-- then restart the server" if restart else "SELECT pg_reload_conf();"
    return Violation(
        f"{name} is {_size(value)}, which {why}",
        f"ALTER SYSTEM SET {name} = '{_size(wanted)}'; {end}",
        Severity.WARNING,
    )


def _shared_buffers_wanted(memory: int | None) -> int:
    return round(memory * SHARED_BUFFERS_WANTED) if memory else 4 * SHARED_BUFFERS_LEAST_BYTES


def _size(value: int) -> str:
    return f"{value // _MIB}MB"
