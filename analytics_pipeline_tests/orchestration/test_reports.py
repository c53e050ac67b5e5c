"""Reports as assets, and the requests that have them made."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterInvalidConfigError,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
    MetadataValue,
    TableMetadataValue,
    validate_run_config,
)

from analytics_pipeline.asset_names import CUSTOM_REPORTS
from analytics_pipeline.orchestration.closing.jobs import REPORT_JOB
from analytics_pipeline.orchestration.reports import custom_reports as sensor_module
from analytics_pipeline.orchestration.reports.custom_reports import CUSTOM_REPORT, REQUEST_TAG, CustomReport
from analytics_pipeline.reports.catalogue import SECTION_NAMES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

pytestmark = pytest.mark.slow

JANUARY = {"start": "2025-01-01", "end": "2025-01-31"}


@pytest.fixture
def events(database: Database) -> None:
    """A payment of two companies in each of two months."""
    with database.connect(autocommit=True) as connection:
        for month in ("2025-01", "2025-02"):
            for company in ("acme", "globex"):
                add_event(connection, f"{month}-05T12:00", company_id=company, value="100")


@pytest.fixture
def ticks(definitions: Definitions, instance: DagsterInstance) -> Ticks:
    return Ticks(definitions, instance, "report_requests")


def run(definitions: Definitions, instance: DagsterInstance, job: str, **options: Any) -> ExecuteInProcessResult:
    resolved = definitions.resolve_job_def(job)
    return resolved.execute_in_process(instance=instance, raise_on_error=False, **options)


def metadata_of(result: ExecuteInProcessResult, asset: str) -> Mapping[str, MetadataValue[Any]]:
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == AssetKey(asset)]
    return event.materialization.metadata


def ask(connection: Connection, **columns: object) -> int:
    values = {"company_id": "acme", "start_date": "2025-01-01", "end_date": "2025-01-31", **columns}
    marks = ", ".join(["%s"] * len(values))
    query = f"INSERT INTO analytics_report_requests ({', '.join(values)}) VALUES ({marks}) RETURNING request_id"
    return int(fetch_row(connection, query, list(values.values()))[0])


def state_of(connection: Connection, request: int) -> tuple[Any, ...]:
    query = "SELECT state, uri, problem FROM analytics_report_requests WHERE request_id = %s"
    return fetch_row(connection, query, [request])


def test_the_names_of_jobs_and_assets_do_not_clash(definitions: Definitions) -> None:
    definitions.get_repository_def().load_all_definitions()


def test_the_launchpad_offers_what_there_is_and_refuses_anything_else_while_it_is_typed(
    definitions: Definitions,
) -> None:
    job = definitions.resolve_job_def(CUSTOM_REPORT)

    def validate(**config: object) -> None:
        validate_run_config(job, {"ops": {CUSTOM_REPORTS: {"config": config}}})

    for section in SECTION_NAMES:
        validate(company="acme", sections=[section], format="xlsx", currency="CHF", page_size="letter")
    for wrong in (
        {"sections": ["headlines"]},
        {"format": "docx"},
        {"currency": "EURO"},
        {"page_size": "A5"},
    ):
        with pytest.raises(DagsterInvalidConfigError, match=f"config:{next(iter(wrong))}.* not in enum type"):
            validate(**wrong)
    described = {name: field.description or "" for name, field in CustomReport.model_fields.items()}
    assert all(described.values())
    assert described["sections"].endswith(f" {', '.join(SECTION_NAMES)}.")


@pytest.mark.usefixtures("events")
def test_the_assets_show_their_documents(definitions: Definitions, instance: DagsterInstance) -> None:
    result = run(definitions, instance, REPORT_JOB, partition_key="2025-01-01")
    assert result.success
    platform = metadata_of(result, "monthly_report")
    companies = metadata_of(result, "company_reports")

    assert Path(str(platform["path"].value)).stat().st_size == platform["size (bytes)"].value
    assert int(platform["pages"].value) > 3
    assert len(str(platform["sha256"].value)) == 64
    figures = platform["headline figures"]
    assert isinstance(figures, TableMetadataValue)
    headlines = {"revenue (EUR)": 200, "MRR (EUR)": 0, "users": 2}
    assert {name: platform[name].value for name in headlines} == headlines, "what the UI plots"
    assert figures.records[0].data == {"figure": "Total revenue, EUR", "value": "200.00", "change": "\u2013"}
    assert str(platform["first page"].value).startswith("![The first page](data:image/png;base64,")
    assert len(str(platform["first page"].value)) < 100_000
    documents = companies["list"]
    assert isinstance(documents, TableMetadataValue)
    assert companies["documents"].value == 2
    assert [record.data["company"] for record in documents.records] == ["acme", "globex"]
    # The UI keeps the order: somebody who opens the page finds the document first.
    assert next(iter(platform)) == next(iter(companies)) == "open"
    address = str(platform["open"].value)
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/documents/[\w-]{43}", address)
    # The UI shows a text without unfolding it if it has less than 1,000 characters.
    preview = re.fullmatch(
        r"!\[[^\]]+\]\((http://127\.0\.0\.1:8000/documents/[\w-]{43}/first-page\.png)\)", str(platform["preview"].value)
    )
    assert preview is not None
    assert len(preview[0]) < 1_000
    assert [line.split("](")[0] for line in str(companies["open"].value).splitlines()] == ["- [acme", "- [globex"]
    assert len({address, *(str(record.data["open"]) for record in documents.records)}) == 3
    assert [column.name for column in documents.schema.columns] == [
        "open",
        "company",
        "name",
        "pages",
        "bytes",
        "corrected figures",
        "sha256",
        "uri",
    ]
    assert {len(str(record.data["sha256"])) for record in documents.records} == {16}
    assert all(Path(str(r.data["uri"]).removeprefix("file://")).exists() for r in documents.records)


@pytest.mark.usefixtures("events")
def test_a_range_of_months_is_a_document_each(definitions: Definitions, instance: DagsterInstance) -> None:
    span = {"dagster/asset_partition_range_start": "2025-01-01", "dagster/asset_partition_range_end": "2025-02-01"}
    result = run(definitions, instance, REPORT_JOB, tags=span)
    assert result.success
    made = {
        (e.materialization.asset_key.to_user_string(), e.partition): e.materialization.metadata
        for e in result.get_asset_materialization_events()
    }

    assert len(made) == 4
    assert "/2025-02/" in str(made["monthly_report", "2025-02-01"]["dagster/uri"].value)
    assert made["company_reports", "2025-02-01"]["documents"].value == 2


@pytest.mark.usefixtures("events")
def test_the_launchpad_makes_what_its_configuration_says(definitions: Definitions, instance: DagsterInstance) -> None:
    config = {**JANUARY, "company": "acme", "sections": ["revenue"], "format": "json"}
    result = run(definitions, instance, CUSTOM_REPORT, run_config={"ops": {CUSTOM_REPORTS: {"config": config}}})
    assert result.success
    report = json.loads(Path(str(metadata_of(result, CUSTOM_REPORTS)["path"].value)).read_text())

    assert (report["companyId"], report["startDate"], list(report["sections"])) == ("acme", "2025-01-01", ["revenue"])


def test_a_configuration_that_makes_no_sense_fails_in_one_sentence(
    definitions: Definitions, instance: DagsterInstance
) -> None:
    for config, stated in (
        ({**JANUARY, "company": "acne"}, "acne"),
        (
            {**JANUARY, "company": "acme", "sections": ["companies"]},
            "The section companies is part of reports over all",
        ),
        ({"start": "January"}, "start_date: must be a calendar date like 2025-01-31, not 'January'."),
    ):
        result = run(definitions, instance, CUSTOM_REPORT, run_config={"ops": {CUSTOM_REPORTS: {"config": config}}})
        failure = result.failure_data_for_node(CUSTOM_REPORTS)
        assert failure is not None
        assert failure.user_failure_data is not None
        assert stated in str(failure.user_failure_data.description)


def test_without_a_configuration_it_is_the_last_month_over_all_companies(
    definitions: Definitions, instance: DagsterInstance
) -> None:
    result = run(definitions, instance, CUSTOM_REPORT)

    assert "/all-companies/all.eur.en_gb.a4.pdf" in str(metadata_of(result, CUSTOM_REPORTS)["dagster/uri"].value)


@pytest.mark.usefixtures("events")
def test_a_request_is_met_once(database: Database, ticks: Ticks) -> None:
    assert ticks.tick() == []
    assert ticks.skipped == "Nobody waits for a report."
    with database.connect(autocommit=True) as connection:
        request = ask(connection, sections=["mrr"], format="xlsx")
    (asked,) = ticks.tick()
    assert ticks.launch(asked).success
    assert ticks.tick() == []
    with database.connect(autocommit=True) as connection:
        state, uri, _ = state_of(connection, request)

    assert state == "done"
    assert Path(uri.removeprefix("file://")).read_bytes().startswith(b"PK")


def test_a_request_that_cannot_be_met_fails_without_a_run_and_keeps_none_waiting(
    database: Database, ticks: Ticks
) -> None:
    with database.connect(autocommit=True) as connection:
        request = ask(connection, sections=["nope"])
        ask(connection)
    assert len(ticks.tick()) == 1
    with database.connect(autocommit=True) as connection:
        assert state_of(connection, request)[::2] == (
            "failed",
            "There is no section 'nope': choose from headline, summary, companies, revenue, mrr, users, "
            "currencies, refunds, crypto, top-events, alerts, data-quality, reconciliation, definitions.",
        )


@pytest.mark.usefixtures("events")
def test_a_run_that_died_gives_its_request_to_another_a_few_times(
    database: Database, instance: DagsterInstance, ticks: Ticks
) -> None:
    with database.connect(autocommit=True) as connection:
        request = ask(connection, sections=["headline"], format="json")
        for attempt in (1, 2, 3):
            (asked,) = ticks.tick()
            assert asked.run_key == f"report request {request}, attempt {attempt}"
            died = _start(instance, request)
            connection.execute(
                "UPDATE analytics_report_requests SET state = 'running', run_id = %s WHERE request_id = %s",
                [died.run_id, request],
            )
            assert ticks.tick() == []
            assert f"Request {request} is queued or being met" in (ticks.skipped or "")
            instance.report_run_failed(died, "the run's process is gone")
        assert ticks.tick() == []
        state, _, problem = state_of(connection, request)

    assert state == "failed"
    assert "3 runs ended without a report" in problem
    assert died.run_id in problem


def test_many_requests_wait_for_later_ticks(
    database: Database, instance: DagsterInstance, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor_module, "_MAX_RUNS_PER_TICK", 2)
    with database.connect(autocommit=True) as connection:
        requests = [ask(connection, company_id=f"company {number}") for number in range(3)]
    first = ticks.tick()
    assert [request.tags[REQUEST_TAG] for request in first] == [str(request) for request in requests[:2]]
    for request in requests[:2]:
        _start(instance, request)

    assert [request.tags[REQUEST_TAG] for request in ticks.tick()] == [str(requests[2])]


def _start(instance: DagsterInstance, request: int) -> DagsterRun:
    """Leave the record of a run that has begun with a request."""
    tags = {REQUEST_TAG: str(request)}
    return instance.add_run(DagsterRun(job_name=CUSTOM_REPORT, status=DagsterRunStatus.STARTED, tags=tags))
