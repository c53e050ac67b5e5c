"""Dagster's own storage names nobody who was erased."""

import json

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.test_utils import create_run_for_test

from analytics_pipeline.erasure.dagster_rows import DagsterRows
from analytics_pipeline.erasure.subject import Subject
from analytics_pipeline.settings import get_settings

pytestmark = pytest.mark.slow
ANN, ERASED = "ann@example.com", "erased-user-1@erased.invalid"


def test_tags_run_configuration_and_events_bear_the_pseudonym_and_runs_stay_readable(instance: DagsterInstance) -> None:
    config = {"ops": {"noted": {"config": {"company_id": "acme", "by": f"said {ANN}."}}}}
    run = create_run_for_test(
        instance, "reports", run_config=config, tags={"analytics/asked_by": ANN, "other": "user-1"}
    )
    instance.report_engine_event(f"made for {ANN}", run)
    instance.report_engine_event("Stored acme-2.pdf, acme-2.json of acme-2.Next is nothing for acme-2_b", run)
    place, person = DagsterRows(get_settings()), Subject("acme", ANN, {ANN: ERASED}, frozenset({ANN}))
    assert place.count(person)["Dagster's run_tags"] == 1
    assert {line.partition(":")[0] for line in place.search(person)} == {
        "Dagster's event_logs.event", "Dagster's run_tags.value", "Dagster's runs.run_body"
    }  # fmt: skip
    place.erase(person)
    assert list(place.search(person)) == []
    (found,) = instance.get_runs(RunsFilter(tags={"analytics/asked_by": ERASED}))
    assert found.run_config == {"ops": {"noted": {"config": {"company_id": "acme", "by": f"said {ERASED}."}}}}
    assert (found.tags["other"], found.status) == ("user-1", DagsterRunStatus.NOT_STARTED)
    assert any(ERASED in (entry.message or "") for entry in instance.all_logs(run.run_id))
    company = Subject("acme", None, {"acme": "erased-company-1"}, frozenset())
    place.erase(company)
    (found,) = instance.get_runs()
    assert '"company_id": "erased-company-1"' in json.dumps(found.run_config)
    told = Subject("acme-2", None, {"acme-2": "erased-company-2"}, frozenset({"acme-2"}))
    place.erase(told)
    assert (list(place.search(told)), list(place.suspect(told))) == ([], ["Dagster's event_logs.event: 1 rows"])
    stored = "Stored erased-company-2.pdf, erased-company-2.json of erased-company-2.Next is nothing for acme-2_b"
    assert stored in {entry.message for entry in instance.all_logs(run.run_id)}
