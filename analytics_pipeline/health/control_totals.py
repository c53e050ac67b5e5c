"""Whether what is recorded of the last months equals what the ERP's own tables say of them."""

from collections.abc import Iterator
from datetime import timedelta

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.currencies import compared_money
from analytics_pipeline.erp.control_totals import ControlTotals, Difference, reconcile_source
from analytics_pipeline.erp.reader import connect_erp
from analytics_pipeline.erp.source_files import read_sources
from analytics_pipeline.health.check_result import CheckResult, Violation
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import expired_events
from analytics_pipeline.windows import Granularity, Window

CHECK = "control_totals"
MONTHS = 2
_AMOUNTS = {"value", "currency"}
_MAX_SHOWN = 3
_MAX_LISTED = 200
_A_DAY = timedelta(days=1)


def judge_control_totals(connection: Connection, settings: Settings) -> Iterator[tuple[Window, CheckResult]]:
    """Yield the last months that are over, the oldest first, each with its comparison with every source with amounts.

    Months whose raw events have expired are left out; autocommit connection. Raises ``AnalyticsError`` where the ERP,
    or one of its sources, can't be read.
    """
    expired = expired_events(connection)
    with connect_erp(settings) as erp:
        sources = [
            source for source in read_sources(settings) if {column.name for column in erp.columns(source)} >= _AMOUNTS
        ]
        for month in _last_months(connection):
            if not any(stretch.overlaps(month) for stretch in expired):
                compared = [reconcile_source(connection, erp, source, month) for source in sources]
                yield month, _judge(month, compared)


def _last_months(connection: Connection) -> list[Window]:
    end = Granularity.MONTH.floor(database_now(connection))
    months = [Window.of_month((end - _A_DAY).date())]
    while len(months) < MONTHS:
        months.insert(0, Window.of_month((months[0].start - _A_DAY).date()))
    return months


def _judge(month: Window, compared: list[ControlTotals]) -> CheckResult:
    problems = []
    for found in compared:
        if found.differences:
            named = "; ".join(_named(difference) for difference in found.differences[:_MAX_SHOWN])
            number = len(found.differences)
            more = f"; and {number - _MAX_SHOWN} more" if number > _MAX_SHOWN else ""
            problems.append(
                Violation(
                    f"{number} of {found.compared} totals of {month.start:%Y-%m} differ from the source "
                    f"{found.against}: {named}{more}",
                    f"analytics-pipeline reconcile --source {found.against} --month {month.start:%Y-%m}",
                )
            )
    listed = [_row(found, difference) for found in compared for difference in found.differences]
    return CheckResult.judge(
        CHECK,
        MONTHLY_REPORT,
        problems,
        good=f"All {sum(found.compared for found in compared)} totals of {month.start:%Y-%m} per company, day (UTC) "
        f"and currency equal those of {', '.join(found.against for found in compared) or 'no source'}.",
        metadata={
            "month": f"{month.start:%Y-%m}",
            "totals compared": sum(found.compared for found in compared),
            "differing totals": listed[:_MAX_LISTED],
            "totals that differ": len(listed),
        },
        limits={"totals that differ allowed": 0},
    )


def _named(difference: Difference) -> str:
    key, expected, recorded = difference.key, difference.expected, difference.recorded
    here, there = (compared_money(total.amount, key.currency) for total in (recorded, expected))
    return (
        f"{key.company_id} {key.day}: {recorded.number} of {here} {key.currency} recorded, "
        f"{expected.number} of {there} there"
    )


def _row(found: ControlTotals, difference: Difference) -> dict[str, str | int]:
    return {
        "source": found.against,
        "company": difference.key.company_id,
        "day": f"{difference.key.day}",
        "currency": difference.key.currency,
        "recorded": difference.recorded.number,
        "sum recorded": compared_money(difference.recorded.amount, difference.key.currency),
        "in the source": difference.expected.number,
        "sum in the source": compared_money(difference.expected.amount, difference.key.currency),
    }
