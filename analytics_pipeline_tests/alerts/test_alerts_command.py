"""The commands of alerts answer with one clear line or a table, and try rules without telling anybody."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.alerts.alert_check import update_alerts
from analytics_pipeline.cli import main
from analytics_pipeline.metrics.tables import REVENUE_METRICS
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.alerts.figures_factory import close_revenue, start_of
from analytics_pipeline_tests.alerts.test_alert_check import RULES

PLAIN = RULES.replace('webhook = "ops"\n', "")


@pytest.fixture
def rules(tmp_path: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of rules that ANALYTICS_ALERT_RULES names, and a closed month in which they fire."""
    path = tmp_path / "alerts.toml"
    path.write_text(PLAIN, encoding="utf-8")
    monkeypatch.setenv("ANALYTICS_ALERT_RULES", str(path))
    get_settings.cache_clear()
    close_revenue(connection, "2026-01", {"acme": "80", "beta": "100"})
    yield path
    get_settings.cache_clear()


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["alerts", *arguments])


def test_rules_are_checked_loaded_listed_and_tried(rules: Path, connection: Connection) -> None:
    assert _call("list").output.startswith("No rules are in force")
    assert _call("check").output == f"{rules}: 1 rules, all of them right.\n"
    assert _call("load").output == f"{rules}: 1 added (low); 0 as before.\n"
    assert _call("load").output == f"{rules}: 1 as before.\n"
    tried = _call("test", "low").output
    assert "low: total_revenue below 100 EUR, month 2026-01" in tried
    for part in ("acme", "firing", "80.00 EUR", "beta", "ok"):
        assert part in tried
    assert connection.execute("SELECT count(*) FROM analytics_alerts").fetchone() == (0,)
    assert "No alert goes on." in _call("list").output
    update_alerts(connection, REVENUE_METRICS, Granularity.MONTH, start_of("2026-02"))
    listed = _call("list").output
    assert "ops@example.com" in listed
    assert "80.00 EUR" in listed


def test_everything_can_be_had_as_json(rules: Path, connection: Connection) -> None:
    checked = json.loads(_call("check", "--json").output)
    assert (checked["problems"], checked["rules"][0]["periods"]) == ([], "1 of 1")
    assert json.loads(_call("load", "--json").output)["added"] == ["low"]
    update_alerts(connection, REVENUE_METRICS, Granularity.MONTH, start_of("2026-02"))
    listed = json.loads(_call("list", "--json").output)
    (alert,) = listed["alerts"]
    assert (alert["rule"], alert["companyId"], alert["state"], alert["value"]) == ("low", "acme", "firing", "80.00")
    assert listed["rules"][0]["condition"] == "below 100 EUR"
    tried = json.loads(_call("test", "low", "--json").output)
    assert [(r["companyId"], r["state"], r["value"]) for r in tried["results"]] == [
        ("acme", "firing", "80.00"),
        ("beta", "ok", "100.00"),
    ]


def test_a_rule_can_be_tried_before_it_is_loaded(rules: Path, tmp_path: Path) -> None:
    draft = tmp_path / "draft.toml"
    draft.write_text(PLAIN.replace("100 EUR", "70 EUR").replace('"*"', '"beta"'), encoding="utf-8")
    assert json.loads(_call("test", "low", "--file", str(draft), "--json").output)["results"][0]["state"] == "ok"


def test_a_wrong_file_is_refused_and_changes_nothing(rules: Path) -> None:
    _call("load")
    rules.write_text(PLAIN.replace("100 EUR", "100 usd").replace('"low"', '"other"'), encoding="utf-8")
    for command in ("load", "check"):
        refused = _call(command)
        assert refused.exit_code == 1
        assert "rule 'other', value: '100 usd' doesn't fit total_revenue" in refused.output
    assert [rule["id"] for rule in json.loads(_call("list", "--json").output)["rules"]] == ["low"]
    assert json.loads(_call("check", "--json").output)["problems"]


def test_what_may_be_a_mistake_is_noted(rules: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(PLAIN.replace('"*"', '"acmee"'), encoding="utf-8")
    loaded = _call("load", str(other))
    assert loaded.exit_code == 0
    assert "no closed figures of a company 'acmee'" in loaded.stderr
    assert f"{rules} takes its place" in loaded.stderr


def test_what_is_not_there_is_said_in_one_line(
    rules: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _call("load")
    assert "There is no rule 'loww': did you mean low?" in _call("test", "loww").output
    connection.execute("TRUNCATE analytics_metric_periods")
    assert "No month of analytics_revenue_metrics is closed yet" in _call("test", "low").output
    monkeypatch.delenv("ANALYTICS_ALERT_RULES")
    get_settings.cache_clear()
    missing = _call("check")
    assert missing.exit_code == 1
    assert "There is no file of rules: name one, set ANALYTICS_ALERT_RULES, or write" in missing.output
