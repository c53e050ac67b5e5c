"""The sources: one SQL file each, the shipped ones or those in the folder of ANALYTICS_ERP_SOURCES."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from analytics_pipeline import sql_files
from analytics_pipeline.errors import AnalyticsError, UnknownNameError
from analytics_pipeline.settings import Settings

DEFAULT_OVERLAP = timedelta(hours=1)

_is_name = re.compile(r"[a-z][a-z0-9_]{0,49}").fullmatch
_is_overlap_line = re.compile(r"overlap:(.*)", re.IGNORECASE).fullmatch
_is_reads_line = re.compile(r"reads:(.*)", re.IGNORECASE).fullmatch
_is_span = re.compile(r"([1-9][0-9]{0,4}) (minute|hour|day)s?").fullmatch
# What the text of a source may refer to; any other per cent sign stands for itself.
_PARAMETERS = ("%(since)s", "%(until)s")


class Reads(StrEnum):
    """What the rows of a source are."""

    EVENTS = "events"
    COMPANIES = "companies"


@dataclass(frozen=True, slots=True)
class ErpSource:
    """A query on the ERP whose rows are events, or what is known of companies.

    ``name`` is part of every event id: it must never change. ``overlap`` is how far before the cursor every pass
    begins.
    """

    name: str
    description: str
    overlap: timedelta
    query: str
    reads: Reads = Reads.EVENTS

    @property
    def file(self) -> str:
        """The name of its file, for messages."""
        return f"{self.name}.sql"

    @property
    def parameterized(self) -> str:
        """The query as psycopg takes it: only our parameters are parameters."""
        text = self.query.replace("%", "%%")
        for parameter in _PARAMETERS:
            text = text.replace(f"%{parameter}", parameter)
        return text


def read_sources(settings: Settings) -> list[ErpSource]:
    """Return the sources, by name: the user's own if there is a folder of them, else the shipped ones.

    Raises ``AnalyticsError`` naming folder or file and the remedy.
    """
    return _read_folder(Path(settings.erp_sources).expanduser()) if settings.erp_sources else read_shipped_sources()


def read_shipped_sources() -> list[ErpSource]:
    """Return the sources that come with the program, by name."""
    return _read_folder(sql_files.SQL_ROOT / "sources")


def choose_sources(sources: list[ErpSource], names: Iterable[str]) -> list[ErpSource]:
    """Return those of the names, or all without names. Raises ``AnalyticsError`` for a name that isn't there."""
    by_name = {source.name: source for source in sources}
    for name in names:
        if name not in by_name:
            raise UnknownNameError(f"There is no source {name!r}: choose from {', '.join(by_name)}.")
    return [by_name[name] for name in dict.fromkeys(names)] or sources


def _read_folder(folder: Path) -> list[ErpSource]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".sql" and path.is_file())
    except OSError as error:
        raise AnalyticsError(
            f"Can't read the folder {folder}: {error.strerror}. Check ANALYTICS_ERP_SOURCES."
        ) from error
    if not paths:
        raise AnalyticsError(f"{folder} holds no SQL file: put one per source there, or unset ANALYTICS_ERP_SOURCES.")
    return [_read(path) for path in paths]


def _read(path: Path) -> ErpSource:
    if not _is_name(path.stem):
        raise AnalyticsError(
            f"{path} can't name a source: use small letters, digits and underscores, a letter first, for example "
            "invoices.sql."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AnalyticsError(f"Can't read {path}: {error}. It has to be a text file in UTF-8.") from error
    overlap, reads = DEFAULT_OVERLAP, Reads.EVENTS
    description: list[str] = []
    for line in _comment_lines(text):
        if match := _is_overlap_line(line):
            overlap = _parse_overlap(match[1].strip(), path)
        elif match := _is_reads_line(line):
            reads = _parse_reads(match[1].strip(), path)
        elif line:
            description.append(line)
    # It becomes a subquery, so the semicolon that psql wants goes; its lines stay where they are, for errors.
    return ErpSource(path.stem, " ".join(description), overlap, text.rstrip().rstrip(";"), reads)


def _comment_lines(text: str) -> list[str]:
    """Return what stands in the comments at the head of the file."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return lines


def _parse_reads(text: str, path: Path) -> Reads:
    try:
        return Reads(text)
    except ValueError:
        raise AnalyticsError(f"{path}: a source reads {' or '.join(Reads)}, not {text!r}.") from None


def _parse_overlap(text: str, path: Path) -> timedelta:
    match = _is_span(text)
    if match is None:
        raise AnalyticsError(f"{path}: the overlap {text!r} must look like '30 minutes', '1 hour' or '2 days'.")
    return timedelta(**{f"{match[2]}s": int(match[1])})
