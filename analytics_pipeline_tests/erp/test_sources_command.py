"""The commands show and do what a person needs who connects an ERP."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.erp.conftest import use_erp
from analytics_pipeline_tests.erp.example import ExampleErp, invoice
from analytics_pipeline_tests.erp.reading import query, recorded, rejected


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sources", *arguments])


def _listed(name: str = "invoices") -> dict[str, Any]:
    (row,) = [row for row in json.loads(_call("list", "--json").stdout) if row["source"] == name]
    return dict(row)


def test_every_command_has_help() -> None:
    for command in ("list", "check", "run", "rejects", "accept", "reset"):
        assert "Usage:" in _call(command, "--help").stdout


def test_sources_are_listed_without_an_erp(database: Database) -> None:
    assert _listed()["lagSeconds"] is None
    assert "without tax, credit negative.\n    never read to the end" in _call("list").stdout
    for command in ("run", "check"):
        result = _call(command)
        assert result.exit_code == 1
        assert "ANALYTICS_ERP_URL is not set" in result.output


def test_run_records_everything_and_shows_rejects_by_its_status(erp: ExampleErp) -> None:
    erp.execute(invoice("A-1"))
    first = _call("run", "--json")
    assert first.exit_code == 0
    assert {row["source"]: row["new"] for row in json.loads(first.stdout)} == {
        "companies": 1,
        "crypto_transactions": 0,
        "invoices": 1,
        "logins": 1,
        "payments": 0,
        "subscription_changes": 0,
    }
    erp.execute(invoice("A-2", currency="Euro"))
    again = _call("run", "invoices")
    assert again.exit_code == 3
    assert "invoices: 2 read, 0 new, 1 already there, 1 rejected: currency of the wrong form (1)" in again.output
    row = _listed()
    assert (row["recorded"], row["openRejects"], row["lastError"], row["failures"]) == (1, 1, None, 0)
    assert row["lagSeconds"] < 600
    (reject,) = json.loads(_call("rejects", "invoices", "--json").stdout)
    assert (reject["key"], reject["row"]["currency"]) == ("invoice 2", "Euro")
    assert "1 rows are rejected." in _call("rejects").stdout
    assert json.loads(_call("rejects", "payments", "--json").stdout) == []


def test_a_source_that_fails_leaves_the_others_alone(erp: ExampleErp) -> None:
    erp.execute("DROP TABLE erp.crypto_transactions", invoice("A-1"))
    result = _call("run")
    assert result.exit_code == 1
    assert 'Error: crypto_transactions.sql: relation "erp.crypto_transactions" does not exist' in result.output
    assert len(recorded()) == 2
    assert "does not exist" in _listed("crypto_transactions")["lastError"]
    check = _call("check")
    assert check.exit_code == 1
    assert "invoices: good, 1 rows tried" in check.output
    assert "crypto_transactions: can't be read as it is" in check.output


@pytest.mark.slow
def test_a_changed_row_is_accepted_in_place_of_what_was_recorded(erp: ExampleErp) -> None:
    erp.execute(invoice("A-1"), invoice("A-2"))
    _call("run", "invoices")
    erp.execute("UPDATE erp.invoices SET issued_at = issued_at + interval '40 days', net_amount = 7 WHERE id = 1")
    assert _call("run", "invoices").exit_code == 3
    assert len(rejected()) == 1
    assert "has the key 'invoice 2'" in _call("accept", "invoices", "invoice 2").output
    assert "or --all" in _call("accept", "invoices").output
    assert _call("accept", "invoices", "invoice 1").output == "1 rows accepted.\n"
    assert recorded('value::text, "timestamp"::date::text') == [("100.00", "2025-01-05"), ("7", "2025-02-14")]
    assert rejected() == []
    assert _call("run", "invoices").exit_code == 0
    assert len(recorded()) == 2
    erp.execute(invoice("A-3", currency="Euro"))
    _call("run", "invoices")
    assert "can't be accepted, for it is no event: currency" in _call("accept", "invoices", "--all").output
    # What has expired stays as it is.
    erp.execute("UPDATE erp.invoices SET net_amount = 8 WHERE id = 1", "DELETE FROM erp.invoices WHERE id = 3")
    _call("run", "invoices")
    query("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-06-01Z') RETURNING 1")
    refused = _call("accept", "invoices", "invoice 1").output
    assert "invoice 1 can't be accepted: raw events before 2025-06-01 have expired" in refused
    assert ("7",) in recorded("value::text")


def test_reset_has_rows_read_again(erp: ExampleErp) -> None:
    erp.execute(invoice("A-1"))
    _call("run", "invoices")
    result = _call("reset", "invoices", "--since", "2025-01-01")
    assert result.output == "invoices is read again from 2025-01-01 00:00 UTC on, by the next run.\n"
    assert _listed()["cursor"] == "2025-01-01T00:00:00Z"
    (row,) = json.loads(_call("run", "invoices", "--json").stdout)
    assert (row["new"], row["alreadyThere"]) == (0, 1)
    assert _call("reset", "invoices", "--since", "2099-01-01").exit_code == 1


def test_an_unreachable_erp_is_one_line(database: Database, environment: pytest.MonkeyPatch) -> None:
    use_erp(environment, "postgresql://reader:hunter2@127.0.0.1:1/books")
    result = _call("run")
    assert result.exit_code == 1
    assert "Can't connect to the ERP's database at 127.0.0.1:1/books" in result.output
    assert "hunter2" not in result.output
    assert result.output.count("\n") == 1
