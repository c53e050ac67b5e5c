"""Whether a month's reports may be mailed: only what is closed, and judged well by its data.

A month may be mailed when its reports, its aggregates and every day and hour below them are closed, no run over them
is under way, and the evaluation that its document shows on page one, made again now, finds nothing wrong. What runs
and checks found about other days, or found before, counts for nothing.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from dagster import DagsterInstance

from analytics_pipeline.messages.recipients import describe_audience
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.closing.plan import open_sources
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.runs.descriptions import describe_run
from analytics_pipeline.reports.documents import RecordedDocument, hold
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window

_MONTHLY = [
    asset for job, granularity in CLOSING_JOBS.items() if granularity is Granularity.MONTH for asset in assets_of(job)
]

_ROWS_OPEN = "its rows of the month in the metric tables are not closed, or not up to date"
_JUDGED_AGAIN_AFTER = timedelta(minutes=10)
# So long one round judges what is held back; the rest comes with the next ones. What may go is always judged.
_HELD_SECONDS = 5.0

# Whose documents of which month: a company's, None: those over all companies.
Audience = tuple[str, str | None]


def judge_documents(
    instance: DagsterInstance, connection: Connection, settings: Settings, documents: Iterable[RecordedDocument]
) -> dict[Audience, str | None]:
    """Judge documents, hold them back or let them go, and return why each is held (None: it goes).

    The months are in the form of their partitions, ``2025-01``. What its data hold back is judged again after ten
    minutes, or at once when it was made anew: reading a month costs as much as its report.
    """
    by_month: defaultdict[tuple[str, str], list[RecordedDocument]] = defaultdict(list)
    for recorded in documents:
        by_month[recorded.document.report, recorded.document.period].append(recorded)
    if not by_month:
        return {}
    # What is made while they are judged is judged the next time.
    (judged_at,) = fetch_row(connection, "SELECT now()")
    gate = ReportGate(instance, connection, settings)
    ends_at = time.monotonic() + _HELD_SECONDS
    verdicts: dict[Audience, str | None] = {}
    for (report, period), of_month in sorted(by_month.items(), key=lambda item: item[0], reverse=True):
        month = Window.of_month(date.fromisoformat(f"{period}-01"))
        companies = [one.document.company_id for one in of_month]
        not_closed = gate.why_open(month, companies)
        for because in set(not_closed.values()):
            of_reason = [company for company, reason in not_closed.items() if reason == because]
            hold(connection, report, period, because, companies=of_reason)
        verdicts |= {(period, company): because for company, because in not_closed.items()}
        companies = [company for company in companies if company not in not_closed]
        is_late = time.monotonic() > ends_at
        waiting = {
            one.document.company_id: one.held_because
            for one in of_month
            if one.document.company_id not in not_closed
            and one.held_because is not None
            and (is_late or _was_judged(one, judged_at))
        }
        found = _judge(connection, settings, month, [company for company in companies if company not in waiting])
        for company, reason in found.items():
            hold(connection, report, period, reason, companies=[company], rendered_before=judged_at, by_data=True)
        verdicts |= {(period, company): reason for company, reason in (waiting | found).items()}
    return verdicts


def _was_judged(recorded: RecordedDocument, now: datetime) -> bool:
    """Return whether its data were found to hold a document back just before."""
    return recorded.judged_at is not None and now - recorded.judged_at < _JUDGED_AGAIN_AFTER


def _judge(
    connection: Connection, settings: Settings, month: Window, companies: Collection[str | None]
) -> dict[str | None, str | None]:
    """Return for each of the companies (None: all together) why its data hold back its document of the month."""
    if not companies:
        return {}
    # Sections take a third of a second to import: only a process that judges pays for it.
    from analytics_pipeline.reports.monthly import judge_month

    return judge_month(connection, settings, month.start.date(), companies)


class ReportGate:
    """Knows by one reading of the instance whether months are closed."""

    def __init__(self, instance: DagsterInstance, connection: Connection, settings: Settings) -> None:
        """Read what is closed, and the runs that are under way; autocommit connection."""
        self._settings = settings
        self._connection = connection
        self._state = PartitionState(instance, connection, settings, database_now(connection))

    def why_open(self, month: Window, companies: Sequence[str | None]) -> dict[str | None, str]:
        """Return of the companies (None: all together) whose month is not closed, or just being closed, what isn't.

        A company's is closed when its own rows are: it waits for nobody where the month is not over yet.
        """
        for asset in _MONTHLY:
            for run in self._state.runs_over(asset, month):
                under_way = f"{describe_run(self._settings, run.run_id)} over {asset} of the month is under way"
                return dict.fromkeys(companies, under_way)
        parameters = {"companies": list(companies), "month": month.first_day}
        rows = self._connection.execute(load_query("report_months_open"), parameters).fetchall()
        found: dict[str | None, str] = dict.fromkeys((company for (company,) in rows), _ROWS_OPEN)
        if None in companies and (because := self._why_open_for_all(month)) is not None:
            found[None] = because
        return found

    def _why_open_for_all(self, month: Window) -> str | None:
        for asset in _MONTHLY:
            if not self._state.is_closed(asset, month):
                return f"{asset} of the month is not closed"
        for job in reversed(CLOSING_JOBS):
            if waiting := open_sources(self._state, job, month):
                return (
                    f"{len(waiting)} stretches of the partitions it is made from are not closed, from {waiting[0]} on"
                )
        return None


def describe_held(verdicts: Mapping[Audience, str | None], most: int) -> list[str]:
    """Return which documents are held back and why, the newest months first, ``most`` of them; last how many more.

    Documents that are held for the same reason are one entry.
    """
    alike: defaultdict[str, list[Audience]] = defaultdict(list)
    for audience, reason in sorted(verdicts.items(), key=lambda item: item[0][0], reverse=True):
        if reason is not None:
            alike[reason].append(audience)
    held = [
        f"{_whose(audiences)} {'are' if len(audiences) > 1 else 'is'} held back: {reason}"
        for reason, audiences in alike.items()
    ]
    return [*held[:most], f"{len(held) - most} more are held back"] if len(held) > most else held


def _whose(audiences: Sequence[Audience]) -> str:
    months = sorted({month for month, _ in audiences})
    period = months[0] if len(months) == 1 else f"{len(months)} months from {months[0]} to {months[-1]}"
    if len(audiences) > 1:
        return f"{len(audiences)} reports of {period}"
    return f"the report for {describe_audience(audiences[0][1])} of {period}"
