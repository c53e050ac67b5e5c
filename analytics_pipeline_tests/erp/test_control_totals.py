"""What is recorded of a month is held against the ERP's own rows, or a provider's totals, to the last digit."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.database import connect
from analytics_pipeline.erp.rows import event_id_of
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.erp.example import ExampleErp, invoice
from analytics_pipeline_tests.erp.reading import query, read
from analytics_pipeline_tests.events_factory import add_event

pytestmark = pytest.mark.slow


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["reconcile", *arguments])


def against_invoices(month: str = "2025-01") -> tuple[int, dict[str, Any]]:
    result = call("--source", "invoices", "--month", month, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_a_month_that_equals_the_erp_is_confirmed_exactly(erp: ExampleErp) -> None:
    # 0.1 + 0.2 is 0.3, and the last instant of the month in UTC is in it.
    erp.execute(
        invoice("A-1", "0.1"),
        invoice("A-2", "0.2"),
        invoice("A-3", "5", issued="2025-01-31T23:59:59.999999Z"),
        invoice("A-4", "7", issued="2025-02-01T00:00Z"),
        invoice("A-5", "9", currency="USD"),
    )
    read()
    assert against_invoices() == (
        0,
        {"month": "2025-01", "against": "invoices", "eventTypes": ["invoice.created"], "totals": 3, "differences": []},
    )
    printed = call("--source", "invoices", "--month", "2025-01").stdout.splitlines()
    assert printed[0].endswith("against invoices: 3 totals per company, day and currency, 0 differ")
    assert "    EUR: 3 of 5.3 recorded, 3 of 5.3 there" in printed
    assert against_invoices("2025-03")[0] == 0


def test_what_differs_is_named_by_event_and_row(erp: ExampleErp) -> None:
    erp.execute(*(invoice(f"A-{number}", "100.00", issued=f"2025-01-0{number}T10:00Z") for number in range(1, 7)))
    read()
    erp.execute(
        # Changed, moved to another day, deleted; not read yet; and one that is no event.
        "UPDATE erp.invoices SET net_amount = 100.01 WHERE id = 1",
        "UPDATE erp.invoices SET issued_at = '2025-01-12T10:00Z' WHERE id = 2",
        "DELETE FROM erp.invoices WHERE id = 3",
        invoice("A-7", issued="2025-01-07T10:00Z"),
        invoice("A-8", issued="2025-01-08T10:00Z", currency="Euro"),
    )
    with connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T11:00", "invoice.created", category="billing", value="3")
        ((extra,),) = connection.execute("SELECT event_id FROM analytics_events WHERE value = 3").fetchall()
    status, found = against_invoices()
    assert status == 3
    differing = {
        (row["day"][-2:], row["currency"]): (row["expected"], row["recorded"], row["events"])
        for row in found["differences"]
    }

    def total(count: int, amount: str) -> dict[str, Any]:
        return {"count": count, "sum": amount}

    def event(number: int, text: str) -> dict[str, Any]:
        key = f"invoice {number}"
        return {"eventId": str(event_id_of("invoices", key)), "sourceKey": key, "difference": text}

    where = "EUR on 2025-01-01 for acme"
    assert differing[("01", "EUR")] == (
        total(1, "100.01"),
        total(1, "100.00"),
        [
            event(1, f"is recorded with 100.00 {where}, and the row says 100.01 {where}"),
        ],
    )
    moved = "is recorded with 100.00 EUR on 2025-01-02 for acme, and the row says 100.00 EUR on 2025-01-12 for acme"
    assert differing[("02", "EUR")][2] == differing[("12", "EUR")][2] == [event(2, moved)]
    (gone,) = differing[("03", "EUR")][2]
    assert (gone["eventId"], gone["sourceKey"]) == (event(3, "")["eventId"], None)
    assert gone["difference"] == "is recorded, and no row of the source"
    assert differing[("05", "EUR")] == (
        total(1, "100.00"),
        total(2, "103.00"),
        [{"eventId": str(extra), "sourceKey": None, "difference": "is recorded, and no row of the source"}],
    )
    assert differing[("07", "EUR")][2] == [event(7, "is not recorded on this day")]
    assert differing[("08", "Euro")][0] == total(1, "100.00")
    assert differing[("08", "Euro")][2][0]["difference"].startswith("is no event: currency 'Euro' is")
    assert len(differing) == 7
    printed = call("--source", "invoices", "--month", "2025-01")
    assert printed.exit_code == 3
    assert f"    event {extra} is recorded, and no row of the source" in printed.stdout


def test_events_of_a_type_of_which_the_month_has_no_row_are_found(erp: ExampleErp) -> None:
    erp.execute(
        invoice("A-1"),
        "INSERT INTO erp.credit_notes (invoice_id, number, net_amount, tax_amount, issued_at) "
        "VALUES (1, 'C-1', 5, 1, '2025-02-03T10:00Z')",
    )
    read()
    with connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T11:00", "invoice.credited", category="billing", value="-4")
    status, found = against_invoices()
    assert (status, found["eventTypes"]) == (3, ["invoice.created", "invoice.credited"])
    (row,) = found["differences"]
    assert (row["expected"]["sum"], row["recorded"]["sum"], len(row["events"])) == ("100.00", "96.00", 1)


def test_a_renamed_company_is_compared_under_its_present_name(erp: ExampleErp) -> None:
    erp.execute(invoice("A-1"))
    read()
    query("INSERT INTO analytics_id_aliases (company_id, present) VALUES ('acme', 'acme ltd') RETURNING 1")
    query("UPDATE analytics_events SET company_id = 'acme ltd' RETURNING 1")
    assert against_invoices()[0] == 0


def test_a_provider_s_totals_are_compared_for_the_companies_they_name(database: Database, tmp_path: Path) -> None:
    with connect(autocommit=True) as connection:
        for company, day, value, kind in (
            ("acme", "2026-03-05", "10.10", "payment.received"),
            ("acme", "2026-03-05", "-0.1", "payment.refunded"),
            ("acme", "2026-03-06", "7", "payment.received"),
            ("zeta", "2026-03-05", "5", "payment.received"),
        ):
            add_event(connection, f"{day}T23:59", kind, company_id=company, value=value)
    file = tmp_path / "provider.csv"
    file.write_text("company,day,currency,count,sum\nacme,2026-03-05,EUR,2,10.00\nacme,2026-03-06,EUR,1,7\n")
    arguments = ["--totals", str(file), "--month", "2026-03"]
    assert call(*arguments).exit_code == 0
    file.write_text("day,company,sum,count,currency,note\n2026-03-05,acme,10.01,2,EUR,x\n2026-03-07,acme,3,1,USD,\n")
    result = call(*arguments, "--json")
    assert result.exit_code == 3
    assert [
        (row["companyId"], row["day"], row["currency"], row["expected"]["sum"], row["recorded"]["sum"], row["events"])
        for row in json.loads(result.stdout)["differences"]
    ] == [
        ("acme", "2026-03-05", "EUR", "10.01", "10.00", None),
        ("acme", "2026-03-06", "EUR", "0", "7", None),
        ("acme", "2026-03-07", "USD", "3", "0", None),
    ]
    assert "acme 2026-03-05 EUR: 2 of 10.00 recorded, 2 of 10.01 there" in call(*arguments).stdout
    file.write_text("company,day,currency,count,sum\nacme,2026-03-05,EUR,1,10.1\nacme,2026-03-06,EUR,1,7\n")
    assert call(*arguments, "--event-type", "payment.received").exit_code == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("acme,2026-03-05,EUR,1", "line 2: sum '' is not a number"),
        ("acme,2026-03-05,EUR,1.5,3", "line 2: the count '1.5' is no whole number"),
        (f"acme,2026-03-05,EUR,{'9' * 5_000},3", "is no whole number"),
        ('acme,2026-03-05,EUR,1,"3,00"', "line 2: the sum '3,00' has a comma: write it like 1523.40"),
        ("acme,2026-03-05,EUR,1,3,00", "line 2 has more values than the first line: write a sum like 1523.40"),
        ("", "has no totals below its first line"),
        ("acme,5.3.2026,EUR,1,3", "line 2: the day '5.3.2026' is none: write it like 2026-10-31"),
        ("acme,2026-04-01,EUR,1,3", "line 2: 2026-04-01 is not in 2026-03"),
        (",2026-03-05,EUR,1,3", "line 2: the company is empty"),
        ("acme,2026-03-05,EUR,1,3\nacme,2026-03-05,EUR,1,4", "line 3: company, day and currency are those of line 2"),
    ],
)
def test_a_file_that_is_no_list_of_totals_is_one_line(
    database: Database, tmp_path: Path, line: str, words: str
) -> None:
    file = tmp_path / "provider.csv"
    file.write_text(f"company,day,currency,count,sum\n{line}\n")
    result = call("--totals", str(file), "--month", "2026-03")
    assert result.exit_code == 1
    assert words in result.output
    assert result.output.count("\n") == 1


def test_what_can_t_be_compared_is_one_line(erp: ExampleErp, tmp_path: Path) -> None:
    file = tmp_path / "provider.csv"
    file.write_text("company,day\n")
    for arguments, words, status in (
        (["--month", "2025-01"], "either --source NAME or --totals FILE", 2),
        (["--source", "invoices", "--month", "January"], "'January' is no month", 2),
        (["--source", "bills", "--month", "2025-01"], "There is no source 'bills'", 2),
        (["--totals", str(file), "--month", "2025-01"], "has no column currency", 1),
        (["--source", "invoices", "--month", "2025-01", "--event-type", "x"], "--event-type belongs to --totals", 2),
    ):
        result = call(*arguments)
        assert result.exit_code == status, result.output
        assert words in result.output
    query("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-06-01Z') RETURNING 1")
    assert "Raw events before 2025-06-01 have expired" in call("--source", "invoices", "--month", "2025-01").output
