"""``companies set | list | remove | import``: what is kept, in which spelling, and what is rejected in which words."""

import json
from datetime import date
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.companies.calendar import Calendar, all_calendars, calendar_in, calendar_of
from analytics_pipeline.companies.company_store import CompanyRow, list_companies
from analytics_pipeline.companies.known import is_known_company, listed_companies
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

JANUARY = Window.of_month(date(2025, 1, 1))
FILE = """company_id;name;time_zone;currency;locale;is_test
acme;"Acme; Söhne GmbH";europe/berlin;eur;de-de;
kiwi;Kiwi\u200bCo  Ltd;Pacific/Auckland;NZD;en_NZ;no
sandbox;;;;;yes
berlin;Berlin;Europe/Berln;;;
acme;Again;;;;
coin;;;NOCOIN;;
;Nobody;;;;
"""


def _companies(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["companies", *arguments])


def _rows(database: Database) -> dict[str, CompanyRow]:
    with database.connect(autocommit=True) as connection:
        return {row.company_id: row for row in list_companies(connection)}


def test_a_file_is_imported_in_one_spelling_and_its_bad_lines_are_kept_with_their_reasons(
    database: Database, tmp_path: Path
) -> None:
    path, kept = tmp_path / "companies.csv", tmp_path / "kept.jsonl"
    path.write_text(FILE, encoding="utf-8")
    result = _companies("import", str(path), "--rejects", str(kept), "--json")
    assert result.exit_code == 3, result.output
    summary = json.loads(result.stdout)
    assert (summary["read"], summary["new"], summary["rejected"]) == (7, 3, 4)
    rows = _rows(database)
    assert rows["acme"].name == "Acme; Söhne GmbH"
    assert (rows["acme"].time_zone, rows["acme"].currency, rows["acme"].locale) == ("Europe/Berlin", "EUR", "de_DE")
    assert (rows["kiwi"].name, rows["kiwi"].is_test) == ("Kiwi Co Ltd", False)
    assert (rows["sandbox"].name, rows["sandbox"].time_zone, rows["sandbox"].is_test) == (None, None, True)
    reasons = {reject["line"]: reject["reason"] for reject in map(json.loads, kept.read_text().splitlines())}
    assert list(reasons) == [5, 6, 7, 8]
    assert reasons[5] == "time_zone 'Europe/Berln' is not known: give a name such as Europe/Berlin."
    for line, said in ((6, "stands in line 2"), (7, "NOCOIN"), (8, "company_id is missing: every company has one")):
        assert said in reasons[line]
    with database.connect(autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM analytics_ingest_rejects").fetchone() == (4,)
    again = json.loads(_companies("import", str(path), "--rejects", str(kept), "--json").stdout)
    assert (again["new"], again["changed"], again["unchanged"]) == (0, 0, 3)


def test_what_is_set_stays_until_it_is_removed_and_every_act_is_in_the_audit_table(database: Database) -> None:
    assert _companies("set", "acme", "--name", "Acme").exit_code == 2
    set_ = _companies("set", "acme", "--name", " Acme\x1b  Ltd ", "--time-zone", "america/new_york", "--allow-unknown")
    assert (set_.exit_code, set_.stdout) == (0, "acme: name 'Acme Ltd', time_zone 'America/New_York'.\n")
    assert _companies("set", "acme", "--currency", "usd", "--test").exit_code == 0
    listed = json.loads(_companies("list", "--json").stdout)
    assert listed["platform"] == {"timeZone": "UTC", "currency": "EUR", "locale": "en_GB"}
    (row,) = listed["companies"]
    del row["changedAt"]
    assert row == {
        "companyId": "acme",
        "name": "Acme Ltd",
        "timeZone": "America/New_York",
        "currency": "USD",
        "locale": None,
        "isTest": True,
        "byHand": ["currency", "is_test", "name", "time_zone"],
    }
    assert _companies("set", "acme", "--time-zone", "").exit_code == 0
    assert _rows(database)["acme"].time_zone is None
    assert "Acme Ltd*" in _companies("list").stdout
    assert _companies("remove", "acme").exit_code == 0
    assert _companies("remove", "acme").exit_code == 2
    with database.connect(autocommit=True) as connection:
        acts = connection.execute("SELECT act, subject FROM analytics_audit ORDER BY audit_id").fetchall()
    assert acts == [*[("company.set", "acme")] * 3, ("company.remove", "acme")]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--time-zone", "Europe/Berlin2", "time_zone 'Europe/Berlin2' is not known"),
        ("--currency", "EURO and more", "currency 'EURO and more' is neither a currency"),
        ("--locale", "xx", "locale 'xx' is not known"),
        ("--name", "\u200b", "name '\\u200b' holds nothing that can be seen"),
    ],
)
def test_a_value_that_can_not_be_is_one_line_that_names_it(
    database: Database, option: str, value: str, said: str
) -> None:
    result = _companies("set", "acme", option, value, "--allow-unknown")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_a_row_leaves_open_is_as_the_platform_has_it(database: Database, environment: pytest.MonkeyPatch) -> None:
    platform = Settings(time_zone="Asia/Kathmandu", base_currency="NPR", locale="ne")
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO analytics_companies (company_id, name, time_zone) VALUES ('kiwi', 'Kiwi', 'Pacific/Auckland')"
        )
        kiwi = calendar_of(connection, platform, "kiwi")
        assert kiwi == Calendar("kiwi", "Kiwi", "Pacific/Auckland", "NPR", "ne")
        assert calendar_of(connection, platform, "x") == Calendar("x", "x", "Asia/Kathmandu", "NPR", "ne")
        assert calendar_of(connection, platform, None).time_zone == "Asia/Kathmandu"
        calendars = all_calendars(connection, platform)
        assert [calendar_in(calendars, key) for key in ("kiwi", "x")] == [kiwi, calendar_of(connection, platform, "x")]
        with pytest.raises(AnalyticsError, match="ANALYTICS_TIME_ZONE: the database knows no time zone 'Europe/Berln'"):
            calendar_of(connection, Settings(time_zone="Europe/Berln"), None)
        # PostgreSQL would read it as an offset.
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="'Europe/Berlin2' is no time zone"):
            connection.execute("UPDATE analytics_companies SET time_zone = 'Europe/Berlin2'")


def test_a_company_with_a_row_is_known_without_an_event(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-01T12:00", company_id="acme")
        assert not is_known_company(connection, "kiwi")
        connection.execute("INSERT INTO analytics_companies (company_id) VALUES ('kiwi')")
        assert is_known_company(connection, "kiwi")
        assert listed_companies(connection, JANUARY) == ["acme", "kiwi"]
