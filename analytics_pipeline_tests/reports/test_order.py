"""What can be ordered, and what is said of the rest."""

from datetime import date
from typing import Any

import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.reports.catalogue import SECTION_NAMES, choose_sections
from analytics_pipeline.reports.monthly import monthly_report_name
from analytics_pipeline.reports.order import FORMATS, ReportOrder, order_report
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.reports import samples

OF_COMPANY = tuple(name for name in SECTION_NAMES if name != "companies")
FIRST, LAST = date(2026, 1, 1), date(2026, 1, 31)


def order(**changes: Any) -> ReportOrder:
    values = {"company_id": "acme", "start": FIRST, "end": LAST, "currency": "EUR", **changes}
    return order_report(values.pop("company_id"), values.pop("start"), values.pop("end"), **values)


def test_an_order_is_every_section_of_inclusive_days_as_pdf() -> None:
    plain = order()

    assert plain.window == Window.of_month(FIRST)
    assert (plain.sections, plain.format, plain.page_size) == (OF_COMPANY, "pdf", "A4")
    assert order(page_size="LETTER").page_size == "letter"


def test_sections_come_once_and_in_the_order_of_a_document() -> None:
    assert choose_sections(["users", " revenue", "users", ""]) == ("revenue", "users")
    assert choose_sections([""]) == SECTION_NAMES


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"sections": ["revenue", "nope"]},
            "There is no section 'nope': choose from headline, summary, companies, revenue",
        ),
        ({"end": date(2025, 12, 31)}, "the other way round"),
        ({"end": date(9999, 12, 31)}, "years 1970 to 2199"),
        ({"start": date(1, 1, 1)}, "years 1970 to 2199"),
        ({"start": date(2190, 1, 1), "end": date(2190, 1, 31)}, "still to come"),
        ({"format": "docx"}, "pdf, xlsx, csv, json"),
        ({"currency": "euro"}, "'euro' is neither a currency"),
        ({"locale": "xx_YY"}, "The locale 'xx_YY'"),
        ({"page_size": "A3"}, "A4 or letter"),
        ({"sections": ["x" * 10_000]}, "There is no section 'x{59}\\.\\.\\.: choose"),
        ({"sections": ["revenue", "companies"]}, "companies is part of reports over all companies"),
        ({"company_id": ""}, "company's id"),
        ({"company_id": "x" * 100_000}, "company's id"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_choices(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(AnalyticsError, match=told):
        order(**wrong)


def test_different_orders_have_different_names() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"company_id": None},
        {"company_id": "all-companies"},
        {"company_id": "../acme"},
        {"company_id": samples.LONG_WORD[:200]},
        {"start": date(2026, 1, 2)},
        {"end": date(2026, 1, 30)},
        {"sections": ["revenue"]},
        {"sections": ["revenue", "users"]},
        {"sections": OF_COMPANY[1:]},
        {"currency": "USD"},
        {"locale": "de_DE"},
        {"page_size": "letter"},
        *({"format": form} for form in FORMATS[1:]),
    ]
    names = [order(**change).name(f".{change.get('format', 'pdf')}") for change in changes]

    assert len(set(names)) == len(changes)
    assert names[0] == "custom_report/2026-01-01_2026-01-31/companies/acme/all.eur.en_gb.a4.pdf"
    assert all(".." not in name and len(name) < 250 for name in names)


def test_names_of_monthly_documents() -> None:
    companies = (None, "all-companies", "acme", "Acme", "../acme", "a/cme", "", samples.LONG_WORD)
    names = {monthly_report_name(company, FIRST) for company in companies}

    assert len(names) == len(companies)
    assert "monthly_report/2026-01/all-companies.pdf" in names
    assert "monthly_report/2026-01/companies/acme.pdf" in names
    assert all(".." not in name and len(name) < 150 for name in names)
