"""The check ``control_totals`` of the monthly report, its job and its schedule; only where an ERP is configured."""

from collections.abc import Iterator
from dataclasses import replace

from dagster import AssetCheckResult, AssetCheckSpec, AssetSelection, Definitions, Failure

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.health.check_result import CheckResult
from analytics_pipeline.health.control_totals import CHECK, MONTHS, judge_control_totals
from analytics_pipeline.health.results import record_result
from analytics_pipeline.orchestration.check_results import check_result
from analytics_pipeline.orchestration.keys import asset_key, check_key
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.shared import pipeline_checks, pipeline_job, pipeline_schedule
from analytics_pipeline.settings import Settings

CONTROL_JOB = "control_totals"


def build_control_totals(settings: Settings) -> Definitions:
    """Return the check with what runs it; nothing where no ERP is configured."""
    if settings.erp_url is None:
        return Definitions()
    spec = AssetCheckSpec(
        CHECK,
        asset=asset_key(MONTHLY_REPORT, settings),
        description=f"Counts and sums of the last {MONTHS} months that are over equal, per company, day (UTC) and "
        "currency, what the ERP's own tables say, for every source with amounts.",
    )

    @pipeline_checks(CONTROL_JOB, "Compares the last months with the ERP's own tables.", [spec])
    def _control_totals(timescale: Timescale) -> Iterator[AssetCheckResult]:
        with timescale.session() as connection:
            found = list(judge_control_totals(connection, timescale.settings))
            for month, finding in found:
                # By it a month can't be signed off.
                record_result(connection, finding, month)
        yield check_result(_together([finding for _, finding in found]), settings)
        if failed := [finding for _, finding in found if not finding.passed]:
            # A run of checks alone blocks nothing: by its failure operators are notified.
            raise Failure(description="; ".join(finding.text for finding in failed), allow_retries=False)

    return Definitions(
        asset_checks=[_control_totals],
        jobs=[
            pipeline_job(
                CONTROL_JOB,
                AssetSelection.checks(check_key(MONTHLY_REPORT, CHECK, settings)),
                "Compares the last months with the ERP's own tables, per company, day and currency.",
            )
        ],
        schedules=[pipeline_schedule("control_totals_daily", CONTROL_JOB, "20 5 * * *", "Each day at 05:20 UTC.")],
    )


def _together(findings: list[CheckResult]) -> CheckResult:
    """Return the findings about the months as one, the failed ones before the others; of those the newest."""
    if not findings:
        return CheckResult.judge(CHECK, MONTHLY_REPORT, [], good="The raw events of the last months have expired.")
    failed = [finding for finding in findings if not finding.passed]
    first = (failed or findings[::-1])[0]
    return replace(
        first,
        summary=" ".join(finding.summary for finding in failed or findings),
        remedies=tuple(remedy for finding in failed for remedy in finding.remedies),
    )
