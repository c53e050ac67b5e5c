"""What can be ordered, and what is said of the rest."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic.alias_generators import to_camel

from analytics_pipeline.api.routes.reports import WantedReport
from analytics_pipeline.cli import main
from analytics_pipeline.companies.calendar import Calendar
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.reports.custom_reports import CustomReport
from analytics_pipeline.reports.catalogue import SECTION_NAMES, choose_sections
from analytics_pipeline.reports.choices import FORMATS
from analytics_pipeline.reports.monthly import monthly_report_name
from analytics_pipeline.reports.order import AcceptedOrder, ReportOrder
from analytics_pipeline.reports.requests import ReportRequest
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.reports import samples
from analytics_pipeline_tests.reports.calendars import EUROS

OF_COMPANY = tuple(name for name in SECTION_NAMES if name != "companies")
FIRST, LAST = date(2026, 1, 1), date(2026, 1, 31)


def order(**changes: Any) -> AcceptedOrder:
    return ReportOrder.of({"company_id": "acme", "start_date": FIRST, "end_date": LAST, **changes}).accept(EUROS)


def test_an_order_is_every_section_of_inclusive_days_as_pdf() -> None:
    plain = order()

    assert plain.window == Window.of_month(FIRST)
    assert (plain.sections, plain.format, plain.page_size) == (OF_COMPANY, "pdf", "A4")
    assert order(page_size="LETTER").page_size == "letter"


def of_launchpad(values: Mapping[str, Any]) -> ReportOrder:
    names = {"company_id": "company", "start_date": "start", "end_date": "end"}
    return CustomReport(**{names.get(field, field): value for field, value in values.items()}).order()


def of_api(values: Mapping[str, Any]) -> ReportOrder:
    return ReportOrder.of(dict(WantedReport.model_validate({to_camel(field): v for field, v in values.items()})))


def of_row(values: Mapping[str, Any]) -> ReportOrder:
    """A row of the table, whose columns have their defaults."""
    defaults: dict[str, Any] = {"sections": [], "format": "pdf", "currency": None, "locale": None, "page_size": "A4"}
    row = {"company_id": None, "start_date": None, "end_date": None, **defaults, **values}
    dates = {field: date.fromisoformat(row[field]) for field in ("start_date", "end_date")}
    return ReportRequest.of_row([1, *{**row, **dates}.values(), "requested", None]).order()


def of_command(values: Mapping[str, Any]) -> ReportOrder:
    """Give the command values that it refuses, before it has asked the database for anything."""
    names = {"company_id": "company", "start_date": "start", "end_date": "end", "page_size": "page-size"}
    options = [
        (f"--{names.get(field, field)}", ",".join(value) if field == "sections" else value)
        for field, value in values.items()
    ]
    result = CliRunner().invoke(main, ["report", *(word for option in options for word in option)])
    assert result.exit_code == 2, result.output
    raise AnalyticsError(result.output.strip())


def test_every_way_to_order_gives_the_same_order() -> None:
    for values in (
        {"start_date": "2026-01-01", "end_date": "2026-01-31"},
        {
            "company_id": "acme",
            "start_date": "2026-01-05",
            "end_date": "2026-01-11",
            "sections": ["users", "mrr"],
            "format": "xlsx",
            "currency": "USD",
            "locale": "de_CH",
            "page_size": "letter",
        },
    ):
        orders = [way(values) for way in (of_launchpad, of_api, of_row)]
        assert orders[0] == orders[1] == orders[2]
        accepted = orders[0].accept(EUROS)
        assert accepted.currency == values.get("currency", "EUR")
        assert accepted.page_size == ("letter" if "page_size" in values else "A4")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"sections": ["nope"]}, f"There is no section 'nope': choose from {', '.join(SECTION_NAMES)}."),
    ({"sections": ["companies"]}, "The section companies is part of reports over all companies: leave out the "),
    ({"format": "docx"}, "There is no format 'docx': choose one of pdf, xlsx, csv, json."),
    ({"currency": "euro"}, "'euro' is neither a currency"),
    ({"locale": "xx_YY"}, "The locale 'xx_YY' is not known; give one such as en_GB or de_CH."),
    ({"page_size": "A3"}, "The page size 'A3' is not known; use A4 or letter."),
    ({"company_id": "x" * 201}, "A company's id is not empty and has at most 200 characters."),
    ({"end_date": "2025-12-31"}, "The last day 2025-12-31 is before the first day 2026-01-01: give them the other "),
]
# What the launchpad offers as a list it refuses by itself, while it is typed.
LISTED = ({"sections": ["nope"]}, {"format": "docx"}, {"currency": "euro"}, {"page_size": "A3"})


@pytest.mark.parametrize("way", [of_command, of_launchpad, of_api, of_row])
def test_whoever_orders_what_cannot_be_made_is_told_the_same(way: Callable[[Mapping[str, Any]], ReportOrder]) -> None:
    for wrong, told in WRONG:
        values = {"company_id": "acme", "start_date": "2026-01-01", "end_date": "2026-01-31", **wrong}
        if way is of_launchpad and wrong in LISTED:
            continue
        with pytest.raises(AnalyticsError) as refused:
            way(values)
        assert told in str(refused.value)


def test_days_are_calendar_days_and_both_or_neither() -> None:
    for way in (of_launchpad, of_api):
        with pytest.raises(AnalyticsError, match="Give both the first and the last day, or neither of them"):
            way({"start_date": "2026-01-01"})
    for wrong in ("January", "2026-02-31", 5, datetime(2026, 1, 1, tzinfo=UTC)):
        with pytest.raises(AnalyticsError, match=r"^start_date: must be a calendar date like 2025-01-31, not .*[.]$"):
            ReportOrder.of({"start_date": wrong, "end_date": "2026-02-28"})


def test_without_days_it_is_the_last_finished_month() -> None:
    accepted = ReportOrder().accept(EUROS, date(2026, 3, 1))
    assert (accepted.window, accepted.currency) == (Window.of_month(date(2026, 2, 1)), "EUR")
    (fresh,) = {ReportOrder().accept(EUROS, date(2026, 3, day)).window for day in (1, 31)}
    assert fresh == accepted.window


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
        ({"end_date": date(2025, 12, 31)}, "the other way round"),
        ({"end_date": date(9999, 12, 31)}, "years 1970 to 2199"),
        ({"start_date": date(1, 1, 1)}, "years 1970 to 2199"),
        ({"start_date": date(2190, 1, 1), "end_date": date(2190, 1, 31)}, "still to come"),
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
        {"start_date": date(2026, 1, 2)},
        {"end_date": date(2026, 1, 30)},
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


@pytest.mark.parametrize("stored", ["de-DE", "qq"])
def test_a_locale_that_only_sql_can_store_counts_for_nobody_who_names_another(stored: str) -> None:
    calendar = Calendar("acme", "Acme GmbH", "UTC", "EUR", stored)
    with pytest.raises(AnalyticsError, match=rf"'{stored}' of the company Acme GmbH \(acme\) .* set acme --locale"):
        ReportOrder.of({"company_id": "acme"}).accept(calendar)
    assert ReportOrder.of({"company_id": "acme", "locale": "de_DE"}).accept(calendar).locale == "de_DE"
