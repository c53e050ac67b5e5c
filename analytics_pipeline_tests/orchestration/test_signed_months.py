"""The job that signs a month off, and the check of control totals where an ERP is configured."""

from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance, Definitions, ExecuteInProcessResult, TableMetadataValue

from analytics_pipeline.asset_names import SIGNED_MONTHS
from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.errors import RefusedError
from analytics_pipeline.metrics.signoffs import month_of, read_signoffs, sign_month
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.erp.example import ExampleErp, example_erp, invoice
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.messages.documents import publish
from analytics_pipeline_tests.metrics.closing import close
from analytics_pipeline_tests.metrics.signable import note_closed

pytestmark = pytest.mark.slow

JANUARY = month_of("2025-01")


def run(definitions: Definitions, instance: DagsterInstance, job: str, **options: Any) -> ExecuteInProcessResult:
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)


def close_month(connection: Connection, month: Window, *companies: str) -> None:
    """Close a month and make its documents, as the jobs that close do."""
    close(connection, month)
    note_closed(connection, month)
    for company in (None, *companies):
        content = f"%PDF {company}".encode()
        publish(connection, company, period=f"{month.start:%Y-%m}", definitions_version=3, content=content)


def test_a_month_is_signed_off_by_a_job_or_the_run_says_why_not(
    database: Database, definitions: Definitions, instance: DagsterInstance
) -> None:
    config = {"ops": {SIGNED_MONTHS: {"config": {"month": "2025-01", "signed_by": "Ann"}}}}
    refused = run(definitions, instance, "sign_off", run_config=config)
    failure = refused.failure_data_for_node(SIGNED_MONTHS)
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "2025-01 can't be signed off: 6 of its assets are not closed" in str(failure.user_failure_data.description)

    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:00")
        close_month(connection, JANUARY, "acme")
        signed = run(definitions, instance, "sign_off", run_config=config)
        assert signed.success
        found = read_signoffs(connection, None)
    assert [(each.company_id, each.period, each.signed_by) for each in found] == [
        (None, "2025-01", "Ann"),
        ("acme", "2025-01", "Ann"),
    ]
    (event,) = [e for e in signed.get_asset_materialization_events() if e.asset_key == AssetKey(SIGNED_MONTHS)]
    table = event.materialization.metadata["signed months"]
    assert isinstance(table, TableMetadataValue)
    assert [record.data["company"] for record in table.records] == ["all companies", "acme"]


@pytest.fixture
def erp(storage_home: Any, dagster_home: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    from analytics_pipeline.embedded import EmbeddedPostgres

    with example_erp(EmbeddedPostgres(storage_home).url) as erp:
        monkeypatch.setenv("ANALYTICS_ERP_URL", erp.url)
        get_settings.cache_clear()
        yield erp


def test_control_totals_that_differ_fail_the_check_of_the_month_and_keep_it_from_being_signed(
    database: Database, erp: ExampleErp, instance: DagsterInstance
) -> None:
    with database.connect(autocommit=True) as connection:
        (last,) = connection.execute("SELECT date_trunc('month', now()) - interval '1 month'").fetchone() or ()
        month = Window.of_month(last.date())
        add_event(connection, f"{month.start:%Y-%m}-05T10:00", company_id="acme")
        close_month(connection, month, "acme")
        erp.execute(invoice("A-1", issued=f"{month.start:%Y-%m}-07T10:00Z"))
        definitions = build_definitions(get_settings())
        result = run(definitions, instance, "control_totals")
        assert not result.success
        (check,) = result.get_asset_check_evaluations()
        assert (check.check_name, check.passed) == ("control_totals", False)
        name = f"{month.start:%Y-%m}"
        told = f"1 of 1 totals of {name} differ from the source invoices: acme {name}-07: 0 of 0.00 EUR recorded, 1 of"
        assert told in (check.description or "")
        with pytest.raises(RefusedError, match="the check control_totals of monthly_report has failed"):
            sign_month(connection, month, "Ann", "EUR", None, actor=None)
        erp.execute("DELETE FROM erp.invoices")
        assert run(definitions, instance, "control_totals").success
        assert sign_month(connection, month, "Ann", "EUR", None, actor=None) == [None, "acme"]


def test_without_an_erp_there_is_no_check_of_control_totals(definitions: Definitions) -> None:
    jobs = [job.name for job in definitions.resolve_all_job_defs()]
    assert "sign_off" in jobs
    assert "control_totals" not in jobs
