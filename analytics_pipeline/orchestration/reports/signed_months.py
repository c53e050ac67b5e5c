"""Signing a month off in Dagster: an asset whose run configuration says which month, and who signs."""

from collections.abc import Sequence

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    Config,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    TableRecord,
    TableSchema,
)
from pydantic import Field

from analytics_pipeline.asset_names import COMPANY_REPORTS, MONTHLY_REPORT, SIGNED_MONTHS
from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.companies.known import require_known_company
from analytics_pipeline.metrics.signoffs import SignOff, month_of, read_signoffs, sign_month
from analytics_pipeline.orchestration.keys import assets_named
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.shared import REPORTS, AssetJob, pipeline_asset, pipeline_job
from analytics_pipeline.settings import Settings

SIGNING_JOB = "sign_off"
_MAX_LISTED = 200


class SigningOff(Config):
    """Which month is signed off, and by whom."""

    # Without defaults the UI could not materialise all assets at once: so it says in the run what is missing.
    month: str = Field(default="", description="The month, such as 2026-10: over, closed, not stale, its checks hold.")
    signed_by: str = Field(default="", description="The name of the person who signs.")
    company: str = Field(default="", description="A company's id; empty: all companies, and all of them together.")


def build_signing_asset(settings: Settings) -> AssetsDefinition:
    """Return the asset ``signed_months``: each materialisation signs a month off."""

    @pipeline_asset(
        SIGNED_MONTHS,
        "Months that were signed off (analytics_signoffs): their figures and documents are kept as they were, and what "
        "differs since is a restatement, which the check no_restatements of monthly_report lists. The job sign_off "
        "asks in the launchpad for the month and who signs it; the commands of periods do the same, and withdraw.",
        settings,
        group=REPORTS,
        kinds={"postgres"},
        deps=[MONTHLY_REPORT, COMPANY_REPORTS],
    )
    def _signed_months(context: AssetExecutionContext, config: SigningOff, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        company, currency = config.company or None, timescale.settings.base_currency
        with timescale.session() as connection:
            require_known_company(connection, company)
            actor = f"dagster run {context.run.run_id}"
            zone = platform_calendar(connection, timescale.settings).time_zone
            signed = sign_month(
                connection, month_of(config.month), config.signed_by, currency, company, actor=actor, time_zone=zone
            )
            found = read_signoffs(connection, None)
        return MaterializeResult(
            metadata={
                "month": config.month,
                "signed by": config.signed_by,
                "companies signed": sum(1 for one in signed if one is not None),
                "signed months": _listed(found),
            }
        )

    return _signed_months


def build_signing_job(settings: Settings) -> AssetJob:
    """Return the job ``sign_off``."""
    return pipeline_job(
        SIGNING_JOB,
        assets_named([SIGNED_MONTHS], settings),
        "Signs a month off, as its run configuration says: keeps its figures and documents as they are.",
    )


def _listed(signoffs: Sequence[SignOff]) -> MetadataValue:
    names = ("month", "company", "signed by", "signed at", "figures that differ since", "document")
    return MetadataValue.table(
        [
            TableRecord(
                dict(
                    zip(
                        names,
                        (
                            signoff.period,
                            signoff.company_id or "all companies",
                            signoff.signed_by,
                            f"{signoff.signed_at:%Y-%m-%d %H:%M}",
                            str(len(signoff.restatements)),
                            signoff.document_sha256[:16],
                        ),
                        strict=True,
                    )
                )
            )
            for signoff in signoffs[:_MAX_LISTED]
        ],
        TableSchema([TableColumn(name) for name in names]),
    )
