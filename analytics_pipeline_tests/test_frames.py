"""Answers, series, closed figures and events as DataFrames: exact, with types that don't depend on the rows."""

import re
import runpy
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import pytest
from dagster import AssetKey, Definitions, materialize

from analytics_pipeline import frames
from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.metrics.answers import revenue_answer, series_answer, users_answer
from analytics_pipeline.metrics.tables import MRR_MOVEMENTS, REVENUE_METRICS, USER_METRICS
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import HorizonError
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import migrated_database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.metrics.closed_week import add_change
from analytics_pipeline_tests.metrics.closing import close, days

JANUARY = Window.of_month(date(2025, 1, 1))
HOW_TO = Path(__file__).parent.parent / "docs" / "frames.md"
# More digits than a float has.
EXACT = Decimal("1234567890.123456789012345678")


@pytest.fixture(scope="module")
def january(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A closed January, for all tests: two companies, one with an amount that no float holds."""
    folder = tmp_path_factory.mktemp("january")
    with migrated_database(embedded_home, folder) as database, database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-12T09:30", value=str(EXACT), user_id="u1")
        add_event(connection, "2025-01-12T10:30", value="40", company_id="beta", user_id="u9")
        add_event(connection, "2025-01-20T10:30", "user.login", category="user_activity", value=None, currency=None)
        add_event(connection, "2025-01-20T11:00", "crypto.sent", category="crypto", value="0.5", currency="BTC")
        add_change(connection, "01-10T09:00")
        close(connection, JANUARY)
        yield connection


def _every_frame(connection: Connection, window: Window, *, floats: bool = False) -> dict[str, pd.DataFrame]:
    return {
        "revenue": frames.revenue(connection, "acme", window, "EUR", floats=floats),
        "movements": frames.movements(connection, "acme", window, "EUR", floats=floats),
        "users": frames.users(connection, "acme", window, floats=floats),
        "crypto": frames.crypto(connection, "acme", window, "EUR", floats=floats),
        "series": frames.series(connection, "acme", window, Granularity.DAY, "EUR", floats=floats),
        "events": frames.events(connection, window, "acme", floats=floats),
        **{
            table.metric: frames.closed(connection, table, Granularity.DAY, window, "acme", floats=floats)
            for table in (REVENUE_METRICS, MRR_MOVEMENTS, USER_METRICS)
        },
    }


@pytest.mark.slow
def test_figures_are_exact_and_those_of_the_answers(january: Connection) -> None:
    revenue = frames.revenue(january, "acme", JANUARY, "EUR").iloc[0]
    assert revenue["total_revenue"] == EXACT
    assert round(revenue["total_revenue"], 2) == revenue_answer(january, "acme", JANUARY, "EUR")["totalRevenue"]
    assert (revenue["period_start"], revenue["period_end"]) == (JANUARY.start, JANUARY.end)
    assert (revenue["currency"], revenue["company_id"], revenue["provisional"]) == ("EUR", "acme", False)
    assert revenue["data_through"] == at("2025-01-20T11:00")
    assert pd.isna(revenue["revenue_growth"])
    users = frames.users(january, None, JANUARY).iloc[0]
    assert users["total_users"] == users_answer(january, None, JANUARY)["totalUsers"] == 2
    assert pd.isna(users["company_id"])
    crypto = frames.crypto(january, "acme", JANUARY, "EUR").iloc[0]
    assert (crypto["ticker"], crypto["sent"]) == ("BTC", Decimal("0.5"))
    assert pd.isna(crypto["sent_value"])


def test_a_series_by_the_hour_has_a_row_for_each_hour_with_its_revenue(january: Connection) -> None:
    hours = frames.series(january, None, days("2025-01-12"), Granularity.HOUR, "EUR").set_index("period_start")
    assert len(hours) == 24
    assert hours["total_revenue"].sum() == EXACT + 40
    assert hours.loc[at("2025-01-12T09:00"), "total_revenue"] == EXACT
    assert list(hours["active_users"])[8:12] == [0, 1, 1, 0]
    assert hours["period_end"].iloc[0] == at("2025-01-12T01:00")
    answered = series_answer(january, None, days("2025-01-12"), "EUR", Granularity.HOUR)["series"][10]
    assert (answered["start"], answered["totalRevenue"], answered["activeUsers"]) == ("2025-01-12T10:00Z", 40, 1)


def test_closed_figures_are_the_rows_of_the_table_and_events_those_of_the_window(january: Connection) -> None:
    stored = frames.closed(january, REVENUE_METRICS, Granularity.DAY, days("2025-01-12", "2025-01-13"))
    assert list(stored.columns) == list(REVENUE_METRICS.columns)
    assert list(zip(stored["company_id"], stored["total_revenue"], strict=True)) == [
        ("acme", EXACT),
        ("beta", 40),
        ("acme", 0),
        ("beta", 0),
    ]
    read = frames.events(january, Window(at("2025-01-12T09:30"), at("2025-01-20T11:00")), "acme")
    assert list(read["event_type"]) == ["payment.received", "user.login"]
    assert (read["value"][0], read["metadata"][0]) == (EXACT, {})
    assert read["value"][1] is None
    assert isinstance(read["event_id"][0], UUID)
    assert read["timestamp"][0] == at("2025-01-12T09:30")


@pytest.mark.slow
def test_a_column_has_one_type_with_rows_and_without(january: Connection) -> None:
    empty = _every_frame(january, days("2025-03-01"))
    for name, full in _every_frame(january, JANUARY).items():
        assert list(full.dtypes.items()) == list(empty[name].dtypes.items()), name
        assert len(full) >= 1, name
    types = {name: str(dtype) for frame in empty.values() for name, dtype in frame.dtypes.items()}
    assert types["timestamp"] == types["period_start"] == types["data_through"] == "datetime64[us, UTC]"
    assert types["total_revenue"] == types["value"] == types["churn_rate"] == "object"
    assert types["total_users"] == types["definitions_version"] == "Int64"
    floats = _every_frame(january, JANUARY, floats=True)
    assert floats["revenue"]["total_revenue"][0] == float(EXACT)
    assert {str(floats[name][column].dtype) for name, column in (("revenue", "mrr"), ("users", "churn_rate"))} == {
        "float64"
    }
    assert str(floats["events"]["value"].dtype) == "float64"


def test_events_that_have_expired_are_refused_by_name(january: Connection) -> None:
    january.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-01-15Z')")
    try:
        with pytest.raises(HorizonError, match="before 2025-01-15"):
            frames.events(january, JANUARY)
        assert len(frames.events(january, days("2025-01-15", "2025-01-31"))) == 2
    finally:
        january.execute("DELETE FROM analytics_retention_horizon")


def _run(text: str, file: Path) -> dict[str, Any]:
    file.write_text(text)
    return runpy.run_path(str(file))


@pytest.mark.slow
def test_the_how_to_s_asset_stands_on_what_revenue_metrics_has_closed(
    january: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANALYTICS_START", "2025-01-01")
    get_settings.cache_clear()
    notebook, own = (
        _run(text, tmp_path / f"own_{number}.py")
        for number, text in enumerate(re.findall(r"```python\n(.*?)```", HOW_TO.read_text(), re.DOTALL))
    )
    assert notebook["answer"]["total_revenue"][0] == EXACT + 40
    assert (len(notebook["by_hour"]), len(notebook["events"])) == (48, 4)
    assert notebook["stored"]["total_revenue"].sum() == float(EXACT + 40)

    merged = Definitions.merge(build_definitions(get_settings()), own["defs"])
    graph = merged.resolve_asset_graph()
    assert graph.get(AssetKey("revenue_share")).parent_keys == {AssetKey("revenue_metrics")}
    made = materialize([own["revenue_share"]], partition_key="2025-01-12")
    share = made.output_for_node("revenue_share")
    assert list(share["company_id"]) == ["acme", "beta"]
    assert sum(share["share"]) == 100
    assert share["share"][1] == 100 * Decimal(40) / (EXACT + 40)
