"""A company that nobody knows is an error wherever one is named, and no zeros, unless they are asked for."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.cli import main
from analytics_pipeline.companies.known import is_known_company
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

JANUARY = ("--start", "2025-01-01", "--end", "2025-01-31")
NOBODY = ("--company", "nobody")
ASKING = [
    *(("metrics", command, *JANUARY) for command in ("revenue", "movements", "users", "series", "top-events")),
    ("report", *JANUARY, "--sections", "headline"),
    ("recipients", "add", "cfo@example.com"),
    ("recipients", "remove", "cfo@example.com"),
    ("recipients", "list"),
    ("outbox", "list"),
    ("outbox", "resend", "--period", "2025-01"),
    ("outbox", "resend", "--outdated"),
    ("access", "grant", "analytics_reader"),
    ("access", "revoke", "analytics_reader"),
]


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_every_command_that_names_a_company_says_that_nobody_knows_it(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00", company_id="acme")
    for arguments in ASKING:
        _says_unknown(_call(*arguments, *NOBODY), "nobody")
    for name in ("ACME", "acme ", "acme\x1b[31m", ""):
        _says_unknown(_call(*ASKING[0], "--company", name), name)
    assert _call(*ASKING[0], "--company", "acme").exit_code == 0


def _says_unknown(result: Result, name: str) -> None:
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: No such company is known: {name!r}.")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_zeros_are_given_to_whoever_asks_for_them(database: Database, tmp_path: Path) -> None:
    revenue = _call("metrics", "revenue", *JANUARY, *NOBODY, "--allow-unknown", "--json")
    answer = json.loads(revenue.stdout)
    assert (revenue.exit_code, answer["totalRevenue"], answer["companyId"]) == (0, "0.00", "nobody")
    users = json.loads(_call("metrics", "users", *JANUARY, *NOBODY, "--allow-unknown", "--json").stdout)
    assert (users["totalUsers"], users["churnRate"]) == (0, None)
    output = str(tmp_path / "report.json")
    report = ("report", *JANUARY, *NOBODY, "--sections", "headline", "--format", "json", "--output", output)
    assert _call(*report).exit_code == 2
    assert not Path(output).exists()
    assert _call(*report, "--allow-unknown").exit_code == 0
    assert _call("recipients", "add", "cfo@example.com", *NOBODY, "--allow-unknown").exit_code == 0
    # Known or not, what is there can be shown and removed.
    assert _call("recipients", "list", *NOBODY).stdout == f"{MONTHLY_REPORT}  nobody  cfo@example.com\n"
    assert _call("recipients", "remove", "cfo@example.com", *NOBODY).exit_code == 0


@pytest.mark.parametrize("category", ["revenue", "user_activity"])
def test_a_company_whose_events_have_expired_is_known(database: Database, category: str) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00", "x.y", category=category, company_id="old")
        connection.execute(
            "CALL refresh_continuous_aggregate('analytics_event_volume_hourly', '2025-01-01Z', '2025-02-01Z')"
        )
        connection.execute("SELECT drop_chunks('analytics_events', older_than => '2025-03-01Z'::timestamptz)")
        assert [is_known_company(connection, name) for name in ("old", "new")] == [True, False]
