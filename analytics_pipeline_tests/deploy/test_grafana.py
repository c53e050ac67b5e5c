"""deploy/grafana: dashboards that Grafana reads, whose every query runs as analytics_operator on a real database."""

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from analytics_pipeline.metrics.access import GROUPS
from analytics_pipeline.metrics.logins import make_login, plan_login
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.conftest import SERVER_URL, Database, migrated_database
from analytics_pipeline_tests.deploy.files import ROOT, read_text, read_yaml
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close, days
from analytics_pipeline_tests.metrics.subscription_changes import a_change, load

DASHBOARDS = {path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "deploy/grafana/dashboards").iterdir()}
PANELS = [(name, panel) for name, dashboard in DASHBOARDS.items() for panel in dashboard["panels"]]
NAMES = [f"{name}: {panel['title']}" for name, panel in PANELS]
SOURCE = {"type": "grafana-postgresql-datasource", "uid": "analytics"}
# Of Grafana's units those that are used here: bytes, seconds, percent of 100, instants, numbers.
UNITS = {"bytes", "s", "percent", "dateTimeAsIso", "short"}
ALL = object()
JANUARY = ("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z")


def test_there_is_a_dashboard_for_each_subject_and_all_are_provisioned() -> None:
    assert set(DASHBOARDS) == {"revenue", "users", "crypto", "operations"}
    (provider,) = read_yaml("deploy/grafana/provisioning/dashboards/analytics.yaml")["providers"]
    (source,) = read_yaml("deploy/grafana/provisioning/datasources/analytics.yaml")["datasources"]
    service = read_yaml("docker-compose.yml")["services"]["grafana"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in service["volumes"]
    assert "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro" in service["volumes"]
    assert {"type": source["type"], "uid": source["uid"]} == SOURCE
    assert source["secureJsonData"] == {"password": "$__file{/run/secrets/grafana_db_password}"}


def test_grafana_asks_for_a_log_in_whose_password_is_in_a_file() -> None:
    environment = read_yaml("docker-compose.yml")["services"]["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    passwords = {name: value for name, value in environment.items() if "PASSWORD" in name}
    assert passwords == {"GF_SECURITY_ADMIN_PASSWORD__FILE": "/run/secrets/grafana_admin_password"}


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_a_dashboard_has_the_form_that_grafana_reads(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert dashboard["uid"] == f"analytics-{name}"
    assert dashboard["schemaVersion"] == 39
    assert dashboard["timezone"] == "utc"
    for key in ("title", "description", "time", "refresh", "templating", "annotations", "tags"):
        assert key in dashboard
    assert [panel["id"] for panel in dashboard["panels"]] == list(range(1, len(dashboard["panels"]) + 1))
    assert len({panel["title"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    assert not [pair for pair in combinations(places, 2) if _overlap(*pair)]
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{(\w+)", json.dumps(dashboard["panels"])))
    assert used == variables
    if name != "operations":
        assert {"company", "period", "zone"} <= variables


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=NAMES)
def test_a_panel_says_what_it_shows_in_a_sensible_unit(name: str, panel: dict[str, Any]) -> None:
    assert panel["type"] in {"stat", "timeseries", "table", "bargauge"}
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"] == SOURCE
    (target,) = panel["targets"]
    assert target["datasource"] == SOURCE
    assert (target["refId"], target["rawQuery"]) == ("A", True)
    assert target["format"] == ("time_series" if panel["type"] == "timeseries" else "table")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["noValue"]
    levels = [defaults["thresholds"], *_overridden(panel, "thresholds")]
    for steps in (level["steps"] for level in levels):
        assert steps[0]["value"] is None
        assert [step["value"] for step in steps[1:]] == sorted(step["value"] for step in steps[1:])
    assert {defaults["unit"], *_overridden(panel, "unit")} <= UNITS


def _overridden(panel: dict[str, Any], key: str) -> list[Any]:
    return [
        found["value"]
        for override in panel["fieldConfig"]["overrides"]
        for found in override["properties"]
        if found["id"] == key
    ]


@pytest.fixture(scope="module")
def database(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with migrated_database(embedded_home, tmp_path_factory.mktemp("grafana")) as database:
        yield database


@pytest.fixture(scope="module")
def owner(database: Database) -> Iterator[Connection]:
    """A closed December and January of two companies, of which one has a quote in its name."""
    with database.connect(autocommit=True) as connection:
        load(connection, a_change("01-05"))
        (company,) = fetch_row(connection, "SELECT DISTINCT company_id FROM analytics_events")
        connection.execute(
            'INSERT INTO analytics_events SELECT gen_random_uuid(), "timestamp", ingested_at, %s, user_id, event_type, '
            "category, value, currency, metadata FROM analytics_events",
            ["O'Neill"],
        )
        for name in (company, "O'Neill"):
            add_event(connection, "2025-01-05T10:00", company_id=name, value="20.00")
            add_event(
                connection, "2025-01-06T10:00", "crypto.received", category="crypto", company_id=name, currency="BTC"
            )
        connection.execute(
            "INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source) "
            "VALUES ('2025-01-06', 'BTC', 'EUR', 90000, 'x')"
        )
        close(connection, days("2024-12-01", "2025-01-31"))
        yield connection


@pytest.fixture(scope="module")
def operator(owner: Connection, database: Database) -> Iterator[Connection]:
    """Somebody who may do what analytics_operator may, as the data source of Grafana does."""
    with ExitStack() as connections:
        if SERVER_URL is None:
            owner.execute("SET ROLE analytics_operator")
            yield owner
            owner.execute("RESET ROLE")
            return
        name = f"analytics_test_{uuid.uuid4().hex[:12]}"
        make_login(owner, plan_login(owner, "operator", name), None)
        connections.callback(owner.execute, sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))
        yield connections.enter_context(psycopg.connect(database.url, user=name, autocommit=True))


def _interpolated(query: str, variables: dict[str, Any], span: tuple[str, str] = JANUARY) -> str:
    """Put in variables and macros as Grafana does: the value of "All" as it is, others quoted."""
    start, end = (f"'{instant}'" for instant in span)

    def value(match: re.Match[str]) -> str:
        chosen = variables[match[1]]
        if chosen is ALL:
            return "NULL"
        return "'{}'".format(chosen.replace("'", "''"))

    query = re.sub(r"\$\{(\w+):sqlstring\}", value, query)
    query = re.sub(r"\$__timeFilter\(([\w.]+)\)", rf"\1 BETWEEN {start} AND {end}", query)
    query = query.replace("$__timeFrom()", start).replace("$__timeTo()", end)
    assert "$" not in query
    return query


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_the_variables_offer_what_there_is_and_all_companies(operator: Connection, name: str) -> None:
    for variable in DASHBOARDS[name]["templating"]["list"]:
        if variable["type"] == "custom":
            assert (
                [option["value"] for option in variable["options"]] == variable["query"].split(",") == ["month", "day"]
            )
            continue
        # The last column is the value; before it may stand what people read for it.
        offered = [row[-1] for row in operator.execute(variable["query"]).fetchall()]
        if variable["name"] == "zone":
            assert offered[:2] == ["own", "UTC"]
            assert "Asia/Tokyo" in offered
            continue
        assert offered == {"currency": ["EUR"]}.get(variable["name"], sorted(offered))
        assert (variable.get("allValue") == "NULL") == variable["includeAll"] == (variable["name"] == "company")
        if variable["name"] == "company":
            assert "O'Neill" in offered


@pytest.mark.parametrize("company", [ALL, "O'Neill"], ids=["all", "one"])
@pytest.mark.parametrize(("name", "panel"), PANELS, ids=NAMES)
def test_every_panel_s_query_runs_as_the_operator(
    operator: Connection, name: str, panel: dict[str, Any], company: Any
) -> None:
    for period, zone in (("month", "own"), ("day", "own"), ("day", "Asia/Tokyo")):
        query = panel["targets"][0]["rawSql"]
        if period == "day" and "${period" not in query:
            continue
        chosen = {"company": company, "currency": "EUR", "period": period, "zone": zone}
        cursor = operator.execute(_interpolated(query, chosen))
        rows = cursor.fetchall()
        columns = [column.name for column in cursor.description or ()]
        if panel["type"] == "timeseries":
            assert columns[0] == "time"
            assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        # What has no rows here: nothing was rejected, sent or checked.
        if name != "operations":
            assert rows, query
        named = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        assert named <= {*columns}


def test_the_panels_show_what_the_figures_are(operator: Connection) -> None:
    def shown(dashboard: str, title: str, company: Any) -> Any:
        (query,) = (
            panel["targets"][0]["rawSql"] for panel in DASHBOARDS[dashboard]["panels"] if panel["title"] == title
        )
        variables = {"company": company, "currency": "EUR", "period": "month", "zone": "own"}
        return operator.execute(_interpolated(query, variables)).fetchall()[0][1]

    query = (
        "SELECT company_id, total_revenue FROM analytics_revenue_metrics "
        "WHERE company_id IS NOT NULL AND granularity = 'month'"
    )
    stored: dict[str, Any] = dict(operator.execute(query).fetchall())
    assert shown("revenue", "Revenue (${currency})", "O'Neill") == stored["O'Neill"] == 20
    assert shown("revenue", "Revenue (${currency})", ALL) == sum(stored.values())
    (users,) = fetch_row(
        operator,
        "SELECT total_users FROM analytics_user_metrics "
        "WHERE company_id IS NOT NULL AND granularity = 'month' AND company_id = %s",
        ["O'Neill"],
    )
    assert shown("users", "Users", "O'Neill") == users > 0
    received = (
        "SELECT c.received_value FROM analytics_crypto_shown(%s, 'month', '2025-01-01', '2025-02-01', 'EUR') AS c"
    )
    assert operator.execute(received, ["O'Neill"]).fetchall() == [(900000,)]
    in_tokyo = (
        "SELECT c.period_start, c.received FROM "
        "analytics_crypto_shown(%s, 'day', '2025-01-01', '2025-02-01', 'EUR', 'Asia/Tokyo') AS c"
    )
    assert operator.execute(in_tokyo, ["O'Neill"]).fetchall() == [(datetime(2025, 1, 5, 15, tzinfo=UTC), 10)]


def test_the_panels_show_the_days_and_months_of_another_time_zone(operator: Connection) -> None:
    """Of an island where 10:00 in UTC is midnight: what was paid on the 5th at ten is of its 6th."""
    span = ("2024-12-31T00:00:00Z", "2025-02-01T00:00:00Z")

    def shown(dashboard: str, title: str, company: Any, period: str, zone: str) -> list[tuple[Any, ...]]:
        (query,) = (
            panel["targets"][0]["rawSql"] for panel in DASHBOARDS[dashboard]["panels"] if panel["title"] == title
        )
        variables = {"company": company, "currency": "EUR", "period": period, "zone": zone}
        return operator.execute(_interpolated(query, variables, span)).fetchall()

    island = "Pacific/Kiritimati"
    for company, paid in (("O'Neill", 20), (ALL, 40)):
        days = shown("revenue", "Revenue, invoices and refunds (${currency})", company, "day", island)
        assert [row[:2] for row in days if row[1]] == [(datetime(2025, 1, 5, 10, tzinfo=UTC), paid)]
        months = shown("revenue", "Revenue, invoices and refunds (${currency})", company, "month", island)
        # February has begun there, and is not closed; of December nothing is.
        assert [row[:2] for row in months] == [(datetime(2024, 12, 31, 10, tzinfo=UTC), paid)]
    dollars = operator.execute(
        "SELECT s.total_revenue, s.mrr "
        "FROM analytics_revenue_shown(NULL, 'month', '2024-12-31', '2025-02-01', 'USD', %s) AS s",
        [island],
    ).fetchall()
    assert dollars == [(None, None)], "without a rate there is no amount, and not none"
    new = [row[:2] for row in shown("users", "New and churned users", "O'Neill", "day", island) if row[1]]
    # The subscription's change, earlier on the 5th in UTC, is the user's first event.
    assert new == [(datetime(2025, 1, 4, 10, tzinfo=UTC), 1)]
    (moved,) = (row for row in shown("revenue", "MRR movements (${currency})", "O'Neill", "day", island) if row[1])
    (stored,) = (row for row in shown("revenue", "MRR movements (${currency})", "O'Neill", "day", "own") if row[1])
    assert moved[1:] == stored[1:]
    for dashboard, title in (("revenue", "Companies (${currency})"), ("users", "Companies")):
        side_by_side = shown(dashboard, title, ALL, "month", island)
        assert [row[1:] for row in sorted(side_by_side)] == [
            (datetime(2024, 12, 31, 10, tzinfo=UTC), *row[2:])
            for row in sorted(shown(dashboard, title, ALL, "month", "own"))
        ]


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has no log-ins of its own")
def test_a_new_server_has_the_roles_and_grafana_s_login_that_the_command_makes(owner: Connection) -> None:
    script = read_text("deploy/timescaledb/010_owner.sql")
    assert set(re.findall(r"^CREATE ROLE (analytics_\w+);$", script, re.MULTILINE)) == set(GROUPS)
    name = owner.info.dbname
    made = script.partition("access login operator grafana")[2].partition("\n")[2]
    statements = [
        re.sub(r'"', "", statement.as_string()).replace(name, "analytics") + ";"
        for statement in plan_login(owner, "operator", "grafana").statements
    ]
    written = [line for line in made.splitlines() if line and not line.startswith("\\")]
    assert [line.replace(" PASSWORD :'password'", "") for line in written] == statements
