"""What Prometheus is told, and the rules by which it alarms people: each names what there is, and has a remedy."""

import re
import shutil
import subprocess
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from analytics_pipeline.operations.stats import read_stats
from analytics_pipeline.timescale.connection import fetch_row
from analytics_pipeline_tests.api.conftest import Served
from analytics_pipeline_tests.deploy.files import ROOT, read_text, read_yaml

FILE = "deploy/prometheus/analytics.rules.yml"
RULES: list[dict[str, Any]] = [rule for group in read_yaml(FILE)["groups"] for rule in group["rules"]]
NAMES = [rule["alert"] for rule in RULES]


@pytest.fixture(scope="module")
def measured(served: Served) -> dict[str, dict[tuple[str, ...], float]]:
    """The samples of a scrape, by name and values of their labels; names without a sample are there, too."""
    with served.database.connect(autocommit=True) as connection:
        connection.execute(
            """
            INSERT INTO analytics_check_results
            SELECT subject, 'equals_definitions', day, day + interval '1 day', passed, 'error', 'x', now() - age
            FROM (VALUES
                ('revenue_metrics', timestamptz '2026-03-01', true, interval '1 hour'),
                ('revenue_metrics', '2026-03-02', false, '0'),
                ('user_metrics', '2026-03-02', true, '0')
            ) AS r (subject, day, passed, age)
            """
        )
    text = served.client.get("/metrics", headers=served.headers("operator")).text
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        found[family.name] = {}
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.mark.slow
def test_what_is_exported_is_what_stats_shows(
    served: Served, measured: dict[str, dict[tuple[str, ...], float]]
) -> None:
    with served.database.connect(autocommit=True) as connection:
        stats = read_stats(connection)
    for row in stats["relations"]:
        # A vacuum may add a page in between.
        assert 0 < measured["analytics_relation_bytes"][row["relation"],] <= 2 * row["total_bytes"]
        assert measured["analytics_relation_chunks"][row["relation"],] == row["chunks"]
    for row in stats["partitions"]:
        for name in ("open", "failed"):
            assert measured[f"analytics_{name}_partitions"][row["asset"],] == row[name]
    stale = {row["asset"]: row["partitions"] for row in stats["stale"]}
    assert measured["analytics_stale_partitions"] == {
        (row["asset"],): stale.get(row["asset"], 0) for row in stats["partitions"]
    }
    for row in stats["lag"]:
        if row["lag"] is not None:
            assert measured["analytics_aggregate_lag_seconds"][row["aggregate"],] == row["lag"].total_seconds()
    assert measured["analytics_failed_checks"] == {
        ("equals_definitions of revenue_metrics",): 1,
        ("equals_definitions of user_metrics",): 0,
    }
    assert (
        measured["analytics_events_last_day"][()]
        == {row["period"]: row["events"] for row in stats["recent"]}["last day"]
    )


def test_what_has_changed_is_found_without_reading_what_has_not(served: Served) -> None:
    with served.database.connect() as connection:
        connection.execute(
            "INSERT INTO analytics_partitions (asset, window_start, window_end, closed_at) "
            "SELECT 'analytics_revenue_hourly', t, t + interval '1 hour', now() "
            "FROM generate_series('2000-01-01'::timestamptz, '2001-12-31', '1 hour') AS t"
        )
        connection.execute("ANALYZE analytics_partitions")
        count = "SELECT pg_stat_get_xact_tuples_returned('analytics_partitions'::regclass)"
        (before,) = fetch_row(connection, count)
        (stale,) = fetch_row(
            connection,
            "SELECT count(*) FROM analytics_stale_partitions('2026-01-01 00:00:00+00', '2026-04-01 00:00:00+00')",
        )
        (after,) = fetch_row(connection, count)
        connection.rollback()
    assert after - before < 5_000
    assert stale >= 0


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_rule_names_what_is_exported_and_has_the_form_that_prometheus_reads(
    measured: dict[str, dict[tuple[str, ...], float]], rule: dict[str, Any]
) -> None:
    named = re.findall(r"\banalytics_\w+", re.sub(r'"[^"]*"', "", rule["expr"]))
    assert named or rule["alert"] == "AnalyticsApiDown"
    assert [name for name in named if name not in measured] == []
    for opening, closing in ("()", "{}", "[]"):
        assert rule["expr"].count(opening) == rule["expr"].count(closing)
    assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"\d+[mhd]", rule["for"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    # Labels that a text names are there.
    texts = " ".join(rule["annotations"].values())
    labels = set(re.findall(r"\$labels\.(\w+)", texts)) - {"instance"}
    text = read_text("analytics_pipeline/api/operations_measured.py")
    assert all(re.search(rf'"{name}": \(.*"{label}"\)', text) for name in named for label in labels)


def test_every_alarm_has_cause_check_and_remedy_on_the_page_and_no_other_is_there() -> None:
    assert len(set(NAMES)) == len(NAMES)
    alarms = read_text("docs/operations.md").partition("## Alarms\n")[2].partition("\n## ")[0]
    described = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", alarms, re.MULTILINE | re.DOTALL))
    assert list(described) == NAMES
    for name, text in described.items():
        assert re.findall(r"^- \*\*(\w+)\*\*: .", text, re.MULTILINE) == ["Cause", "Check", "Remedy"], name
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_the_page_names_every_view(served: Served) -> None:
    table = read_text("docs/monitoring.md").partition("## What is measured\n")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`[^|]+)\|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    with served.database.connect() as connection:
        views = connection.execute(
            "SELECT viewname FROM pg_views WHERE viewname LIKE 'analytics\\_operations\\_%'"
        ).fetchall()
    assert named == {view.removeprefix("analytics_operations_") for (view,) in views}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool, of Prometheus, is not installed")
def test_promtool_accepts_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", str(ROOT / FILE)], check=True)
    subprocess.run(["promtool", "check", "config", str(ROOT / "deploy/prometheus/prometheus.yml")], check=True)
