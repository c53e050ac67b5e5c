"""A CSV file of companies: a header that names fields, one company a line."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from analytics_pipeline.companies.company_store import store_companies
from analytics_pipeline.companies.company_values import COMPANY, FIELDS, CompanyParser, CompanyValues
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.intake.bounded_lines import bounded_lines
from analytics_pipeline.intake.csv_cells import Line, cells_of, check_count, is_blank, line_text
from analytics_pipeline.intake.rejection import RejectedEvent, shown
from analytics_pipeline.intake.rejects import ERASED_COMPANY, REJECTS_KEPT, Reject, RejectLimit, storable, store_rejects
from analytics_pipeline.timescale.connection import Connection

_COLUMNS = (COMPANY, *FIELDS)
_SEPARATORS = ",;\t"
_KEPT_CHARACTERS = 1000


@dataclass(slots=True)
class ImportedCompanies:
    """What an import did: companies read, of those new, changed, as they were, and the rejected ones with why.

    Of ``rejects`` there are as many as the ``limit`` keeps.
    """

    read: int = 0
    new: int = 0
    changed: int = 0
    rejected: int = 0
    rejects: list[Reject] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    limit: RejectLimit = field(default_factory=RejectLimit)

    @property
    def unchanged(self) -> int:
        """Companies that were as the file says already."""
        return self.read - self.new - self.changed - self.rejected


def import_companies(connection: Connection, path: Path, *, rejects_kept: int = REJECTS_KEPT) -> ImportedCompanies:
    """Store the companies of a file in one transaction, as a person sets them; repeating it changes nothing.

    A column that the file lacks stays as it is, an empty cell is as the platform has it. Lines that can't be a company
    are kept as rejects, in ``analytics_ingest_rejects`` too, and the rest goes in. Raises ``AnalyticsError`` for a file
    that can't be read, or whose header isn't one of companies.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AnalyticsError(f"Can't read {path}: {error.strerror}. Check the path.") from error
    imported = ImportedCompanies(limit=RejectLimit(rejects_kept))
    name = str(path.absolute())
    with connection.transaction():
        parser = CompanyParser(connection)
        found: dict[str, tuple[CompanyValues, int]] = {}
        for number, cells, line in _rows(content, path.name):
            imported.read += 1
            try:
                if isinstance(cells, RejectedEvent):
                    raise cells
                _add(found, parser.parse(cells), number)
            except RejectedEvent as rejection:
                imported.rejected += 1
                imported.reasons[rejection.kind] += 1
                is_erased = rejection.kind == ERASED_COMPANY
                kept = "(a line of an erased company)" if is_erased else storable(line_text(line))[:_KEPT_CHARACTERS]
                reject = Reject(name, number, rejection.kind, rejection.reason, None, kept)
                if imported.limit.keeps(reject):
                    imported.rejects.append(reject)
        changed = store_companies(connection, [company for company, _ in found.values()], by_hand=True)
        store_rejects(connection, imported.rejects)
        imported.limit.store(connection)
    imported.new = sum(before is None for before in changed.values())
    imported.changed = len(changed) - imported.new
    return imported


def _add(found: dict[str, tuple[CompanyValues, int]], company: CompanyValues, line: int) -> None:
    _, first = found.setdefault(company.company_id, (company, line))
    if first != line:
        raise RejectedEvent(
            "two lines of one company", f"{COMPANY} {shown(company.company_id)} stands in line {first}, too: keep one."
        )


def _rows(content: bytes, name: str) -> Iterator[tuple[int, Mapping[str, str] | RejectedEvent, Line]]:
    """Yield number, cells by column, and text of every line behind the header."""
    lines = enumerate(bounded_lines(BytesIO(content)), start=1)
    separator, header = _header(lines, name)
    for number, line in lines:
        if is_blank(line):
            continue
        try:
            cells = cells_of(line, separator)
            check_count(cells, header)
            yield number, dict(zip(header, cells, strict=True)), line
        except RejectedEvent as rejection:
            yield number, rejection, line


def _header(lines: Iterator[tuple[int, Line]], name: str) -> tuple[str, list[str]]:
    """Return what separates cells, and the columns. Raises ``AnalyticsError`` unless they are those of companies."""
    first = next((line for _, line in lines if not is_blank(line)), b"")
    try:
        candidates = {separator: cells_of(first, separator) for separator in _SEPARATORS}
    except RejectedEvent as error:
        raise AnalyticsError(f"{name} has no readable CSV header: {error}") from error
    # Of equals the first.
    separator = max(candidates, key=lambda each: len(set(_COLUMNS).intersection(candidates[each])))
    header = candidates[separator]
    if COMPANY not in header or set(header) - set(_COLUMNS) or len(set(header)) < len(header):
        raise AnalyticsError(
            f"{name} has the header {shown(','.join(header))}: companies have the column {COMPANY}, and any of "
            f"{', '.join(FIELDS)}, each once."
        )
    return separator, header
