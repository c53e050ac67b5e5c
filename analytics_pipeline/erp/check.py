"""Trying the sources out against the ERP without recording anything: what would go wrong, and the remedy."""

from dataclasses import dataclass, field

from analytics_pipeline.companies.company_values import COMPANY
from analytics_pipeline.erp.reader import ErpDatabase, Row
from analytics_pipeline.erp.rows import parse_row
from analytics_pipeline.erp.source_columns import CURSOR, column_problems, select_list
from analytics_pipeline.erp.source_files import ErpSource, Reads
from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError
from analytics_pipeline.events.ids import to_id
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.timescale.clock import machine_now

_TRIED_ROWS = 100


@dataclass(slots=True)
class SourceCheck:
    """What trying a source came to: no problems, and it can be read."""

    source: str
    columns: dict[str, str] = field(default_factory=dict)
    tried_rows: int = 0
    problems: list[str] = field(default_factory=list)


def check_source(erp: ErpDatabase, source: ErpSource) -> SourceCheck:
    """Try a source: its columns and their types, some of its rows, and whether all of them can be read.

    Raises ``DatabaseUnreachableError`` when the ERP can't be reached; what is wrong with the source is in the answer.
    """
    check = SourceCheck(source.name)
    try:
        _check(erp, source, check)
    except DatabaseUnreachableError:
        raise
    except AnalyticsError as error:
        check.problems.append(str(error))
    return check


def _check(erp: ErpDatabase, source: ErpSource, check: SourceCheck) -> None:
    columns = erp.columns(source)
    check.columns = dict(columns)
    check.problems += column_problems(source, columns)
    if check.problems:
        return
    rows = erp.read_source(source, "erp_sample", columns=select_list(source, columns), rows=_TRIED_ROWS)
    check.tried_rows = len(rows)
    rejected = list(filter(None, (_why_rejected(source, row) for row in rows)))
    if rejected:
        check.problems.append(
            f"{len(rejected)} of {len(rows)} rows that were tried are no {source.reads}: {rejected[0]}"
        )
    if erp.read_source(source, "erp_without_cursor"):
        check.problems.append(
            f"rows without {CURSOR} are never read: fall back to another column, coalesce(updated_at, created_at)"
        )


def _why_rejected(source: ErpSource, row: Row) -> str | None:
    try:
        # A try decides nothing, and asks no database but the ERP's.
        if source.reads is Reads.COMPANIES:
            to_id(row[COMPANY], COMPANY)
        else:
            parse_row(source.name, row, now=machine_now())
    except RejectedEvent as rejection:
        return rejection.reason
    return None
