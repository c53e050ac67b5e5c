"""What every ``--json`` prints: JSON alone, counts as numbers, amounts and rates as strings, nothing of Python."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance

from analytics_pipeline.cli import main
from analytics_pipeline.embedded import EmbeddedPostgres
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.policies import change_policies
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline_tests.alerts.figures_factory import close_revenue
from analytics_pipeline_tests.command_tree import commands
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.messages.documents import publish
from analytics_pipeline_tests.metrics.closing import close, days
from analytics_pipeline_tests.metrics.signable import note_closed

JANUARY = ("--month", "2025-01")
FEBRUARY = days("2025-02-01", "2025-02-28")
RULES = """
version = 1

[[rules]]
id = "low"
description = "Too little revenue"
metric = "total_revenue"
granularity = "month"
company = "*"
comparison = "below"
value = "100 EUR"
severity = "warning"
recipients = ["cfo@example.com"]
"""
SOURCE = """-- Invoices, one of them without a currency that there is.
SELECT
    'invoice ' || currency AS source_key,
    now() - interval '1 day' AS cursor_at,
    now() - interval '1 day' AS "timestamp",
    'acme' AS company_id,
    'invoice.created' AS event_type,
    'billing' AS category,
    12.50 AS value,
    currency
FROM unnest(ARRAY['EUR', 'Euro']) AS currency
"""
# In the order in which they find something to print.
CALLS: dict[tuple[str, ...], tuple[str, ...]] = {
    # Before anything else changes what its month stands on.
    ("periods", "sign-off"): ("2025-02", "--by", "Ann", "--company", "acme"),
    ("periods", "list"): (),
    ("periods", "restatements"): (),
    ("periods", "withdraw"): ("2025-02", "--by", "Ann", "--reason", "by mistake", "--company", "acme"),
    ("db", "migrate"): (),
    ("db", "status"): (),
    ("db", "policies"): (),
    ("ingest",): ("events.jsonl",),
    ("record",): ("acme", "--type", "payment.received", "--category", "revenue", "--value", "1", "--currency", "EUR"),
    ("ids", "list"): (),
    ("ids", "rename"): (),
    ("fx", "load"): ("rates.csv",),
    ("companies", "import"): ("companies.csv",),
    ("companies", "list"): (),
    ("fx", "show"): ("--date", "2025-01-06"),
    ("sources", "list"): (),
    ("sources", "check"): (),
    ("sources", "run"): (),
    ("sources", "rejects"): (),
    ("reconcile",): ("--source", "invoices", *JANUARY),
    ("close",): ("--start", "2025-01-05T12:00", "--end", "2025-01-05T13:00"),
    ("adopt",): (),
    ("metrics", "revenue"): JANUARY,
    ("metrics", "movements"): JANUARY,
    ("metrics", "users"): JANUARY,
    ("metrics", "crypto"): JANUARY,
    ("metrics", "series"): JANUARY,
    ("metrics", "top-events"): JANUARY,
    ("report",): (*JANUARY, "--sections", "headline", "--format", "json"),
    ("token", "create"): ("Portal", "--company", "acme"),
    ("token", "list"): (),
    ("recipients", "list"): (),
    ("alerts", "check"): ("alerts.toml",),
    ("alerts", "load"): ("alerts.toml",),
    ("alerts", "list"): (),
    ("alerts", "test"): ("low",),
    ("outbox", "list"): (),
    ("outbox", "send"): (),
    ("outbox", "resend"): ("--outdated", "--preview"),
    ("access", "list"): (),
    ("access", "audit"): (),
    ("db", "refresh"): ("analytics_revenue_hourly", *JANUARY),
    ("db", "rebuild"): ("analytics_revenue_hourly",),
    ("db", "compress"): (*JANUARY, "--yes"),
    ("db", "decompress"): (*JANUARY, "--yes"),
    ("db", "explain"): (),
    ("prune",): ("--yes",),
    ("stats",): (),
    ("doctor",): (),
    ("archive", "run"): (),
    ("archive", "status"): (),
    ("archive", "verify"): (),
    ("archive", "compute"): ("analytics_revenue_monthly", "--month", "2010-01"),
    ("archive", "restore"): ("--month", "2010-01"),
    ("archive", "release"): (),
    ("backup",): ("place", "--events"),
    ("restore",): ("--check",),
    # Whoever was in it was in what was called before.
    ("erase",): ("--company", "acme", "--user", "u1", "--yes"),
}
# How long something took, and how old it is; all other numbers that are no counts are exact, and strings.
_may_be_float = re.compile(r"seconds|minutes|hours|scheduleInterval|^(lag|age)$", re.IGNORECASE)
# Headline figures, as they are printed on a report.
_PRINTED = {"value"}
_is_of_python = re.compile(
    r"None|True|False|[\[({]['\"(\[{].*|.*(Decimal\(|datetime\.|timedelta|Path\(| object at 0x).*"
)


def _problems(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _problems(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _problems(inner, key)
    elif isinstance(value, float) and not _may_be_float.search(key):
        yield f"{key} is {value}, no exact number"
    elif isinstance(value, str) and _is_of_python.fullmatch(value):
        yield f"{key} is Python: {value!r}"
    elif isinstance(value, str) and value.isdecimal() and key not in _PRINTED:
        yield f"{key} is a count as text: {value!r}"


def test_every_command_with_json_is_called() -> None:
    assert {path for path, command in commands() if any(p.name == "as_json" for p in command.params)} == {*CALLS}


@pytest.mark.slow
def test_every_json_holds_counts_as_numbers_exact_numbers_as_strings_and_nothing_of_python(
    database: Database,
    instance: DagsterInstance,
    storage_home: Path,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    environment.chdir(tmp_path)
    environment.setenv("ANALYTICS_ERP_URL", EmbeddedPostgres(storage_home).url)
    environment.setenv("ANALYTICS_ERP_SOURCES", str(tmp_path / "sources"))
    environment.setenv("ANALYTICS_ALERT_RULES", str(tmp_path / "alerts.toml"))
    environment.setenv("ANALYTICS_ARCHIVE", str(tmp_path / "archive"))
    environment.setenv("ANALYTICS_SMTP_URL", (tmp_path / "mails").as_uri())
    get_settings.cache_clear()
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "invoices.sql").write_text(SOURCE)
    (tmp_path / "alerts.toml").write_text(RULES)
    (tmp_path / "events.jsonl").write_text("{}\n")
    (tmp_path / "rates.csv").write_text("rate_date,base,quote,rate\n2025-01-05,EUR,USD,1.0834\nx,EUR,USD,1\n")
    (tmp_path / "companies.csv").write_text("company_id,name,time_zone\nacme,Acme,\nzoe,Zoe,Nowhere\n")
    with database.connect(autocommit=True) as connection:
        for company in ("acme", "zoe\u200b"):
            add_event(connection, "2025-01-05T12:00", company_id=company, value="10.10", currency="USD")
        # For the archive, which takes what has expired.
        add_event(connection, "2010-01-05T12:00")
        change_policies(connection, server_info(connection), {"retention": "10 years"})
        add_event(connection, "2025-01-05T12:00", "crypto.received", category="crypto", value="0.5", currency="BTC")
        add_recipient(connection, None, "monthly_report", "cfo@example.com")
        close_revenue(connection, "2025-01", {"acme": "0.123456"})
        close(connection, FEBRUARY)
        note_closed(connection, FEBRUARY)
        for audience in (None, "acme"):
            publish(connection, audience, period="2025-02", definitions_version=3)
        # By other definitions than today's: that is shown among the restatements.
        connection.execute(
            "INSERT INTO analytics_signoffs (period, period_start, period_end, signed_by, figures_at, "
            "definitions_version, currency, document_id, document_sha256) "
            "SELECT period, %s, %s, 'Ann', now(), 1, 'EUR', document_id, sha256 FROM analytics_report_documents "
            "WHERE company_id IS NULL",
            [FEBRUARY.start, FEBRUARY.end],
        )
        connection.execute(
            "INSERT INTO analytics_outbox (kind, channel, dedupe_key, target, subject, text_body) "
            "VALUES ('alert', 'mail', 'a', 'cfo@example.com', 's', 't')"
        )
    wrong = []
    for path, arguments in CALLS.items():
        given = [str(next((tmp_path / "place").iterdir())), *arguments] if path == ("restore",) else arguments
        result = CliRunner().invoke(main, [*path, *given, "--json"])
        try:
            answer = json.loads(result.stdout)
        except ValueError:
            wrong.append(f"{path}: {result.exit_code} {result.output[:300]} {result.exception!r}")
            continue
        wrong += [f"{path}: {problem}" for problem in _problems(answer)]
        # A role that reads is the whole server's.
        if answer in ([], {}) and path != ("access", "list"):
            wrong.append(f"{path} has nothing to print")
    assert not wrong, "\n".join(wrong)
