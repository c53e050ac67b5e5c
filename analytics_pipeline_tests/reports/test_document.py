"""The report as a PDF, read back."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader
from pypdf.generic import Destination

from analytics_pipeline.currencies import round_money
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.languages.notation import UNDEFINED
from analytics_pipeline.metrics.revenue import Unconverted
from analytics_pipeline.reports import script_fonts
from analytics_pipeline.reports.catalogue import SECTION_NAMES
from analytics_pipeline.reports.choices import PageSize
from analytics_pipeline.reports.document import Pdf
from analytics_pipeline.reports.months import MONTHS
from analytics_pipeline.reports.order import ReportOrder
from analytics_pipeline.reports.printed_text import REPLACEMENT
from analytics_pipeline.reports.publish import Job, publish
from analytics_pipeline.reports.quality import QUALITY
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections import currencies, refunds
from analytics_pipeline.reports.sections.alerts import ALERTS
from analytics_pipeline.reports.sections.currencies import ORIGINAL_AMOUNTS
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.reports import samples
from analytics_pipeline_tests.reports.calendars import EUROS

MINUS = "\u2212"


def read(rendered: Pdf) -> PdfReader:
    return PdfReader(BytesIO(rendered.content), strict=True)


def pages_of(report: Report, *sections: str, **options: Any) -> list[str]:
    rendered = samples.pdf_of(report, sections or SECTION_NAMES, **options)
    return [" ".join(page.extract_text().split()) for page in read(rendered).pages]


def text_of(report: Report, *sections: str, **options: Any) -> str:
    return " ".join(pages_of(report, *sections, **options))


def outline_of(reader: PdfReader) -> Iterator[tuple[int, str, int | None]]:
    def walk(entries: list[Any], level: int) -> Iterator[tuple[int, str, int | None]]:
        for entry in entries:
            if isinstance(entry, list):
                yield from walk(entry, level + 1)
            else:
                assert isinstance(entry, Destination)
                yield level, str(entry.title), reader.get_destination_page_number(entry)

    return walk(reader.outline, 0)


class TestFigures:
    @pytest.mark.slow
    def test_golden(self) -> None:
        text = text_of(samples.golden())

        for expected in (
            "Monthly company report acme January 2026",
            "1 Jan 2026 to 31 Jan 2026",
            "1 Feb 2026, 06:30 UTC",
            "Version 3",
            "Total revenue, EUR 15,000.00 +15.5% Previous month 12,987.01",
            "MRR, EUR 2,500.00 +4.2% Previous month 2,400.00",
            "Active users 85 +13.3% Previous month 75",
            f"Churned users 5 {MINUS}50.0%",
            "Churn rate of those active before, % 6.7",
            "0.00012345",
            "revenue-drop 3 Jan 2026 to 4 Jan 2026: \u221212.0%. Watched for: at most \u221210%. Warning, going on.",
            "user.login user_activity 900 90.0%",
            "3 days 4 h",
            "amount: not a number",
        ):
            assert expected in text
        assert "Provisional" not in text
        assert "DIFFERS" not in text

    @pytest.mark.parametrize(("third", "rounding"), [("0", None), ("3.335", "-0.01")])
    def test_the_bridge_adds_up_in_the_digits_it_is_printed_with(self, third: str, rounding: str | None) -> None:
        movements = samples.golden().movements
        more = Decimal(third)
        moved = replace(movements, reactivation=more, contraction=movements.contraction + more)
        text = text_of(samples.golden(movements=moved), "mrr")
        table = text[text.index("From start to end") :].replace(",", "").replace(MINUS, "-")
        names = ("start", "New", "Reactivation", "Expansion", "Contraction", "Churn", "exchange", "Rounding", "end")
        printed = {name: re.search(rf"{name} (-?[\d.]+)", table) for name in names}
        amounts = {name: Decimal(found.group(1)) for name, found in printed.items() if found}
        shown = {"Contraction": -round_money(moved.contraction, "EUR"), "Reactivation": round_money(more, "EUR")}

        assert amounts.get("Rounding") == (None if rounding is None else Decimal(rounding))
        assert {name: amounts[name] for name in shown} == shown
        assert sum(amounts.values()) - amounts["end"] == amounts["end"] == 2500

    def test_parts_that_miss_their_total_are_left_as_they_are_and_a_line_says_by_how_much(self) -> None:
        pages = pages_of(samples.many_currencies(10), "currencies")
        printed = re.findall(r" (10\.0\d) 10\.0%", " ".join(pages))

        assert printed == ["10.00"] * 10
        assert "Rounding 0.03 Total revenue 10 100.03" in pages[0]

    def test_a_table_that_adds_up_has_no_line_for_rounding(self) -> None:
        assert "Rounding" not in text_of(samples.golden(None), "companies", "currencies", "refunds")

    def test_a_company_without_events(self) -> None:
        text = text_of(samples.empty())

        assert f"Total revenue, EUR 0.00 {UNDEFINED} Previous month 0.00" in text
        assert f"Active users 0 {UNDEFINED} Previous month 0" in text
        for expected in ("No events yet", "No revenue in this", "Nothing was refunded", "No crypto", "No alert fired"):
            assert expected in text

    def test_a_provisional_report_says_so_on_every_page(self) -> None:
        as_of = samples.golden().window.start.replace(day=17)
        pages = pages_of(samples.golden(provisional=True, as_of=as_of))

        assert "Provisional: the period is not over" in pages[0]
        assert "as of 17 Jan 2026, 00:00 UTC" in pages[0]
        assert all("January 2026, provisional" in page for page in pages[1:])

    def test_amounts_without_a_rate_are_named_on_the_first_page(self) -> None:
        missing = [Unconverted("totalRevenue", "JPY", Decimal(5000), date(2026, 1, 4), date(2026, 1, 9))]
        first, *rest = pages_of(samples.golden(unconverted=missing))

        assert "Incomplete: for want of a rate, amounts in JPY are missing from" in first
        assert "Total revenue JPY 5,000 4 Jan 2026 9 Jan 2026" in " ".join(rest)

    def test_figures_that_do_not_reconcile_are_named_on_the_first_page(self) -> None:
        report = samples.golden()
        quality = report[QUALITY]
        assert quality.raw is not None
        raw = replace(quality.raw, total_revenue=Decimal("15000.0000001"))
        first, *rest = pages_of(samples.with_part(report, QUALITY, replace(quality, raw=raw)))

        assert "Not reconciled: Total revenue." in first
        assert "15,000.00 15,000.00 15,000.00 DIFFERS" in " ".join(rest)

    def test_a_company_named_all_companies_is_told_apart(self) -> None:
        assert "Monthly platform report" in text_of(samples.golden(None), "headline")
        assert "Monthly company report" in text_of(samples.golden("All companies"), "headline")

    def test_another_period_is_named_by_its_days(self) -> None:
        window = Window.of_dates(date(2026, 1, 5), date(2026, 1, 11))
        previous = Window.of_dates(date(2025, 12, 29), date(2026, 1, 4))
        text = text_of(samples.golden(window=window, previous=previous))

        assert "Company report acme 5 Jan 2026 to 11 Jan 2026" in text
        assert "Change is against 29 Dec 2025 to 4 Jan 2026" in text
        assert "Period before 12,987.01" in text

    def test_users_that_can_no_longer_be_counted_are_undefined(self) -> None:
        text = text_of(samples.golden(users=None), "headline", "users")

        assert f"Active users {UNDEFINED} {UNDEFINED} Previous month 75" in text
        assert "have expired" in text

    def test_locale(self) -> None:
        text = text_of(samples.golden(), locale="de_DE")

        assert "15.000,00" in text
        assert re.search(r"\+15,5\s%", text)
        assert "Januar 2026" in text

    def test_the_figures_given_with_a_document_are_in_its_notation(self, tmp_path: Path) -> None:
        days = {"start_date": date(2026, 1, 1), "end_date": date(2026, 1, 31)}
        order = ReportOrder.of({"company_id": "acme", **days, "locale": "de_DE"}).accept(EUROS)
        published = publish(str(tmp_path), Job(samples.golden(), order))
        printed = " ".join(PdfReader(published.path).pages[0].extract_text().split())
        revenue = published.figures[0]

        assert (revenue.value, revenue.change) == ("15.000,00", "+15,5\u00a0%")
        assert f"{revenue.label} {revenue.value} " in printed

    def test_a_currency_without_a_rate_has_no_amount_of_another(self) -> None:
        report = samples.golden()
        euros, dollars = report[ORIGINAL_AMOUNTS].currencies
        rows = [
            replace(euros, converted_refunds=Decimal("100.5")),
            replace(euros, currency="JPY", converted=None, converted_refunds=None),
            replace(dollars, refunds=Decimal(24), converted_refunds=Decimal(20)),
        ]
        report = samples.with_part(report, ORIGINAL_AMOUNTS, replace(report[ORIGINAL_AMOUNTS], currencies=rows))
        by_currency = currencies.SECTION.tables(report)[0]
        refunded = refunds.SECTION.tables(report)[0]

        assert by_currency.column("currency") == refunded.column("currency") == ["EUR", "JPY", "USD"]
        assert by_currency.column("converted") == [Decimal("12000.00"), None, Decimal("3000.00")]
        assert refunded.column("converted") == [Decimal("100.50"), None, Decimal("20.00")]

    def test_amounts_without_a_rate_are_listed_where_there_is_no_revenue(self) -> None:
        missing = [Unconverted("mrr", "JPY", Decimal(5000), date(2026, 1, 4), date(2026, 1, 9))]
        text = text_of(samples.empty(unconverted=missing), "currencies")

        assert "No revenue in this period. Amounts without a rate" in text
        assert "MRR at the end JPY 5,000 4 Jan 2026 9 Jan 2026" in text
        assert "Amounts without a rate" not in text_of(samples.golden(), "currencies")

    def test_days_of_refunds_are_rounded_once_as_their_sum_is(self) -> None:
        report = samples.refunds_by_day("0.335", None, "0.335", "0.335")
        shown = refunds.SECTION.tables(report)[1].column("converted")

        assert shown == [Decimal("0.34"), None, Decimal("0.34"), Decimal("0.34")]
        assert "Refunds, EUR 1.00" in text_of(report, "headline")

    def test_only_the_largest_of_many_days_of_refunds_are_printed(self) -> None:
        report = samples.refunds_by_day(*(str(day) for day in range(1, 16)))
        text = text_of(report, "refunds")
        printed = re.findall(r"(\d+) Jan 2026 XTS 100.00 (\d+).00", text)

        assert "Refunds by day: the 10 largest of 15" in text
        assert printed == [(str(day), str(day)) for day in range(15, 5, -1)]
        assert len(refunds.SECTION.tables(report)[1].rows) == 15

    def test_refunds_without_a_rate_are_printed_before_the_largest(self) -> None:
        text = text_of(samples.refunds_by_day(*(str(day) for day in range(1, 15)), None), "refunds")
        printed = re.findall(r"(\d+) Jan 2026 XTS", text)

        assert "Refunds by day: the 10 largest of 15, those without a rate first" in text
        assert printed == ["15", *(str(day) for day in range(14, 5, -1))]

    def test_figures_too_long_for_their_place_are_whole(self) -> None:
        amount = Decimal("123456789012345678901234.12")
        revenue = replace(samples.golden().revenue.figures, total_revenue=amount)
        report = samples.golden(revenue=replace(samples.golden().revenue, figures=revenue))
        text = text_of(report, "headline", "revenue", "reconciliation")

        assert text.count("123,456,789,012,345,678,901,234.12") == 3


class TestSections:
    @pytest.mark.slow
    def test_only_the_chosen_ones_are_in_the_document(self) -> None:
        reader = read(samples.pdf_of(samples.golden(), ("crypto", "definitions")))

        assert [title for _, title, _ in outline_of(reader)] == ["Crypto volumes", "Definitions"]

    @pytest.mark.parametrize("section", SECTION_NAMES)
    @pytest.mark.slow
    def test_each_stands_alone_with_and_without_data(self, section: str) -> None:
        for report in (samples.golden(), samples.golden(None), samples.empty()):
            assert "January 2026" in pages_of(report, section)[0]


class TestMonths:
    @pytest.mark.parametrize(("section", "tables"), [("revenue", 1), ("mrr", 2), ("users", 1)])
    def test_the_month_of_the_report_is_set_in_bold(self, section: str, tables: int) -> None:
        months = self.months_in_bold(samples.golden(), section)

        assert months == ["January 2026"] * tables

    def test_no_month_is_in_the_report_of_a_week(self) -> None:
        week = samples.golden(window=Window.of_dates(date(2026, 1, 5), date(2026, 1, 11)))

        assert self.months_in_bold(week, "revenue") == []

    @pytest.mark.parametrize("field", ["total_revenue", "invoiced", "refunds", "mrr", "total_users", "active_users"])
    def test_a_table_begins_with_the_first_month_that_has_a_figure(self, field: str) -> None:
        months = list(samples.empty()[MONTHS])
        months[3] = replace(months[3], **{field: type(getattr(months[3], field))(1)})
        text = text_of(samples.with_part(samples.empty(), MONTHS, months), "revenue")

        assert re.search("Invoiced Refunds April 2025 .* May 2025 .* January 2026 ", text)

    def test_without_a_figure_the_table_has_the_last_month(self) -> None:
        assert "Invoiced Refunds January 2026 0.00" in text_of(samples.empty(), "revenue")

    @staticmethod
    def months_in_bold(report: Report, section: str) -> list[str]:
        lines = [line for page in samples.bold_lines(samples.pdf_of(report, [section]).content) for line in page]
        return [found[0] for line in lines if (found := re.match(r"[A-Z]\w+ \d{4}(?= \S*\d)", line))]


class TestDocument:
    @pytest.mark.parametrize(("page_size", "points"), [("A4", (595.28, 841.89)), ("letter", (612, 792))])
    def test_page_size(self, page_size: PageSize, points: tuple[float, float]) -> None:
        reader = read(samples.pdf_of(samples.golden(), page_size=page_size))

        for page in reader.pages:
            assert (float(page.mediabox.width), float(page.mediabox.height)) == pytest.approx(points, abs=0.01)

    def test_every_page_says_which_of_how_many(self) -> None:
        pages = pages_of(samples.golden(None))

        assert len(pages) > 4
        for number, page in enumerate(pages, 1):
            assert f"Page {number} of {len(pages)} " in page
        assert all("Monthly report \u00b7 All companies" in page for page in pages[1:])
        assert all("Definitions version 3" in page for page in pages)

    def test_metadata_and_language(self) -> None:
        reader = read(samples.pdf_of(samples.golden()))
        metadata = reader.metadata
        assert metadata is not None

        assert metadata.title == "Monthly report January 2026: acme"
        assert metadata.author == metadata.producer == "analytics_pipeline"
        assert metadata.creation_date == samples.DATA_THROUGH
        assert str(reader.root_object["/Lang"]) == "en"
        assert reader.root_object["/ViewerPreferences"]["/DisplayDocTitle"]  # type: ignore[index]

    @pytest.mark.slow
    def test_bookmarks_lead_to_the_sections(self) -> None:
        reader = read(samples.pdf_of(samples.golden()))
        outline = list(outline_of(reader))

        assert [title for level, title, _ in outline if level == 0] == [
            "Headline figures",
            "What moved",
            "Revenue",
            "Monthly recurring revenue",
            "Users",
            "Revenue by original currency",
            "Refunds",
            "Crypto volumes",
            "Top events",
            "Alerts",
            "Data quality",
            "Reconciliation",
            "Definitions",
        ]
        assert (1, "Users by month") in [(level, title) for level, title, _ in outline]
        for _, title, page in outline:
            assert page is not None
            assert title in reader.pages[page].extract_text()

    def test_all_fonts_are_embedded_subsets(self) -> None:
        rendered = samples.pdf_of(samples.golden())
        fonts = {
            font.get_object()["/BaseFont"]: font.get_object()
            for page in read(rendered).pages
            for font in page["/Resources"]["/Font"].values()  # type: ignore[index]
        }

        assert {name.partition("+")[2] for name in fonts} == {"NotoSans-Regular", "NotoSans-Bold"}
        assert all("/FontFile2" in font["/FontDescriptor"] for font in fonts.values())
        assert len(rendered.content) < 60_000

    @pytest.mark.slow
    def test_the_same_input_gives_the_same_bytes(self) -> None:
        first, second = (samples.pdf_of(samples.golden(None)) for _ in range(2))
        code = (
            "from hashlib import sha256; from analytics_pipeline_tests.reports import samples;"
            "samples.pdf_of(samples.many_currencies(3), locale='de_DE');"
            "print(sha256(samples.pdf_of(samples.golden(None)).content).hexdigest())"
        )
        elsewhere = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

        assert first == second
        assert elsewhere.stdout.strip() == sha256(first.content).hexdigest()

    @pytest.mark.slow
    def test_threads_do_not_disturb_each_other(self) -> None:
        reports = [samples.golden(), samples.empty(), samples.many_currencies(40), samples.golden("Zoë")] * 2
        expected = [samples.pdf_of(report).content for report in reports]
        with ThreadPoolExecutor(4) as pool:
            rendered = list(pool.map(samples.pdf_of, reports))

        assert [one.content for one in rendered] == expected


class TestLayout:
    @pytest.mark.parametrize("page_size", ["A4", "letter"])
    @pytest.mark.parametrize("count", [0, 1, 40])
    def test_any_number_of_rows(self, count: int, page_size: PageSize) -> None:
        text = text_of(samples.many_currencies(count), "currencies", page_size=page_size)

        assert all(f"T{number:04}" in text for number in range(count))

    @pytest.mark.slow
    def test_five_thousand_rows_repeat_their_head(self) -> None:
        pages = pages_of(samples.many_currencies(5_000), "currencies")

        assert len(pages) > 90
        assert all("Lowest rate" in page for page in pages[:-1])
        assert "T4999" in pages[-1] + pages[-2]
        assert "50,016.65" in pages[-1]

    @pytest.mark.parametrize(
        "name",
        [
            samples.MARKUP,
            samples.CONTROLS,
            samples.RIGHT_TO_LEFT,
            samples.LONG_WORD,
            samples.LONG_NAME,
            samples.FORMULA,
            "",
            "\x00",
        ],
    )
    def test_hostile_names(self, name: str) -> None:
        reader = read(samples.pdf_of(samples.golden(name), ("headline", "alerts", "top-events")))

        assert "15,000.00" in reader.pages[0].extract_text()
        assert not any(page.images for page in reader.pages)

    def test_hostile_rows(self) -> None:
        report = samples.golden(None)
        hostile = (samples.MARKUP, samples.CONTROLS, samples.RIGHT_TO_LEFT, samples.LONG_WORD)
        events = [replace(report.events[0], event_type=name, category=name) for name in hostile]
        alerts = [replace(report[ALERTS][0], company=name, rule=name, value=name, threshold=name) for name in hostile]
        report = samples.with_part(replace(report, events=events), ALERTS, alerts)
        reader = read(samples.pdf_of(report, ("top-events", "alerts")))

        assert "<b>Fish & Chips" in reader.pages[0].extract_text()
        assert not any(page.images for page in reader.pages)

    def test_markup_is_printed_as_it_stands(self) -> None:
        assert "AT&T <sales@att.com> <b>Ltd" in text_of(samples.golden("AT&T <sales@att.com> <b>Ltd"), "headline")

    def test_characters_without_a_glyph_are_marked_and_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # As without the fonts of other scripts.
        monkeypatch.setattr(script_fonts, "_script_fonts", lambda _folder: ())
        rendered = samples.pdf_of(samples.golden("\u05d7\u05d1\u05e8\u05d4 \u202eLtd"), ("headline",))

        assert rendered.altered_characters == ("U+05D1", "U+05D4", "U+05D7", "U+05E8", "U+202E")
        assert f"{REPLACEMENT * 4} Ltd" in read(rendered).pages[0].extract_text()

    def test_cyrillic_euro_and_bitcoin_signs_are_printed(self) -> None:
        name = "Ромашка и сыновья € ₿"
        rendered = samples.pdf_of(samples.golden(name), ("headline",))

        assert rendered.altered_characters == ()
        assert name in read(rendered).pages[0].extract_text()

    def test_an_unknown_locale_is_refused(self) -> None:
        with pytest.raises(AnalyticsError, match="locale"):
            samples.pdf_of(samples.golden(), locale="xx_YY")


@pytest.mark.parametrize(("count", "named"), [(1, 1), (16, 16), (17, 15), (1_000, 15)])
def test_companies_are_shown_by_revenue_and_those_beyond_fifteen_as_one(count: int, named: int) -> None:
    report = samples.many_companies(count)
    text = text_of(report, "companies")
    shown = re.findall(r"company-(\d+)", text)

    assert shown == [str(number) for number in range(named)]
    assert (f"{count - named} others" in text) == (count > named)
    total = round_money(report.revenue.figures.total_revenue, "EUR")
    assert (f"All companies {total:,}" in text) == (count > 1)


def test_a_companys_report_has_no_other_companies() -> None:
    assert "Companies" not in text_of(samples.golden())
