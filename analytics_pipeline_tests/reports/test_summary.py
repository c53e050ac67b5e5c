"""Three sentences and a chart say on the first page what moved, in the digits of the figures they are made of."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from analytics_pipeline.messages.mailed import ChangedFigure
from analytics_pipeline.metrics.rates import SubscriptionRates
from analytics_pipeline.metrics.revenue import MrrMovements, RevenueMetrics, Unconverted
from analytics_pipeline.reports.choices import PageSize
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.months import MONTHS
from analytics_pipeline.reports.report import PeriodRevenue, Report
from analytics_pipeline.reports.sections import mrr, summary
from analytics_pipeline.reports.shown_figures import shown_figures
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.reports import samples

MINUS = "\u2212"
FIVE_DAYS = Window.of_dates(date(2026, 1, 5), date(2026, 1, 9))


def said(report: Report) -> dict[str, str]:
    return dict(summary.sentences(report, Formats()))


def with_revenue(this: str, before: str, growth: str | None, *lacking: str, **changes: Any) -> Report:
    """Return a report of another total revenue, of which some figures of this period lack a rate."""

    def figures(total: str, change: str | None) -> RevenueMetrics:
        growth = None if change is None else Decimal(change)
        return replace(samples.golden().revenue.figures, total_revenue=Decimal(total), revenue_growth=growth)

    return samples.golden(
        revenue=PeriodRevenue(figures(this, growth), frozenset(lacking)),
        revenue_before=PeriodRevenue(figures(before, None)),
        **changes,
    )


def with_movements(*amounts: str, **changes: Any) -> Report:
    """Return a report in which MRR moved from the first amount to the last."""
    moved = MrrMovements(*map(Decimal, amounts))
    figures = samples.golden().revenue.figures
    return samples.golden(
        movements=moved,
        revenue=PeriodRevenue(replace(figures, mrr=moved.end)),
        revenue_before=PeriodRevenue(replace(figures, mrr=moved.start)),
        **changes,
    )


def with_customers(left: int, returned: int, new: int, paying: int, before: int, **changes: Any) -> Report:
    figures = samples.golden().revenue.figures
    return samples.golden(
        rates=SubscriptionRates(new_customers=new, returned_customers=returned, lost_customers=left),
        revenue=PeriodRevenue(replace(figures, paying_customers=paying)),
        revenue_before=PeriodRevenue(replace(figures, paying_customers=before)),
        **changes,
    )


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (samples.golden(), "Revenue rose by 15.5% to 15,000.00 EUR, from 12,987.01 EUR in the month before."),
        (
            with_revenue("-150", "400", "-137.5"),
            f"Revenue fell by 137.5% to {MINUS}150.00 EUR, from 400.00 EUR in the month before.",
        ),
        # No growth without a base, and none of a hundredth of a per cent.
        (
            with_revenue("300", "-150", None),
            f"Revenue was 300.00 EUR, after {MINUS}150.00 EUR in the month before.",
        ),
        (with_revenue("100.01", "100", "0.01"), "Revenue was 100.01 EUR, after 100.00 EUR in the month before."),
        (with_revenue("100.004", "100", "0.004"), "Revenue was 100.00 EUR, as in the month before."),
        (samples.empty(), "Revenue was 0.00 EUR, as in the month before."),
        # Half a cent goes to the even one; yen have none, and the week has a period before.
        (
            with_revenue("0.125", "0.115", "8.69565", currency="JPY", window=FIVE_DAYS),
            "Revenue rose by 8.7% to 0 JPY, from 0 JPY in the period before.",
        ),
        (with_revenue("0.125", "0", None), "Revenue was 0.12 EUR, after 0.00 EUR in the month before."),
        (
            with_revenue("300", "200", None, "refunds"),
            "Revenue was 300.00 EUR, after 200.00 EUR in the month before, as far as rates of exchange are known.",
        ),
        (with_revenue("300", "200", "50", "invoiced", provisional=True), "So far, revenue rose by 50.0% to 300.00 EUR"),
    ],
)
def test_revenue(report: Report, sentence: str) -> None:
    assert said(report)["revenue"].startswith(sentence)


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (
            samples.golden(),
            "MRR grew by 4.2%, from 2,400.00 to 2,500.00 EUR: new 200.00 and expansion 150.34, "
            "less contraction 90.34 and churn 163.00; rates of exchange 3.00.",
        ),
        # The example of the definitions.
        (
            with_movements("1000", "200", "0", "80", "50", "100", "0", "1130"),
            "MRR grew by 13.0%, from 1,000.00 to 1,130.00 EUR: new 200.00 and expansion 80.00, "
            "less contraction 50.00 and churn 100.00.",
        ),
        # Each amount is rounded by itself: what they then miss by stands beside them.
        (
            with_movements("130.01", "0", "0", "0", "40.005", "30.005", "0", "60"),
            f"MRR fell by 53.8%, from 130.01 to 60.00 EUR: contraction 40.00 and churn 30.00; rounding {MINUS}0.01.",
        ),
        (
            with_movements("0", "10", "20", "30", "0", "0", "0", "60"),
            "MRR grew from 0.00 to 60.00 EUR: new 10.00, reactivation 20.00 and expansion 30.00.",
        ),
        (
            with_movements("60", "0", "0", "0", "0", "0", "-4", "56", provisional=True),
            f"So far, MRR fell by 6.7%, from 60.00 to 56.00 EUR: rates of exchange {MINUS}4.00.",
        ),
        (
            with_movements("60", "10", "0", "0", "0", "10", "0", "60"),
            "MRR stayed at 60.00 EUR: new 10.00, less churn 10.00.",
        ),
        (samples.empty(), "MRR stayed at 0.00 EUR."),
        # A balance without a rate at one end is left out at both: what the others changed by is not what MRR did.
        (
            with_movements(
                *("60", "10", "0", "0", "0", "0", "0", "70"),
                unconverted=[Unconverted("mrrMovements", "JPY", Decimal(9), date(2026, 1, 1), date(2026, 1, 1))],
            ),
            "MRR grew from 60.00 to 70.00 EUR, as far as rates of exchange are known: new 10.00.",
        ),
    ],
)
def test_mrr(report: Report, sentence: str) -> None:
    assert said(report)["mrr"] == sentence


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (
            with_customers(2, 1, 3, 1025, 1023),
            "2 customers left, 1 came back and 3 were new; "
            "1,025 were paying at the end, 1,023 at the end of the month before.",
        ),
        (
            with_customers(1, 0, 1, 1, 1),
            "1 customer left, none came back and 1 was new; "
            "1 was paying at the end, as at the end of the month before.",
        ),
        (
            with_customers(0, 2, 0, 2, 0),
            "No customer left, 2 came back and none was new; "
            "2 were paying at the end, none at the end of the month before.",
        ),
        (
            with_customers(0, 0, 0, 24, 25, window=FIVE_DAYS),
            "No customer came, left or came back; 24 were paying at the end, 25 at the end of the period before.",
        ),
        (
            with_customers(1, 0, 0, 1, 2, provisional=True),
            "So far, 1 customer left, none came back and none was new; 1 is paying, 2 at the end of the month before.",
        ),
        (
            samples.empty(),
            "No customer came, left or came back; none was paying at the end, as at the end of the month before.",
        ),
    ],
)
def test_customers(report: Report, sentence: str) -> None:
    assert said(report)["customers"] == sentence


def test_words_and_numbers_are_in_the_language_and_the_notation_of_the_document() -> None:
    first = page_one(samples.golden(), locale="de_DE")
    assert "Der Umsatz stieg um 15,5 % auf 15.000,00 EUR, von 12.987,01 EUR im Vormonat." in first
    assert "neu 200,00 und Expansion 150,34, abz\u00fcglich Kontraktion 90,34" in first


def page_one(report: Report, **options: Any) -> str:
    document = PdfReader(BytesIO(samples.pdf_of(report, **options).content))
    return " ".join(document.pages[0].extract_text().split())


@pytest.mark.parametrize("page_size", ["A4", "letter"])
@pytest.mark.slow
def test_the_sentences_and_the_chart_fit_the_first_page_whatever_is_above_them(page_size: PageSize) -> None:
    corrections = [
        ChangedFigure(f"companies/mrr/{n}", f"Companies, {n} {samples.LONG_NAME}: MRR", None, "1.00", "2.00", "1.00")
        for n in range(5)
    ]
    crowded = samples.golden(
        samples.LONG_NAME,
        unconverted=[Unconverted("totalRevenue", "JPY", Decimal(5000), date(2026, 1, 4), date(2026, 1, 9))],
    )
    for report in (samples.golden(), samples.golden(None), samples.empty(), crowded):
        first = page_one(report, page_size=page_size)
        assert all(sentence in first for sentence in said(report).values())
        assert "Total revenue by month, EUR" in first
    # Where a long list of corrections leaves no room, they go to the next page together.
    document = samples.pdf_of(replace(crowded, corrections=corrections, provisional=True), page_size=page_size)
    texts = [" ".join(page.extract_text().split()) for page in PdfReader(BytesIO(document.content)).pages]
    (whole,) = [text for text in texts if "So far, MRR" in text]
    assert "So far, revenue" in whole
    assert "Total revenue by month, EUR" in whole


def test_sentences_are_no_figures_of_their_own() -> None:
    shown = shown_figures(samples.golden(), [summary.SECTION])
    assert list(shown.columns) == ["events/value"]
    assert [figure.name for figure in shown.figures] == ["events/value/all"]


def test_the_bridge_of_each_month_adds_up_in_the_digits_it_is_shown_with() -> None:
    by_month = mrr.bridges_by_month(samples.golden())
    keys = [column.key for column in by_month.columns[1:]]
    assert len(by_month.rows) == 13
    assert by_month.marked == 12
    for _, *amounts in by_month.rows:
        month = {key: Decimal(str(amount)) for key, amount in zip(keys, amounts, strict=True)}
        end, losses = month.pop("end"), month["contraction"] + month["churn"]
        assert sum(month.values()) - 2 * losses == end


def test_a_page_prints_the_bridge_by_month_with_a_minus_before_losses_and_rounding_where_there_is_some() -> None:
    last = f"January 2026 2,400.00 200.00 0.00 150.34 {MINUS}90.34 {MINUS}163.00 3.00 2,500.00"
    text = printed(samples.golden())
    assert f"Contraction Churn Rates End January 2025 890.00 200.00 0.00 10.00 {MINUS}60.00" in text
    assert last in text
    *months, month = samples.golden()[MONTHS]
    odd = replace(
        month,
        movements=replace(month.movements, contraction=Decimal("40.005"), churn=Decimal("30.005")),
        movements_incomplete=True,
    )
    text = printed(samples.with_part(samples.golden(), MONTHS, [*months, odd]))
    assert "Churn Rates Rounding End" in text
    assert "Not wholly known, for want of rates of exchange: January 2026." in text


def printed(report: Report) -> str:
    pages = PdfReader(BytesIO(samples.pdf_of(report, ["mrr"]).content)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())
