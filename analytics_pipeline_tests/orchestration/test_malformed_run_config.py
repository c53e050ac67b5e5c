"""Run configurations that nobody meant: Dagster refuses them, or the run fails in one sentence, and nothing is stored.

The usual run makes do with a sample; ``make test-faults`` tries 10,000.
"""

import copy
import random
from collections import Counter
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterInvalidConfigError, Definitions, validate_run_config

from analytics_pipeline.orchestration.ingestion.event_inbox import INGESTION_JOB, INGESTION_OP
from analytics_pipeline.orchestration.runs.descriptions import describe_failure
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import fetch_row
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.events.test_mutated_files import VALUES

REPORT = {
    "company": "acme", "start": "2025-01-01", "end": "2025-01-31", "sections": [], "format": "CSV", "locale": "en",
}  # fmt: skip
CONFIGURED: dict[str, dict[str, Any]] = {
    INGESTION_JOB: {"ops": {INGESTION_OP: {"config": {"name": "a.jsonl", "version": ""}}}},
    "custom_report": {"ops": {"custom_reports": {"config": REPORT}}},
    "sign_off": {"ops": {"signed_months": {"config": {"month": "2025-01", "signed_by": "Ann"}}}},
}
# What lies in the inbox under another name than any that is asked for.
LEFT_ALONE = "kept.jsonl"
ODD = (*VALUES, "../kept.jsonl", "/etc/passwd", ".", "..", "a\0b", "x" * 5_000, "2025-01-31", -1, {"env": "HOME"})


def altered(rng: random.Random, config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with some places replaced, left out or added."""
    found: dict[str, Any] = copy.deepcopy(config)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place: Any = found
        while isinstance(place, dict) and place:
            key = rng.choice(list(place))
            if isinstance(place[key], dict) and place[key] and rng.random() < 0.85:
                place = place[key]
                continue
            match rng.randrange(6):
                case 0:
                    del place[key]
                case 1:
                    place[rng.choice(("no_such", "config", ""))] = rng.choice(ODD)
                case _:
                    place[key] = rng.choice(ODD)
            break
    return found


def try_malformed(
    definitions: Definitions, instance: DagsterInstance, database: Database, tries: int, *, executed: int
) -> None:
    inbox = get_settings().home / "inbox"
    inbox.mkdir()
    (inbox / LEFT_ALONE).write_text(json_lines([payment()]))
    jobs = {name: definitions.resolve_job_def(name) for name in CONFIGURED}
    outcomes: Counter[str] = Counter()
    for number in range(tries):
        rng = random.Random(number)  # noqa: S311
        name = rng.choice(list(jobs))
        config = altered(rng, CONFIGURED[name])
        try:
            validate_run_config(jobs[name], config)
        except DagsterInvalidConfigError:
            outcomes["refused"] += 1
            continue
        outcomes["taken"] += 1
        if outcomes["executed"] == executed:
            continue
        outcomes["executed"] += 1
        result = jobs[name].execute_in_process(instance=instance, run_config=config, raise_on_error=False)
        if not result.success:
            outcomes["failed"] += 1
            said = describe_failure(result.all_events)
            assert said is not None
            assert "\n" not in said, (number, config, said)
    print(f"\n{tries} configurations: {dict(outcomes)}")  # noqa: T201 - what it came to, with -s
    with database.connect() as connection:
        assert fetch_row(connection, "SELECT count(*) FROM analytics_events") == (0,)
        assert fetch_row(connection, "SELECT count(*) FROM analytics_signoffs") == (0,)
    assert [path.name for path in inbox.iterdir()] == [LEFT_ALONE]
    assert outcomes["refused"] > tries / 4
    assert outcomes["failed"]


@pytest.mark.fuzz
@pytest.mark.slow
def test_malformed_run_configurations_are_refused_or_fail_in_one_sentence(
    definitions: Definitions, instance: DagsterInstance, database: Database
) -> None:
    try_malformed(definitions, instance, database, 60, executed=6)


@pytest.mark.fuzz
@pytest.mark.faults
@pytest.mark.endurance
def test_ten_thousand_malformed_run_configurations_are_refused_or_fail_in_one_sentence(
    definitions: Definitions, instance: DagsterInstance, database: Database
) -> None:
    try_malformed(definitions, instance, database, 10_000, executed=150)
