"""Reports of every shape the layout has to hold, made without a database."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any, TypeVar

from pypdf import PdfReader

from analytics_pipeline.metrics.revenue import MrrMovements, RevenueMetrics
from analytics_pipeline.metrics.top_events import EventCount
from analytics_pipeline.metrics.users import UserMetrics
from analytics_pipeline.reports.catalogue import SECTION_NAMES
from analytics_pipeline.reports.choices import PageSize
from analytics_pipeline.reports.document import Pdf, render_pdf
from analytics_pipeline.reports.figures import trailing_months
from analytics_pipeline.reports.months import MONTHS, MonthFigures
from analytics_pipeline.reports.quality import QUALITY, ClosedFigures, Quality, RawEvents, Rejects
from analytics_pipeline.reports.report import PeriodRevenue, Report
from analytics_pipeline.reports.report_parts import ReportPart
from analytics_pipeline.reports.sections.alerts import ALERTS, FiredAlert
from analytics_pipeline.reports.sections.companies import COMPANIES, CompanyFigures
from analytics_pipeline.reports.sections.crypto import VOLUMES, CryptoVolume
from analytics_pipeline.reports.sections.currencies import (
    ORIGINAL_AMOUNTS,
    OriginalAmounts,
    OriginalRevenue,
    RefundDay,
)
from analytics_pipeline.windows import Granularity, Window

T = TypeVar("T")

MONTH = date(2026, 1, 1)
VERSION = 3
TRAILING = trailing_months(MONTH)
DATA_THROUGH = datetime(2026, 2, 1, 6, 30, tzinfo=UTC)

MARKUP = '<b>Fish & Chips</i> <img src="/etc/passwd"/> <font size="99"> &amp; &#0; <a href="file:///x">S&P 500'
CONTROLS = "Bell\x07 and\x00 null\x1b[31m line\nbreak\ttab"
RIGHT_TO_LEFT = "\u202eevil\u202c \u05d7\u05d1\u05e8\u05d4 \u0634\u0631\u0643\u0629\u200f"
LONG_WORD = "W" * 10_000
LONG_NAME = "Global Holdings & Sons International Trading Company " * 200
FORMULA = "=cmd|' /C calc'!A0"

_ZERO = Decimal(0)
_NO_REVENUE = RevenueMetrics(_ZERO, _ZERO, _ZERO, None, None, _ZERO, _ZERO, 0, None, 0)
_NO_MOVEMENTS = MrrMovements(*[_ZERO] * 8)
_MOVED = MrrMovements(*(Decimal(part) for part in ("2400", "200", "0", "150.335", "90.335", "163", "3", "2500")))
_NO_USERS = UserMetrics(0, 0, 0, 0, 0, 0, None, None, None)


def pdf_of(
    report: Report, sections: Sequence[str] = SECTION_NAMES, *, page_size: PageSize = "A4", locale: str = "en_GB"
) -> Pdf:
    """Render a report as a PDF."""
    return render_pdf(report, sections, page_size=page_size, locale=locale)


def empty(company_id: str | None = "acme", **changes: Any) -> Report:
    """Return the report of a company without a single event."""
    window = Window.of_month(MONTH)
    report = Report(
        company_id=company_id,
        window=window,
        previous=Window.of_month(TRAILING[-2]),
        currency="EUR",
        as_of=window.end,
        data_through=None,
        provisional=False,
        last_month_open=False,
        definitions_version=VERSION,
        revenue=PeriodRevenue(_NO_REVENUE),
        revenue_before=PeriodRevenue(_NO_REVENUE),
        movements=_NO_MOVEMENTS,
        users=_NO_USERS,
        users_before=_NO_USERS,
        unconverted=(),
        events=(),
        all_events=0,
        parts=parts(
            {
                MONTHS: [_empty_month(month) for month in TRAILING],
                QUALITY: QUALITY.nothing,
                ORIGINAL_AMOUNTS: ORIGINAL_AMOUNTS.nothing,
                VOLUMES: (),
                ALERTS: (),
                COMPANIES: (),
            }
        ),
    )
    return replace(report, **changes)


def parts(values: Mapping[ReportPart[Any], Any]) -> dict[str, Any]:
    """Return parts of a report as it holds them."""
    return {part.name: value for part, value in values.items()}


def with_part(report: Report, part: ReportPart[T], value: T) -> Report:
    """Return the report with another value of a part."""
    return replace(report, parts={**report.parts, part.name: value})


def _empty_month(month: date) -> MonthFigures:
    return MonthFigures(
        month=month,
        total_revenue=_ZERO,
        growth=None,
        invoiced=_ZERO,
        refunds=_ZERO,
        mrr=_ZERO,
        paying_customers=0,
        incomplete=frozenset(),
        total_users=0,
        active_users=0,
        new_users=0,
        churned_users=0,
        movements=_NO_MOVEMENTS,
        movements_incomplete=False,
        definitions_version=VERSION,
    )


def golden(company_id: str | None = "acme", **changes: Any) -> Report:
    """Return the first scenario of DEFINITIONS.md, all figures filled in: revenue 15,000 after 12,987.01 is +15.5%."""
    revenue = RevenueMetrics(
        total_revenue=Decimal(15000),
        mrr=Decimal(2500),
        arr=Decimal(30000),
        average_revenue_per_user=Decimal(150),
        revenue_growth=Decimal("15.5000"),
        invoiced=Decimal("16100.00"),
        refunds=Decimal("120.5"),
        paying_customers=25,
        arpa=Decimal(100),
        total_users=100,
    )
    before = replace(
        revenue, total_revenue=Decimal("12987.01"), mrr=Decimal(2400), revenue_growth=None, refunds=Decimal(250)
    )
    users = UserMetrics(100, 85, 15, 5, 85, 75, Decimal(5), Decimal(85), Decimal("6.6667"))
    report = empty(
        company_id,
        data_through=DATA_THROUGH,
        revenue=PeriodRevenue(revenue),
        revenue_before=PeriodRevenue(before),
        movements=_MOVED,
        users=users,
        users_before=replace(users, active_users=75, new_users=10, churned_users=10),
        events=[EventCount("user.login", "user_activity", 900), EventCount("payment.received", "revenue", 100)],
        all_events=1000,
        parts=parts(
            {
                MONTHS: _months(last=Decimal(15000)),
                COMPANIES: (),
                ORIGINAL_AMOUNTS: _AMOUNTS,
                VOLUMES: [
                    CryptoVolume("BTC", "crypto.received", Decimal("0.00012345"), 1, Decimal("7.407")),
                    CryptoVolume("DOGE", "crypto.sent", Decimal(1500), 2, None),
                ],
                ALERTS: [
                    FiredAlert(
                        rule="revenue-drop",
                        description="Revenue falls",
                        severity="warning",
                        company=company_id,
                        granularity=Granularity.DAY,
                        first_period=datetime(2026, 1, 3, tzinfo=UTC),
                        last_period=datetime(2026, 1, 4, tzinfo=UTC),
                        value="-12.0 %",
                        threshold="at most -10 %",
                        opened_at=datetime(2026, 1, 4, 1, tzinfo=UTC),
                        resolution=None,
                    )
                ],
                QUALITY: Quality(
                    RawEvents(1000, 85, Decimal(15000), Decimal("16100.00"), 12, 2, timedelta(days=3, hours=4)),
                    ClosedFigures(Decimal(15000), Decimal("16100.00"), Decimal(2500), Decimal(2400), 100, 85, 15, 5),
                    [Rejects("amount: not a number", 3)],
                    (),
                ),
            }
        ),
    )
    return replace(report, **changes)


_RATE_OF_ONE = (Decimal(1), Decimal(1), Decimal(1))
_AMOUNTS = OriginalAmounts(
    [
        OriginalRevenue(
            "EUR", Decimal("12000.004"), Decimal("120.5"), 90, Decimal("12000.004"), Decimal("120.5"), *_RATE_OF_ONE
        ),
        OriginalRevenue(
            "USD",
            Decimal("3599.9952"),
            _ZERO,
            10,
            Decimal("2999.996"),
            _ZERO,
            Decimal("0.8000004"),
            Decimal("0.85"),
            Decimal("0.8333333"),
        ),
    ],
    [RefundDay(date(2026, 1, 12), "EUR", Decimal("120.5"), Decimal("120.5"))],
)


def _months(last: Decimal) -> list[MonthFigures]:
    months = [
        MonthFigures(
            month=month,
            total_revenue=Decimal(9000 + 450 * index),
            growth=Decimal("1.25") if index else None,
            invoiced=Decimal(9100 + 470 * index),
            refunds=Decimal(20 * index),
            mrr=Decimal(1000 + 110 * index),
            paying_customers=10 + index,
            incomplete=frozenset(),
            total_users=40 + 5 * index,
            active_users=35 + 4 * index,
            new_users=5 + index,
            churned_users=index,
            movements=_moved(Decimal(1000 + 110 * index)),
            movements_incomplete=False,
            definitions_version=VERSION,
        )
        for index, month in enumerate(TRAILING)
    ]
    return [*months[:-1], replace(months[-1], total_revenue=last, mrr=Decimal(2500), movements=_MOVED)]


def _moved(end: Decimal) -> MrrMovements:
    """Return what moved MRR by 110 to its end."""
    return MrrMovements(end - 110, Decimal(200), _ZERO, Decimal(10), Decimal(60), Decimal(40), _ZERO, end)


def many_currencies(count: int, company_id: str | None = None) -> Report:
    """Return a report whose revenue comes in so many currencies, a thousandth of a cent more than round each."""
    each = Decimal("10.00333")
    rows = [OriginalRevenue(f"T{number:04}", each, _ZERO, 1, each, _ZERO, *_RATE_OF_ONE) for number in range(count)]
    revenue = replace(golden().revenue.figures, total_revenue=each * count, refunds=_ZERO)
    report = golden(company_id, revenue=PeriodRevenue(revenue))
    return with_part(report, ORIGINAL_AMOUNTS, OriginalAmounts(rows, ()))


def refunds_by_day(*converted: str | None) -> Report:
    """Return a report with a refund of 100 XTS a day, from the first of the month on, and what it is in euros."""
    days = [
        RefundDay(date(2026, 1, day), "XTS", Decimal(100), None if amount is None else Decimal(amount))
        for day, amount in enumerate(converted, 1)
    ]
    known = sum((day.converted for day in days if day.converted is not None), _ZERO)
    row = OriginalRevenue("XTS", Decimal(5000), Decimal(100 * len(days)), 50, Decimal(5000), known, None, None, None)
    revenue = replace(golden().revenue.figures, total_revenue=Decimal(5000), refunds=known)
    return with_part(golden(revenue=PeriodRevenue(revenue)), ORIGINAL_AMOUNTS, OriginalAmounts([row], days))


def bold_lines(pdf: bytes) -> list[list[str]]:
    """Return the lines in bold of each page."""
    pages = []
    for page in PdfReader(BytesIO(pdf)).pages:
        found: list[str] = []

        def visit(text: str, _cm: Any, _tm: Any, font: Any, _size: Any, found: list[str] = found) -> None:
            if text.strip() and font and font["/BaseFont"].endswith("Bold"):
                found.extend(text.strip().splitlines())

        page.extract_text(visitor_text=visit)
        pages.append(found)
    return pages


def many_companies(count: int) -> Report:
    """Return a report over so many companies, a tenth of a cent more than round each, the first with the most."""
    figures = golden().revenue.figures
    revenues = [Decimal("100.001") + count - number for number in range(count)]
    companies = [
        CompanyFigures(
            f"company-{number}",
            PeriodRevenue(replace(figures, total_revenue=revenue, mrr=Decimal(10))),
            active_users=2,
        )
        for number, revenue in enumerate(revenues)
    ]
    whole = replace(figures, total_revenue=sum(revenues, _ZERO), mrr=Decimal(10) * count)
    return with_part(golden(None, revenue=PeriodRevenue(whole)), COMPANIES, companies)
