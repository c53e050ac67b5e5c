"""What the automation makes of a month of events, tick by tick, and what has come of it in the end."""

import asyncio
import hashlib
import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from aiosmtpd.smtp import SMTP, Envelope, Session
from dagster import DagsterInstance, DagsterRunStatus, Definitions, Failure, RunsFilter

from analytics_pipeline.database import connect
from analytics_pipeline.errors import DatabaseUnreachableError
from analytics_pipeline.health.checks import all_checks, run_check
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.metrics.tables import METRIC_TABLES
from analytics_pipeline.orchestration.closing.failed_partitions import failed_partition_findings
from analytics_pipeline.orchestration.closing.jobs import partitioned_assets
from analytics_pipeline.orchestration.runs.descriptions import describe_failure
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.waiting import LockTimeoutError
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment, subscription
from analytics_pipeline_tests.messages.conftest import pass_time
from analytics_pipeline_tests.messages.mail_catcher import Catcher
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

MONTH = Window.of_month(datetime.now(UTC).date().replace(day=1) - timedelta(days=1))
# More than two batches of ingestion.
EVENTS = 42_000
REJECTED = 3
RECIPIENTS = {"board@example.com": None, "cfo@acme.com": "acme"}
ONE_MAIL_EACH = Counter(dict.fromkeys(RECIPIENTS, 1))
# Events of last month are old on a server where real data are expected every other day.
STALE_SAMPLE = ["events_arrive of analytics_events"]
# In the order in which they find something to do.
_SENSORS = ("event_inbox", "partition_gaps", "late_events", "report_mail")
_MAX_ROUNDS = 40
_FILE = "events.jsonl"
# When something was written is another time in each run.
_TIMES = ("ingested_at", "computed_at")
_DOWN = (DatabaseUnreachableError, LockTimeoutError, psycopg.OperationalError, Failure)
_KEPT = ("analytics_users", "analytics_user_deletions", "analytics_subscriptions")


class SlowCatcher(Catcher):
    """A mail server that can take its time before it has a mail, and after."""

    def __init__(self) -> None:
        super().__init__()
        self.waits_for_recipient = False
        self.asked = threading.Event()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.asked.set()
        if self.waits_for_recipient:
            await asyncio.to_thread(self.speaks_again.wait, 30)
        return await super().handle_RCPT(server, session, envelope, address, options)

    def go_on(self) -> None:
        """Answer from now on, at once."""
        self.waits_for_recipient = self.silent_after_data = False
        self.speaks_again.set()


def month_of_events() -> list[dict[str, Any]]:
    """Return the same events each time: payments, log-ins and subscriptions of two companies, and what is none."""
    chance = random.Random(16)  # noqa: S311

    def placed(raw: dict[str, Any]) -> dict[str, Any]:
        second = chance.randrange(int((MONTH.end - MONTH.start).total_seconds()))
        return raw | {
            "event_id": str(uuid.UUID(int=chance.getrandbits(128))),
            "timestamp": (MONTH.start + timedelta(seconds=second)).isoformat(),
            "company_id": chance.choice(("acme", "beta")),
            "user_id": f"u{chance.randrange(500)}",
        }

    events = []
    for number in range(EVENTS):
        match number % 10:
            case 0:
                raw = subscription(value=f"{chance.randrange(10, 99)}", subscription_id=f"s{chance.randrange(300)}")
            case 1 | 2 | 3:
                raw = payment(event_type="user.login", category="user_activity", value=None, currency=None)
            case _:
                raw = payment(value=f"{chance.randrange(1, 100_000) / 100}")
        events.append(placed(raw))
    return [*events, *({**payment(), "event_id": f"x{n}", "value": "much"} for n in range(REJECTED))]


class Platform:
    """One database with the sensors on it, as they stand at some moment."""

    def __init__(
        self, database: Database, instance: DagsterInstance, definitions: Definitions, catcher: SlowCatcher
    ) -> None:
        self.database, self.instance, self.catcher = database, instance, catcher
        self._ticks = {name: Ticks(definitions, instance, name) for name in _SENSORS}
        inbox = get_settings().home / "inbox"
        inbox.mkdir()
        (inbox / _FILE).write_text(json_lines(month_of_events()))
        with database.connect(autocommit=True) as connection:
            for address, company in RECIPIENTS.items():
                add_recipient(connection, company, "monthly_report", address)

    def work(self) -> None:
        """Let the sensors tick, and run what they ask for, until none of them has anything to do.

        A tick or a run that fails is left to the next tick, as the daemon leaves it.
        """
        for _ in range(_MAX_ROUNDS):
            if not self.round():
                return
        reasons = {name: ticks.skipped for name, ticks in self._ticks.items()}
        raise AssertionError(f"it comes to no end: {reasons}")

    def round(self) -> int:
        """Let each sensor tick once, and run what it asks for; return how many runs and failed ticks there were."""
        done = 0
        for ticks in self._ticks.values():
            try:
                requests = ticks.tick()
            except _DOWN:
                done += 1
                continue
            for request in requests:
                ticks.launch(request)
                done += 1
        with suppress(*_DOWN), connect(autocommit=True) as connection:
            pass_time(connection, 16)
        return done

    def require_as(self, undisturbed: dict[str, object]) -> None:
        """Raise ``AssertionError`` unless all has come out as it does undisturbed, each mail once."""
        assert undisturbed, "the undisturbed run comes first: run the module as a whole"
        outcome = self.outcome()
        assert {name: value for name, value in outcome.items() if value != undisturbed[name]} == {}
        assert self.received() == ONE_MAIL_EACH

    def work_undisturbed(self) -> dict[str, object]:
        """Work to the end with nothing in the way, and return the outcome."""
        self.work()
        outcome = self.outcome()
        assert outcome["failed checks"] == STALE_SAMPLE
        assert outcome["analytics_events"][0] == EVENTS  # type: ignore[index]
        assert len(outcome["rejected"]) == REJECTED  # type: ignore[arg-type]
        assert self.received() == ONE_MAIL_EACH
        assert self.failures() == []
        return outcome

    def failures(self) -> list[str]:
        """Return why runs have failed."""
        runs = self.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE]))
        logs = (self.instance.all_logs(run.run_id) for run in runs)
        return [describe_failure(e.dagster_event for e in log if e.dagster_event is not None) or "" for log in logs]

    def received(self) -> Counter[str]:
        """Return how many mails each recipient got."""
        return Counter(str(mail["To"]) for mail in self.catcher.mails)

    def outcome(self) -> dict[str, object]:
        """Return all that must be the same however the month was disturbed."""
        with self.database.connect(autocommit=True) as connection:
            tables = {name: _content(connection, name) for name in _tables()}
            return {
                **tables,
                "closed": connection.execute(
                    "SELECT asset, count(*) FILTER (WHERE closed_at IS NOT NULL), count(*) FROM analytics_partitions "
                    "GROUP BY asset ORDER BY asset"
                ).fetchall(),
                "rejected": connection.execute(
                    "SELECT line_number FROM analytics_ingest_rejects ORDER BY 1"
                ).fetchall(),
                "documents": connection.execute(
                    "SELECT audience, period, figures::text FROM analytics_report_documents WHERE is_current ORDER BY 1"
                ).fetchall(),
                "inbox": sorted(path.name for path in (get_settings().home / "inbox" / "done").iterdir()),
                "failed checks": sorted(self._failed_checks(connection)),
            }

    def _failed_checks(self, connection: Connection) -> Iterator[str]:
        settings = get_settings()
        findings = [run_check(check, connection, settings) for check in all_checks()]
        findings += failed_partition_findings(self.instance, connection, settings, partitioned_assets())
        yield from (f"{finding.check} of {finding.subject}" for finding in findings if not finding.passed)


def _tables() -> list[str]:
    return ["analytics_events", *(a.name for a in AGGREGATES), *(t.table for t in METRIC_TABLES), *_KEPT]


def _content(connection: Connection, table: str) -> tuple[int, str]:
    """Return how many rows a table or view has, and a checksum of them in any order."""
    without = " - ".join(["to_jsonb(t)", *(f"'{name}'" for name in _TIMES)])
    rows = sorted(text for (text,) in connection.execute(f"SELECT ({without})::text FROM {table} AS t"))
    return len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()
