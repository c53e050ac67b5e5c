"""The ERP is read by runs that start by themselves when there is something to read."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, Definitions, ExecuteInProcessResult
from dagster._core.test_utils import create_run_for_test

from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.embedded import EmbeddedPostgres
from analytics_pipeline.erp import record_source
from analytics_pipeline.orchestration.ingestion import erp_sources
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.erp.conftest import use_erp
from analytics_pipeline_tests.erp.example import ExampleErp, example_erp, invoice
from analytics_pipeline_tests.erp.reading import query
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

pytestmark = pytest.mark.slow

ASSETS = {
    "erp_companies",
    "erp_crypto_transactions",
    "erp_invoices",
    "erp_logins",
    "erp_payments",
    "erp_subscription_changes",
}


@pytest.fixture
def erp(dagster_home: Path, storage_home: Path, environment: pytest.MonkeyPatch) -> Iterator[ExampleErp]:
    """The example ERP beside Dagster's own database."""
    with example_erp(EmbeddedPostgres(storage_home).url) as erp:
        use_erp(environment, erp.url)
        yield erp


@pytest.fixture
def ticks(definitions: Definitions, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Ticks:
    """The sensor, without its pause after a run."""
    monkeypatch.setattr(erp_sources, "_RUNS_APART", timedelta())
    return Ticks(definitions, instance, "erp_sources")


def _run(ticks: Ticks) -> ExecuteInProcessResult:
    (request,) = ticks.tick()
    return ticks.launch(request)


def _metadata(result: ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (made,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in made.metadata.items()}


def test_without_an_erp_there_are_assets_and_everything_says_what_to_set(
    ticks: Ticks, definitions: Definitions, instance: DagsterInstance
) -> None:
    graph = definitions.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert {key for key in keys if key.startswith("erp_")} == ASSETS
    assert graph.get(AssetKey("incoming_events")).parent_keys == {AssetKey(asset) for asset in ASSETS}
    assert ticks.tick() == []
    assert ticks.skipped == "No ERP is read: ANALYTICS_ERP_URL is not set (docs/erp-sources.md)."
    result = definitions.resolve_job_def("erp_sources").execute_in_process(
        instance=instance, asset_selection=[AssetKey("erp_invoices")], raise_on_error=False
    )
    (failure,) = result.get_step_failure_events()
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert "ANALYTICS_ERP_URL is not set: set it to the URL of the ERP's database" in (data.description or "")


def test_new_rows_become_one_run_and_late_ones_another(ticks: Ticks, erp: ExampleErp, database: Database) -> None:
    erp.execute(invoice("A-1"), invoice("A-2", currency="Euro"))
    result = _run(ticks)
    assert result.success
    metadata = _metadata(result, "erp_invoices")
    assert {name: metadata[name] for name in ("rows read", "new events", "rejected", "read to the end")} == {
        "rows read": 2,
        "new events": 1,
        "rejected": 1,
        "read to the end": True,
    }
    assert metadata["lag (seconds)"] < 600
    assert metadata["first event"] == metadata["last event"]
    assert metadata["rejected because"] == {"currency of the wrong form": 1}
    assert ticks.tick() == []
    assert ticks.skipped == (
        "Nothing new in companies, crypto_transactions, invoices, logins, payments, subscription_changes."
    )
    before = query("SELECT complete_until FROM analytics_source_cursors WHERE source = 'invoices'")
    ticks.tick()
    assert query("SELECT complete_until FROM analytics_source_cursors WHERE source = 'invoices'") > before, "no lag"
    with erp.connect(autocommit=False) as late:
        late.execute(invoice("late").encode())
        erp.execute(invoice("A-3"))
        assert _metadata(_run(ticks), "erp_invoices")["new events"] == 1
        assert ticks.tick() == []
    assert _metadata(_run(ticks), "erp_invoices")["new events"] == 1
    assert ticks.tick() == []
    assert query("SELECT count(*) FROM analytics_events WHERE event_type = 'invoice.created'") == [(3,)]


def test_runs_are_some_minutes_apart_and_never_two_at_once(
    definitions: Definitions, instance: DagsterInstance, erp: ExampleErp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erp_sources, "_MAX_ROWS_PER_RUN", 1)
    monkeypatch.setattr(record_source, "PAGE_ROWS", 1)
    ticks = Ticks(definitions, instance, "erp_sources")
    erp.execute(invoice("A-1"), invoice("A-2"))
    assert _metadata(_run(ticks), "erp_invoices")["read to the end"] is False
    # There is more to read, so at once.
    monkeypatch.setattr(erp_sources, "_MAX_ROWS_PER_RUN", 100)
    assert _metadata(_run(ticks), "erp_invoices")["read to the end"] is True
    assert ticks.tick() == []
    assert ticks.skipped == "The last run began less than five minutes ago."
    assert query("SELECT count(*) FROM analytics_events WHERE event_type = 'invoice.created'") == [(2,)]
    create_run_for_test(instance, "erp_sources", status=DagsterRunStatus.STARTED)
    assert ticks.tick() == []
    assert ticks.skipped == "A run is reading the ERP, or waits for its turn."


def test_a_source_that_fails_waits_and_leaves_the_others_alone(
    ticks: Ticks, erp: ExampleErp, database: Database
) -> None:
    erp.execute("ALTER TABLE erp.payments RENAME TO receipts", invoice("A-1"))
    result = _run(ticks)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert failure.step_key == "erp_payments"
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert 'payments.sql: relation "erp.payments" does not exist' in (data.description or "")
    assert query("SELECT count(*) FROM analytics_events") == [(2,)]
    assert ticks.tick() == []
    assert ticks.skipped is not None
    assert "Nothing new in companies, crypto_transactions, invoices, logins, subscription_changes." in ticks.skipped
    assert "payments waits after 1 failures: payments.sql: relation" in ticks.skipped
    erp.execute(invoice("A-2"), "ALTER TABLE erp.receipts RENAME TO payments")
    assert _run(ticks).success


def test_an_erp_that_cannot_be_reached_fails_a_run_now_and_then(
    ticks: Ticks, erp: ExampleErp, environment: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(ticks).success
    use_erp(environment, "postgresql://reader:hunter2@127.0.0.1:1/books")
    monkeypatch.setattr(erp_sources, "_FAILING_RUNS_APART", timedelta())
    (request,) = ticks.tick()
    assert "127.0.0.1:1/books" in (request.run_key or "")
    assert "hunter2" not in (request.run_key or "")
    result = ticks.launch(request)
    assert not result.success
    use_erp(environment, erp.url)


def test_a_users_own_queries_are_assets_and_a_broken_folder_breaks_nothing_else(
    dagster_home: Path, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def assets() -> set[str]:
        get_settings.cache_clear()
        graph = build_definitions(get_settings()).resolve_asset_graph()
        return {k.to_user_string() for k in graph.get_all_asset_keys() if k.to_user_string().startswith("erp_")}

    folder = tmp_path / "sources"
    folder.mkdir()
    environment.setenv("ANALYTICS_ERP_SOURCES", str(folder))
    (folder / "bills.sql").write_text("-- Bills\nSELECT 1")
    assert assets() == {"erp_bills"}
    (folder / "Not a name.sql").write_text("SELECT 1")
    assert assets() == ASSETS


def test_sources_that_a_tick_has_no_time_for_are_read_by_a_run(
    erp: ExampleErp, ticks: Ticks, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(ticks).success
    assert ticks.tick() == []
    monkeypatch.setattr(erp_sources, "_MAX_SECONDS_PER_TICK", -1)
    (request,) = ticks.tick()
    assert "the tick was over before it was its turn" in str(request.run_key)
