"""The command writes what was asked for, with the figures of the metrics commands."""

import json
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.reports.script_fonts import describe_altered
from analytics_pipeline.timescale.connection import Connection

JANUARY = ("--start", "2026-01-01", "--end", "2026-01-31")


pytestmark = pytest.mark.usefixtures("ledger")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def rows(sections: dict[str, Any], section: str, table: str) -> dict[str, Any]:
    return {row["name"]: row for row in sections[section][table]}


@pytest.mark.parametrize("audience", [(), ("--company", "acme")])
@pytest.mark.slow
def test_the_figures_are_those_of_the_metrics_commands(audience: tuple[str, ...], tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    written = call("report", *audience, *JANUARY, "--format", "json", "--output", str(target))
    assert written.exit_code == 0, written.output
    sections = json.loads(target.read_text())["sections"]
    revenue = json.loads(call("metrics", "revenue", *audience, *JANUARY, "--json").stdout)
    users = json.loads(call("metrics", "users", *audience, *JANUARY, "--json").stdout)

    of_period = rows(sections, "revenue", "revenue") | rows(sections, "mrr", "mrr") | rows(sections, "users", "users")
    for field in ("totalRevenue", "invoiced", "refunds", "averageRevenuePerUser", "mrr", "arr", "arpa"):
        assert of_period[field]["value"] == revenue[field]
    for field in ("totalUsers", "activeUsers", "newUsers", "churnedUsers"):
        assert of_period[field]["value"] == users[field]
    assert of_period["payingCustomers"]["value"] == revenue["payingCustomers"]
    assert of_period["totalRevenue"]["changePercent"] == revenue["revenueGrowth"]
    assert {row["name"]: row["amount"] for row in sections["mrr"]["mrrMovements"]} == revenue["mrrMovements"]
    assert sections["revenue"]["revenueByMonth"][-1]["totalRevenue"] == revenue["totalRevenue"]


@pytest.mark.slow
def test_a_month_is_a_short_way_to_its_days() -> None:
    short, long = (
        json.loads(call("report", "--company", "acme", *period, "--sections", "headline", "--json").stdout)
        for period in (("--month", "2026-01"), JANUARY)
    )

    assert short == long
    assert short["path"].endswith("custom_report/2026-01-01_2026-01-31/companies/acme/headline.eur.en_gb.a4.pdf")
    assert (short["pages"], short["figures"][0]["label"]) == (1, "Total revenue, EUR")


def test_without_days_it_is_the_last_finished_month() -> None:
    document = json.loads(call("report", "--sections", "headline", "--format", "json", "--json").stdout)
    report = json.loads(Path(document["path"]).read_text())
    today = datetime.now(UTC).date()

    assert report["endDate"] < f"{today}"
    assert report["startDate"].endswith("-01")
    assert not report["provisional"]


@pytest.mark.parametrize("form", ["pdf", "xlsx", "csv", "json"])
@pytest.mark.slow
def test_every_format_is_written_and_described(form: str) -> None:
    written = call("report", *JANUARY, "--company", "globex", "--sections", "crypto", "--format", form)
    path, described = written.stdout.splitlines()[:2]

    assert Path(path).suffix == f".{form}"
    assert f"{Path(path).stat().st_size:,} bytes, SHA-256 " in described


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--sections", "revenue,nope"), "There is no section 'nope'"),
        (("--start", "2026-01-01"), "Give both --start and --end"),
        (("--month", "2026-01", *JANUARY), "Give either --month"),
        (("--start", "2026-02-01", "--end", "2026-01-01"), "the other way round"),
        (("--locale", "xx"), "The locale 'xx'"),
        (("--output", "/nowhere/at/all.pdf"), "Can't write /nowhere/at/all.pdf"),
    ],
)
@pytest.mark.slow
def test_bad_input_is_one_line(arguments: tuple[str, ...], told: str) -> None:
    result = call("report", *arguments)

    assert result.exit_code == (1 if "--output" in arguments else 2)
    assert told in result.output
    assert len(result.output.splitlines()) == 1


def test_a_locale_that_sql_stored_is_named_with_its_company_and_the_remedy(
    connection: Connection,
) -> None:
    connection.execute(
        "INSERT INTO analytics_companies (company_id, name, locale) VALUES ('qq & co', 'Quick', 'de-DE')"
    )
    try:
        asked = ("report", *JANUARY, "--company", "qq & co", "--allow-unknown", "--sections", "headline", "--json")
        refused = call(*asked)
        assert refused.exit_code == 2
        assert refused.output == (
            "Error: The locale 'de-DE' of the company Quick (qq & co) is not known; give it one such as en_GB or "
            "de_CH: analytics-pipeline companies set 'qq & co' --locale LOCALE\n"
        )
        command = shlex.split(refused.output.partition(": analytics-pipeline ")[2].replace("LOCALE", "de_DE"))
        assert call(*command, "--allow-unknown").exit_code == 0
        assert call(*asked).exit_code == 0
    finally:
        connection.execute("DELETE FROM analytics_companies WHERE company_id = 'qq & co'")


def test_characters_that_cannot_be_shown_are_reported(tmp_path: Path) -> None:
    # No font is known for hieroglyphs.
    result = call(
        "report",
        *(*JANUARY, "--company", "\U00013000\U00013001", "--allow-unknown"),
        *("--sections", "headline", "--output", str(tmp_path / "r.pdf")),
    )

    assert f"Characters the font lacks, shown as a mark: {describe_altered(['U+13000', 'U+13001'])}" in result.stdout
