"""Documents in the store and their rows, made without rendering."""

from datetime import UTC, datetime, timedelta

from analytics_pipeline.reports.documents import (
    Document,
    Figure,
    RecordedDocument,
    current_document,
    hold,
    record_document,
)
from analytics_pipeline.settings import get_settings
from analytics_pipeline.store import artifact_name, store_artifact
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window

REPORT = "monthly_report"
FIGURES = (Figure("Revenue, EUR", "15,000.00", "+15.5%"), Figure("Active users", "85", "\u2013"))
REVENUE, LATE_REVENUE = "15000.00", "15010.00"


def shown(revenue: str = REVENUE) -> dict[str, object]:
    """Return all figures of a document that shows this revenue, in the form of the register."""
    figures = [
        {"name": "headline/value/totalRevenue", "label": "Total revenue, EUR", "value": revenue},
        {"name": "headline/value/activeUsers", "label": "Active users", "value": "85"},
        {
            "name": "headline/changePercent/activeUsers",
            "label": "Active users (change)",
            "value": None,
            "kind": "change",
        },
    ]
    return {"columns": ["headline/value", "headline/changePercent"], "figures": figures}


def last_month() -> str:
    """Return the month that has ended last, a day ago at least, as a partition."""
    first = (datetime.now(UTC) - timedelta(days=1)).date().replace(day=1)
    year, month = (first.year - 1, 12) if first.month == 1 else (first.year, first.month - 1)
    return f"{year}-{month:02}"


def publish(
    connection: Connection,
    company_id: str | None = None,
    *,
    content: bytes = b"%PDF first",
    period: str | None = None,
    released: bool = True,
    revenue: str = REVENUE,
    definitions_version: int = 1,
    cautions: tuple[str, ...] = (),
) -> RecordedDocument:
    """Store and record a document that shows this revenue, and let it be mailed."""
    period = period or last_month()
    name = artifact_name(
        REPORT, period, *(["companies", company_id] if company_id else ["all-companies"]), suffix=".pdf"
    )
    stored = store_artifact(get_settings().artifacts_root, name, content)
    month = Window.of_month(datetime.fromisoformat(f"{period}-01").date())
    record_document(
        connection,
        Document(
            report=REPORT,
            company_id=company_id,
            period=period,
            period_end=month.end,
            uri=stored.uri,
            name=name,
            size=stored.size,
            sha256=stored.sha256,
            pages=1,
            figures=FIGURES,
            data_through=month.end,
            provisional=False,
            definitions_version=definitions_version,
            cautions=cautions,
        ),
        shown(revenue),
        run_id="a run",
    )
    if released:
        hold(connection, REPORT, period, None)
    return current_document(connection, REPORT, company_id, period)
