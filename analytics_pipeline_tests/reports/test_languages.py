"""A document, a workbook and a mail are in the words and the notation of one locale; files for programs are in none."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pypdfium2  # type: ignore[import-untyped]
import pytest
from openpyxl import load_workbook

import analytics_pipeline
from analytics_pipeline.alerts.alert_words import condition_in_words, figure_in_words, in_notation
from analytics_pipeline.companies.calendar import Calendar
from analytics_pipeline.erp.record_source import CHANGED
from analytics_pipeline.events.contradictions import CONTRADICTED
from analytics_pipeline.events.ingest import UNFORESEEN
from analytics_pipeline.intake.rejects import ERASED_COMPANY
from analytics_pipeline.languages.catalogues import language_of
from analytics_pipeline.languages.wording import Message
from analytics_pipeline.messages.decisions import list_messages
from analytics_pipeline.messages.mailed import ChangedFigure, Relation
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.metrics.revenue import Unconverted
from analytics_pipeline.reports.catalogue import SECTION_NAMES, sections_of
from analytics_pipeline.reports.changes import describe_changes
from analytics_pipeline.reports.documents import Figure, current_document, hold
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.mail import EarlierDocument, ReportMail, Whom, compose, enqueue_report
from analytics_pipeline.reports.monthly import publish_company_months
from analytics_pipeline.reports.order import ReportOrder
from analytics_pipeline.reports.render import render_report
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.shown_figures import shown_figures
from analytics_pipeline.reports.stored_words import in_words
from analytics_pipeline.reports.workbook import render_workbook
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.reports import samples

MINUS = "\u2212"
LOCALES = ["de_DE", "es_ES"]
DAY = date(2026, 1, 1)
MAX_SHEET_NAME = 31


def reports() -> Iterator[Report]:
    """Yield reports that together say most of what can be said."""
    yield samples.golden(None)
    changed = ChangedFigure("mrr/value/mrr", "x", None, "1.00", "2.00", "1.00")
    lacking = [Unconverted("mrrMovements", "JPY", Decimal(9), DAY, DAY, "new")]
    yield samples.golden("acme", provisional=True, last_month_open=True, unconverted=lacking, corrections=[changed])
    yield samples.empty("acme")


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    return " ".join(" ".join(page.get_textpage().get_text_bounded() for page in document).split())


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.slow
def test_a_document_says_nothing_in_english(locale: str) -> None:
    language = language_of(locale[:2])
    said = " ".join(text_of(samples.pdf_of(report, locale=locale).content) for report in reports())
    # What is the same in both, or short enough to be a part of something else, proves nothing.
    english = [
        text for text, (form, *_) in language.texts.items() if form != text and len(text) > 5 and "{" not in text
    ]
    assert len(english) > 150
    assert "\u2026" not in said, "words are cut"
    left = [text for text in english if re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.])", said)]
    assert left == []


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.slow
def test_longer_words_stay_on_the_page_and_apart(locale: str) -> None:
    for report in (samples.golden(None), samples.many_companies(3)):
        for page in pypdfium2.PdfDocument(samples.pdf_of(report, locale=locale).content):
            width, _ = page.get_size()
            texts = page.get_textpage()
            boxes = [texts.get_rect(index) for index in range(texts.count_rects())]
            assert all(left > 48 and right < width - 48 for left, _, right, _ in boxes)
            for index, one in enumerate(boxes):
                for other in boxes[index + 1 :]:
                    across = min(one[2], other[2]) - max(one[0], other[0])
                    along = min(one[3], other[3]) - max(one[1], other[1])
                    assert across < 1 or along < 2.5, (texts.get_text_bounded(*one), texts.get_text_bounded(*other))


@pytest.mark.parametrize("locale", LOCALES)
def test_a_workbook_is_in_the_language_and_no_title_of_a_sheet_is_cut(locale: str) -> None:
    say = language_of(locale[:2]).say
    report = samples.golden(None)
    titles = [say(table.title) for section in sections_of(SECTION_NAMES) for table in section.tables(report)]
    assert max(map(len, titles)) <= MAX_SHEET_NAME
    book = load_workbook(BytesIO(render_workbook(report, SECTION_NAMES, locale)))
    assert book.sheetnames[1:] == titles
    cells = {cell.value for sheet in book for row in sheet.iter_rows() for cell in row}
    assert {"de_DE": "Gesamtumsatz, EUR", "es_ES": "Ingresos totales, EUR"}[locale] in cells
    assert "Total revenue, EUR" not in cells
    # Numbers stay numbers, which a spreadsheet writes as its user is used to.
    assert 15000.0 in cells


@pytest.mark.parametrize("form", ["csv", "json"])
def test_files_for_programs_are_the_same_in_every_language(form: str) -> None:
    calendar = Calendar("acme", "acme", "UTC", "EUR", "en_GB")
    asked = {"company_id": "acme", "start_date": DAY, "end_date": date(2026, 1, 31), "format": form}
    english, german = (
        render_report(samples.golden(), ReportOrder.of({**asked, "locale": locale}).accept(calendar)).content
        for locale in ("en_GB", "de_DE")
    )
    assert english == german


def test_an_order_is_in_the_language_of_the_company_unless_it_asks_for_another() -> None:
    def locale(company: str, asked: str | None = None) -> str:
        calendar = Calendar("acme", "acme", "UTC", "EUR", company)
        return ReportOrder.of({"company_id": "acme", "locale": asked}).accept(calendar).locale

    assert (locale("es_ES"), locale("es_ES", "de-ch"), locale("de")) == ("es_ES", "de_CH", "de")
    # Documents are not written in these scripts: words and notation are those of the default.
    assert (locale("ja_JP"), locale("ar_SA")) == ("en_GB", "en_GB")


def test_units_of_figures_that_differ_follow_their_number() -> None:
    def said(locale: str, before: str, after: str, difference: str) -> str:
        change = ChangedFigure("churn", "Gross MRR churn", "percent", before, after, difference)
        return describe_changes([change], Formats(locale))[0].partition("(")[2]

    assert said("de_DE", "3", "4", "1") == "+1 Prozentpunkt)"
    assert said("de_DE", "3.0", "4.0", "1.0") == "+1,0 Prozentpunkte)"
    assert said("es_ES", "3.0", "4.0", "1.0") == "+1,0 punto porcentual)"
    assert said("en_GB", "3", "4", "1") == "+1 points)"


def test_what_alerts_found_and_watched_for_is_in_words_and_notation() -> None:
    def german(words: str) -> str:
        return in_notation(words, Formats("de_DE"))

    assert german(condition_in_words("change below -20 % in 2 of 3 months")) == (
        f"Ver\u00e4nderung unter {MINUS}20\u00a0% in 2 von 3 Monaten"
    )
    assert german(condition_in_words("at most 10,000.50 EUR")) == "h\u00f6chstens 10.000,50 EUR"
    assert german(figure_in_words("-20.0 % to 1,800.00 EUR")) == f"{MINUS}20,0\u00a0% auf 1.800,00 EUR"
    assert german(figure_in_words("+1.5 points to 4.2 %")) == "+1,5 Prozentpunkte auf 4,2\u00a0%"
    for words in ("change below -20 % in 2 of 3 months", "at least 1,000 1INCH", "something else of 5"):
        written = in_notation(condition_in_words(words), Formats())
        assert written.replace(MINUS, "-") == words.replace(" %", "%")


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("subscriptions", "Abonnements"),
        ("churned_of_start is stored", "churned_of_start wird nun gespeichert"),
        ("value is not a number", "value ist keine Zahl"),
        ("timestamp before 1970", "timestamp vor 1970"),
        ("events in analytics_revenue_daily", "Ereignisse in analytics_revenue_daily"),
        ("revenue_metrics of the year before", "revenue_metrics des Vorjahres"),
        ("rates EUR/USD, EUR/JPY and 3 more pairs", "Kurse EUR/USD, EUR/JPY und 3 weitere Paare"),
        ("of a kind that nobody knows", "of a kind that nobody knows"),
    ],
)
def test_words_that_the_database_keeps_are_said_in_the_language(kept: str, said: str) -> None:
    assert in_words(kept) == kept
    assert language_of("de").say(in_words(kept)) == said


def test_figures_that_differ_are_named_with_days_and_months_in_the_notation() -> None:
    report, sections = samples.golden(), sections_of(SECTION_NAMES)
    german, english = (
        {figure.name: figure.label for figure in shown_figures(report, sections, formats).figures}
        for formats in (Formats("de_DE"), None)
    )
    assert german.keys() == english.keys()
    assert german["revenueByMonth/totalRevenue/2025-12"] == "Umsatz nach Monat, EUR, Dezember 2025: Gesamtumsatz"
    assert english["revenueByMonth/totalRevenue/2025-12"] == "Revenue by month, EUR, 2025-12: Total revenue"
    assert not [label for label in german.values() if re.search(r"\d{4}-\d\d", label)]


def _kinds_of_rejections() -> Iterator[str]:
    """Yield every kind that code gives a rejection, with ``x`` in place of what it fills in."""
    yield from (CHANGED, CONTRADICTED, ERASED_COMPANY, UNFORESEEN)
    for file in sorted(Path(analytics_pipeline.__file__).parent.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        for call in ast.walk(ast.parse(source)) if "RejectedEvent(" in source else ():
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "RejectedEvent":
                kind = call.args[0]
                for text in (kind.body, kind.orelse) if isinstance(kind, ast.IfExp) else (kind,):
                    if isinstance(text, ast.Constant):
                        yield str(text.value)
                    elif isinstance(text, ast.JoinedStr):
                        yield "".join(
                            str(part.value) if isinstance(part, ast.Constant) else "x" for part in text.values
                        )


def test_every_kind_of_rejection_is_said_in_the_language() -> None:
    kinds = set(_kinds_of_rejections())
    assert len(kinds) > 50
    assert [kind for kind in sorted(kinds) if not isinstance(in_words(kind), Message)] == []
    assert all(in_words(kind) == kind for kind in kinds)
    assert language_of("de").say(in_words("metadata: not a finite number")) == "metadata: keine endliche Zahl"


def test_a_mail_is_in_the_words_and_the_notation_of_its_document() -> None:
    change = ChangedFigure("mrr/value/mrr", "MRR, EUR", None, "1000.00", "1110.00", "110.00")
    mail = ReportMail(
        company="acme",
        title="Monthly report",
        period="Januar 2026",
        figures=[Figure("Gesamtumsatz, EUR", "15.000,00", "+15,5\u00a0%")],
        file="monthly_report-2026-01-acme.pdf",
        size=2_500_000,
        sha256="0" * 64,
        link=None,
        data_through="31.01.2026, 23:59 UTC",
        provisional=True,
        definitions_version=2,
        earlier=EarlierDocument(Relation.CORRECTED, 2, [change]),
        answers_to="it@example.com",
        locale="de_AT",
    )
    content = compose(mail)
    assert content.subject == "Korrigiert: Monthly report Januar 2026 (vorl\u00e4ufig): acme"
    assert "Im Anhang: monthly_report-2026-01-acme.pdf (2,5 MB)" in content.text
    assert "MRR, EUR 1.110,00, zuvor 1.000,00 (+110,00)" in content.text
    assert "schreiben Sie an it@example.com" in content.text
    assert '<html lang="de">' in content.html
    assert ">Kennzahl<" in content.html
    assert content.opens == "\u00d6ffnen"
    assert json.loads(content.payload)["data"]["title"] == "Monthly report"
    english = compose(replace(mail, locale="fr_FR"))
    assert "Attached: monthly_report-2026-01-acme.pdf (2,5 MB)" in english.text


@pytest.mark.slow
def test_documents_and_mails_of_a_company_are_in_its_language(connection: Connection) -> None:
    def publish(locale: str) -> None:
        connection.execute(
            "INSERT INTO analytics_companies (company_id, locale) VALUES ('acme', %s) "
            "ON CONFLICT (company_id) DO UPDATE SET locale = excluded.locale",
            [locale],
        )
        list(publish_company_months(connection, settings, DAY))
        hold(connection, "monthly_report", "2026-01", None)

    settings = get_settings()
    try:
        publish("de_DE")
        add_recipient(connection, "acme", "monthly_report", "cfo@acme.com")
        german = current_document(connection, "monthly_report", "acme", "2026-01")
        assert german.document.locale == "de_DE"
        assert german.document.figures[0].label == "Gesamtumsatz, EUR"
        assert current_document(connection, "monthly_report", "globex", "2026-01").document.locale == "en_GB"
        assert enqueue_report(connection, settings, german, Whom.ALL) == 1
        (mail,) = list_messages(connection)
        assert mail.subject == "Monatsbericht Januar 2026: acme"
        # Another language alone corrects nothing.
        publish("es_ES")
        spanish = current_document(connection, "monthly_report", "acme", "2026-01")
        assert spanish.document.figures[0].label == "Ingresos totales, EUR"
        assert spanish.document.corrections == ()
    finally:
        for table in ("outbox", "report_recipients", "report_documents", "companies"):
            connection.execute(f"DELETE FROM analytics_{table}".encode())
