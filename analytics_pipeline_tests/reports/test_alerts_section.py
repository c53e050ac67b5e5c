"""A document tells of alerts without cutting a figure, and its files keep their columns."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from analytics_pipeline.reports.sections.alerts import ALERTS, FiredAlert, tables
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.reports import samples
from analytics_pipeline_tests.reports.test_document import text_of

pytestmark = pytest.mark.slow

LONG = replace(
    samples.golden(None)[ALERTS][0],
    company="acme trading and its daughters",
    rule="revenue-of-a-company-falls-by-a-fifth-against-the-month-before",
    granularity=Granularity.MONTH,
    first_period=datetime(2025, 12, 1, tzinfo=UTC),
    last_period=datetime(2026, 1, 1, tzinfo=UTC),
    value="-28.67 % to 12,345,678,901.23 EUR",
    threshold="change at most -1,000,000.50 EUR in 10 of 12 months",
    resolution="recovered",
)


def _text(company: str | None, *alerts: FiredAlert) -> str:
    return text_of(samples.with_part(samples.golden(company), ALERTS, alerts), "alerts")


def test_the_figures_of_an_alert_are_printed_whole_with_the_signs_of_a_document() -> None:
    assert (
        "acme trading and its daughters, December 2025 to January 2026: \u221228.67% to 12,345,678,901.23 EUR. "
        "Watched for: change at most \u22121,000,000.50 EUR in 10 of 12 months. Warning, recovered."
    ) in _text(None, LONG)
    assert f"{'x' * 59}\u2026, December 2025" in _text(None, replace(LONG, company="x" * 200))


@pytest.mark.parametrize(
    ("granularity", "last", "period"),
    [
        (Granularity.DAY, datetime(2026, 1, 1, tzinfo=UTC), " 1 Jan 2026: "),
        (Granularity.DAY, datetime(2026, 1, 3, tzinfo=UTC), " 1 Jan 2026 to 3 Jan 2026: "),
        (Granularity.MONTH, datetime(2026, 1, 1, tzinfo=UTC), " January 2026: "),
    ],
)
def test_an_alert_of_one_company_begins_with_its_period(granularity: Granularity, last: datetime, period: str) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    alert = replace(LONG, rule="falls", granularity=granularity, first_period=first, last_period=last, resolution=None)
    text = _text("acme", alert)
    assert f"falls{period}" in text
    assert "Warning, going on." in text


def test_very_many_alerts_take_the_pages_they_need() -> None:
    text = _text(None, *(replace(LONG, company=f"company {number}") for number in range(300)))
    assert all(f"company {number}, December" in text for number in range(300))


def test_files_have_the_first_and_the_last_period_as_dates() -> None:
    (table,) = tables(samples.with_part(samples.golden(None), ALERTS, (LONG,)))
    assert table.column("firstPeriod") == [date(2025, 12, 1)]
    assert table.column("lastPeriod") == [date(2026, 1, 1)]
    assert table.column("value") == ["\u221228.67% to 12,345,678,901.23 EUR"]
