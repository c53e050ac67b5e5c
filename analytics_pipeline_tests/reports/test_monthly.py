"""The monthly report, read back from its PDF."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from hashlib import sha256
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader
from pypdf.generic import Destination

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.metrics.users import UserMonth
from analytics_pipeline.reports.formats import UNDEFINED
from analytics_pipeline.reports.layout import PageSize
from analytics_pipeline.reports.monthly import (
    MonthlyReport,
    RenderedReport,
    monthly_report_name,
    render_monthly_report,
)
from analytics_pipeline.reports.text import REPLACEMENT
from analytics_pipeline_tests.reports import samples

MINUS = "\u2212"


def read(rendered: RenderedReport) -> PdfReader:
    return PdfReader(BytesIO(rendered.pdf), strict=True)


def pages_of(report: MonthlyReport, **options: Any) -> list[str]:
    return [page.extract_text() for page in read(render_monthly_report(report, **options)).pages]


def text_of(report: MonthlyReport, **options: Any) -> str:
    return "\n".join(pages_of(report, **options))


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
    def test_golden(self) -> None:
        text = text_of(samples.golden())

        for expected in (
            "acme",
            "January 2026",
            "1 Jan 2026 to 31 Jan 2026",
            "UTC",
            "1 Feb 2026, 06:30 UTC",
            "Version 1",
            "Revenue, EUR",
            "15,000.00",
            "+15.50%",
            "Previous month 12,987.01",
            "Previous month 90",
            "15,120.50",
            f"{MINUS}120.50",
            "27,987.01",
            "EUR \u00b7 Euro",
            "+50.00%",
        ):
            assert expected in text
        assert "Provisional" not in text

    def test_a_month_of_net_refunds_and_the_month_after(self) -> None:
        rows = [
            samples.money(date(2025, 11, 1), "EUR", "400"),
            samples.money(date(2025, 12, 1), "EUR", "-150", "-250", 2),
            samples.money(samples.MONTH, "EUR", "300"),
        ]
        first, *_ = pages_of(samples.report(revenue=rows))
        text = text_of(samples.report(revenue=rows))

        assert f"{MINUS}137.50%" in text
        assert f"Previous month {MINUS}150.00" in first
        assert f"\n300.00\n{UNDEFINED}\n" in first

    def test_a_company_without_events(self) -> None:
        rendered = render_monthly_report(samples.report(data_through=None))
        text = read(rendered).pages[0].extract_text()

        assert rendered.pages == 1
        assert f"Revenue\n0.00\n{UNDEFINED}\nPrevious month 0.00" in text
        assert f"Active users\n0\n{UNDEFINED}\nPrevious month 0" in text
        assert "None recorded" in text
        assert "No events yet" in text

    def test_all_companies_with_several_currencies(self) -> None:
        text = text_of(samples.large())

        for expected in ("All companies", "EUR, USD, BTC", "0.73292984", "150,396.00", "Total of 13 months"):
            assert expected in text

    def test_a_provisional_report_says_so_on_every_page(self) -> None:
        pages = pages_of(samples.large(provisional=True))

        assert "Provisional: the month is not final" in pages[0]
        assert "as of 1 Feb 2026, 00:00 UTC" in pages[0]
        assert all("January 2026, provisional" in page for page in pages[1:])

    def test_a_company_named_all_companies_is_told_apart(self) -> None:
        assert "Monthly platform report" in text_of(samples.report(None))
        assert "Monthly company report" in text_of(samples.report("All companies"))

    def test_locale(self) -> None:
        text = text_of(samples.golden(), locale="de_DE")

        assert "15.000,00" in text
        assert re.search(r"\+15,50\s%", text)
        assert "Januar 2026" in text

    def test_figures_too_long_for_their_place_are_whole(self) -> None:
        amount = "123456789012345678901234.12345678"
        text = text_of(samples.report(revenue=[samples.money(samples.MONTH, "BTC", amount)]))

        assert text.count("123,456,789,012,345,678,901,234.12345678") >= 3


class TestDocument:
    @pytest.mark.parametrize(("page_size", "points"), [("A4", (595.28, 841.89)), ("letter", (612, 792))])
    def test_page_size(self, page_size: PageSize, points: tuple[float, float]) -> None:
        reader = read(render_monthly_report(samples.large(), page_size=page_size))

        for page in reader.pages:
            assert (float(page.mediabox.width), float(page.mediabox.height)) == pytest.approx(points, abs=0.01)

    def test_every_page_says_which_of_how_many(self) -> None:
        rendered = render_monthly_report(samples.large(samples.TWELVE))
        pages = [page.extract_text() for page in read(rendered).pages]

        assert rendered.pages == len(pages) > 5
        for number, page in enumerate(pages, 1):
            assert f"Page {number} of {len(pages)}\n" in page
        assert all("Monthly report \u00b7 All companies" in page for page in pages[1:])
        assert all("Definitions version 1" in page for page in pages)

    def test_metadata_and_language(self) -> None:
        reader = read(render_monthly_report(samples.golden()))
        metadata = reader.metadata
        assert metadata is not None

        assert metadata.title == "Monthly report January 2026: acme"
        assert metadata.author == metadata.producer == "analytics_pipeline"
        assert metadata.creation_date == samples.DATA_THROUGH
        assert str(reader.root_object["/Lang"]) == "en"
        assert reader.root_object["/ViewerPreferences"]["/DisplayDocTitle"]  # type: ignore[index]

    def test_outline_leads_to_the_sections(self) -> None:
        reader = read(render_monthly_report(samples.large()))
        outline = list(outline_of(reader))
        titles = [(level, title) for level, title, _ in outline]

        assert titles == [
            (0, "Headline figures"),
            (0, "Revenue trend"),
            (0, "Users"),
            (0, "Revenue by month and currency"),
            (1, "EUR \u00b7 Euro"),
            (1, "USD \u00b7 US Dollar"),
            (1, "BTC"),
            (0, "Users by month"),
            (0, "How to read the figures"),
        ]
        for _, title, page in outline:
            assert page is not None
            assert title in reader.pages[page].extract_text()

    def test_all_fonts_are_embedded_subsets(self) -> None:
        reader = read(render_monthly_report(samples.large()))
        fonts = {
            font.get_object()["/BaseFont"]: font.get_object()
            for page in reader.pages
            for font in page["/Resources"]["/Font"].values()  # type: ignore[index]
        }

        assert {name.partition("+")[2] for name in fonts} == {"NotoSans-Regular", "NotoSans-Bold"}
        assert all("/FontFile2" in font["/FontDescriptor"] for font in fonts.values())
        assert len(render_monthly_report(samples.golden()).pdf) < 60_000

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        first, second = (render_monthly_report(samples.large(provisional=True)) for _ in range(2))
        code = (
            "from hashlib import sha256; from analytics_pipeline_tests.reports import samples;"
            "from analytics_pipeline.reports.monthly import render_monthly_report;"
            "render_monthly_report(samples.golden());"
            "print(sha256(render_monthly_report(samples.large(provisional=True)).pdf).hexdigest())"
        )
        elsewhere = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

        assert first == second
        assert elsewhere.stdout.strip() == sha256(first.pdf).hexdigest()

    def test_the_order_of_rows_does_not_change_the_bytes(self) -> None:
        report = samples.large()
        shuffled = samples.report(None, revenue=report.revenue[::-1], users=report.users[::-1])

        assert render_monthly_report(shuffled).pdf == render_monthly_report(report).pdf

    def test_threads_do_not_disturb_each_other(self) -> None:
        reports = [samples.golden(), samples.large(), samples.report(), samples.large(("EUR",))] * 3
        expected = [render_monthly_report(report).pdf for report in reports]
        with ThreadPoolExecutor(4) as pool:
            rendered = list(pool.map(render_monthly_report, reports))

        assert [one.pdf for one in rendered] == expected


class TestLayout:
    @pytest.mark.parametrize("page_size", ["A4", "letter"])
    @pytest.mark.parametrize("count", [0, 1, 2, 3, 12])
    def test_any_number_of_currencies(self, count: int, page_size: PageSize) -> None:
        text = text_of(samples.large(samples.TWELVE[:count]), page_size=page_size)

        for currency in samples.TWELVE[:count]:
            assert f"Net revenue, {currency}" in text

    def test_five_thousand_rows(self) -> None:
        report = samples.large([f"T{number:03}" for number in range(385)])
        rendered = render_monthly_report(report)

        assert len(report.revenue) > 5_000
        assert "Total of 13 months" in read(rendered).pages[-3].extract_text()

    def test_a_single_row(self) -> None:
        text = text_of(samples.report(revenue=[samples.money(samples.MONTH, "EUR", "1")]))

        assert "Total of" not in text

    @pytest.mark.parametrize(
        "name",
        [
            samples.MARKUP,
            samples.CONTROLS,
            samples.RIGHT_TO_LEFT,
            samples.LONG_WORD,
            samples.LONG_NAME,
            "",
            "\x00",
        ],
    )
    def test_hostile_names(self, name: str) -> None:
        rendered = render_monthly_report(samples.report(name, revenue=samples.golden().revenue))
        reader = read(rendered)

        assert rendered.pages == 2
        assert "15,000.00" in reader.pages[0].extract_text()
        assert not any(page.images for page in reader.pages)

    def test_markup_is_printed_as_it_stands(self) -> None:
        text = text_of(samples.report("AT&T <sales@att.com> <b>Ltd"))

        assert "AT&T <sales@att.com> <b>Ltd" in text

    def test_characters_without_a_glyph_are_marked_and_reported(self) -> None:
        rendered = render_monthly_report(samples.report("\u05d7\u05d1\u05e8\u05d4 \u202eLtd"))

        assert rendered.altered_characters == ("U+05D1", "U+05D4", "U+05D7", "U+05E8", "U+202E")
        assert f"{REPLACEMENT * 4} Ltd" in read(rendered).pages[0].extract_text()

    def test_cyrillic_euro_and_bitcoin_signs_are_printed(self) -> None:
        name = "Ромашка и сыновья € ₿"
        rendered = render_monthly_report(samples.report(name))

        assert rendered.altered_characters == ()
        assert name in read(rendered).pages[0].extract_text()

    def test_a_hostile_currency(self) -> None:
        rows = [samples.money(samples.MONTH, "<b>" + "X" * 5_000, "1.5")]

        assert f"Net revenue, <b>{'X' * 12}\u2026" in text_of(samples.report(revenue=rows))


class TestInput:
    def test_unknown_page_size_and_locale(self) -> None:
        with pytest.raises(AnalyticsError, match="A4 or letter"):
            render_monthly_report(samples.report(), page_size="A3")  # type: ignore[arg-type]
        with pytest.raises(AnalyticsError, match="locale"):
            render_monthly_report(samples.report(), locale="xx_YY")

    def test_rows_that_do_not_fit_are_refused(self) -> None:
        row = samples.money(samples.MONTH, "EUR", "1")
        for revenue in (
            [row, row],
            [samples.money(date(2026, 2, 1), "EUR", "1")],
            [samples.money(date(2024, 12, 1), "EUR", "1")],
        ):
            with pytest.raises(ValueError, match=r"twice|outside"):
                samples.report(revenue=revenue)
        with pytest.raises(ValueError, match="twice"):
            samples.report(users=[UserMonth(samples.MONTH, 1, 1)] * 2)
        with pytest.raises(ValueError, match="first day"):
            samples.report(month=date(2026, 1, 2))
        with pytest.raises(ValueError, match="time zone"):
            samples.report(data_through=datetime(2026, 1, 1))  # noqa: DTZ001

    def test_names_in_the_store(self) -> None:
        names = {
            monthly_report_name(samples.report(company))
            for company in (None, "all-companies", "acme", "Acme", "../acme", "a/cme", "", samples.LONG_WORD)
        }

        assert len(names) == 8
        assert "monthly_report/2026-01/all-companies.pdf" in names
        assert "monthly_report/2026-01/companies/acme.pdf" in names
        assert all(".." not in name and len(name) < 150 for name in names)
