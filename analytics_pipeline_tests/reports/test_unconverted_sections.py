"""What lacks a rate leaves no ratio of it in a report, and takes no other figure's change away."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from analytics_pipeline.metrics.tables import METRIC_TABLES, close_metric
from analytics_pipeline.reports.catalogue import SECTION_NAMES, parts_of
from analytics_pipeline.reports.load import load_report
from analytics_pipeline.reports.sections import companies, currencies, headline, mrr, revenue
from analytics_pipeline.reports.tabular import Table
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close_inputs
from analytics_pipeline_tests.metrics.subscription_changes import SPAN, Change, a_change, load

JANUARY, FEBRUARY = Window.of_month(date(2025, 1, 1)), Window.of_month(date(2025, 2, 1))
MONEY = {"totalRevenue", "averageRevenuePerUser", "invoiced", "refunds", "mrr", "arr", "arpa"}
# Each grows by three fifths.
SUBSCRIPTION = (a_change("01-03", price="50"), a_change("02-03", "changed", price="80"))
EVENTS = (
    ("2025-01-10T10:00", "payment.received", "100"),
    ("2025-02-10T10:00", "payment.received", "160"),
    ("2025-01-11T10:00", "payment.refunded", "-10"),
    ("2025-02-11T10:00", "payment.refunded", "-16"),
    ("2025-01-12T10:00", "invoice.created", "100"),
    ("2025-02-12T10:00", "invoice.created", "160"),
)
YEN = {"user": "u2", "name": "s2", "currency": "JPY"}
OF_REVENUE, OF_MRR = {"totalRevenue", "averageRevenuePerUser"}, {"mrr", "arr", "arpa"}


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """An autocommit connection to a database of the test's own."""
    with database.connect(autocommit=True) as connection:
        yield connection


def add(connection: Connection, when: str, what: str, value: str, **more: str) -> None:
    add_event(connection, when, what, category="billing" if "invoice" in what else "revenue", value=value, **more)


def changes(connection: Connection, company: str | None) -> tuple[dict[Any, Any], list[Any], list[Any]]:
    """Return the changes of February's amounts by name, of MRR by month, and of revenue by month."""
    report = load_report(connection, company, FEBRUARY, "EUR", parts_of(SECTION_NAMES))
    of_period: list[Table] = [section.tables(report)[0] for section in (headline, revenue, mrr)]
    rows = [
        pair for table in of_period for pair in zip(table.column("name"), table.column("changePercent"), strict=True)
    ]
    by_month = mrr.tables(report)[-1].column("changePercent"), revenue.tables(report)[1].column("revenueGrowth")
    return {name: change for name, change in rows if name in MONEY}, *by_month


@pytest.mark.slow
def test_no_share_is_shown_of_revenue_that_lacks_an_amount(connection: Connection) -> None:
    for company, value, currency in (("acme", "100", "EUR"), ("beta", "300", "EUR")):
        add(connection, "2025-01-10T10:00", "payment.received", value, company_id=company, currency=currency)
    whole = load_report(connection, None, JANUARY, "EUR", parts_of(SECTION_NAMES))
    assert companies.tables(whole)[0].column("sharePercent") == [75, 25]
    assert currencies.tables(whole)[0].column("sharePercent") == [100]
    add(connection, "2025-01-10T10:00", "payment.received", "1000", company_id="acme", currency="JPY")
    report = load_report(connection, None, JANUARY, "EUR", parts_of(SECTION_NAMES))
    of_companies, by_currency = companies.tables(report)[0], currencies.tables(report)[0]
    assert of_companies.column("companyId") == ["beta", "acme"]
    assert of_companies.column("totalRevenue") == [300, 100]
    assert of_companies.column("sharePercent") == [None, None]
    assert by_currency.column("currency") == ["EUR", "JPY"]
    assert by_currency.column("sharePercent") == [None, None]
    assert currencies.tables(load_report(connection, "beta", JANUARY, "EUR", parts_of(SECTION_NAMES)))[0].column(
        "sharePercent"
    ) == [100]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "in_yen", "unknown"),
    [
        (("2025-02-20T10:00", "payment.received", "1000"), (), OF_REVENUE),
        (("2025-01-20T10:00", "payment.received", "1000"), (), OF_REVENUE),
        (("2025-02-20T10:00", "payment.refunded", "-1000"), (), {*OF_REVENUE, "refunds"}),
        (("2025-01-20T10:00", "payment.refunded", "-1000"), (), {*OF_REVENUE, "refunds"}),
        (("2025-02-20T10:00", "invoice.created", "1000"), (), {"invoiced"}),
        (None, (a_change("02-20", price="1000", **YEN),), OF_MRR),
        (
            None,
            (a_change("01-20", price="1000", **YEN), a_change("02-20", "ended", "ended", price="1000", **YEN)),
            OF_MRR,
        ),
        # What comes and goes within February is missing from what moved MRR, and from no balance.
        (
            None,
            (a_change("02-10", price="1000", **YEN), a_change("02-20", "ended", "ended", price="1000", **YEN)),
            set(),
        ),
    ],
)
def test_a_change_is_unknown_of_those_figures_that_lack_an_amount_and_of_no_others(
    connection: Connection, event: tuple[str, str, str] | None, in_yen: tuple[Change, ...], unknown: set[str]
) -> None:
    load(connection, *SUBSCRIPTION, *in_yen)
    for when, what, value in EVENTS:
        add(connection, when, what, value)
    # So that average revenue is per as many users in both months.
    add_event(connection, "2025-01-02T10:00", "user.login", category="user_activity", user_id="u2", value=None)
    if event:
        add(connection, *event, currency="JPY")
    expected = {name: None if name in unknown else Decimal("60.0") for name in MONEY}
    for closed in (False, True):
        if closed:
            close_inputs(connection, SPAN)
            for table in METRIC_TABLES:
                close_metric(connection, table, Granularity.MONTH, SPAN, "EUR")
        for company in ("acme", None):
            of_period, mrr_by_month, revenue_by_month = changes(connection, company)
            assert of_period == expected
            assert mrr_by_month == [None, expected["mrr"]]
            assert revenue_by_month == [None, expected["totalRevenue"]]
