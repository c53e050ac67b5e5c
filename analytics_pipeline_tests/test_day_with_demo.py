"""A day's work with the finished demo: what happens to it, and how long it takes until everything is green again."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analytics_pipeline.sample.profiles import COMPANIES
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.commands import running
from analytics_pipeline_tests.test_up import Up, running_up

pytestmark = [pytest.mark.daemon, pytest.mark.endurance]

REPORT = """
query ($month: String!) {
  assetNodeOrError(assetKey: {path: ["monthly_report"]}) {
    ... on AssetNode { latestMaterializationByPartition(partitions: [$month]) { timestamp } }
  }
}
"""
CHECKS = """
{
  assetNodes {
    assetKey { path }
    assetChecksOrError {
      ... on AssetChecks { checks { name executionForLatestMaterialization { status } } }
    }
  }
}
"""
# From an event to the checks after its report are several ticks of sensors and as many runs.
WITHIN = 900
MAILED = "mailed_documents_current"


@pytest.fixture
def home(environment: pytest.MonkeyPatch, tmp_path: Path, embedded_home: Path) -> Path:
    """A home of its own, as `make demo` has one, without any setting."""
    for name in ("ANALYTICS_DATABASE_URL", "ANALYTICS_ARTIFACTS", "ANALYTICS_RETENTION"):
        environment.delenv(name)
    for name in ("DAGSTER_HOME", "DAGSTER_POSTGRES_URL"):
        environment.delenv(name, raising=False)
    environment.setenv("ANALYTICS_HOME", str(tmp_path))
    get_settings.cache_clear()
    return tmp_path


def test_what_happens_in_a_day_is_green_again_or_named(home: Path, port: int) -> None:
    """A late payment, a corrected rate, a signed month that changes, and its sign-off withdrawn."""
    _run("demo", "--months", "3", "--companies", "2", "--scale", "0.1")
    month = (datetime.now(UTC).date().replace(day=1) - timedelta(days=1)).replace(day=1)
    name, day = f"{month:%Y-%m}", f"{month + timedelta(days=9)}"
    took: dict[str, float] = {}
    with _up(home, port) as up:
        with _timed(took, "the start of up to all green"):
            _until_green(up)

        with _timed(took, "a late payment to all green"):
            made = _report_made(up, month)
            _late_payment(day, "100.00")
            _until(lambda: _report_made(up, month) > made)
            _until_green(up)

        with _timed(took, "a corrected rate to all green"):
            made = _report_made(up, month)
            rates = home / "corrected.csv"
            rates.write_text(f"rate_date,base,quote,rate\n{day},EUR,USD,2.0\n")
            _run("fx", "load", str(rates))
            _until(lambda: _report_made(up, month) > made)
            _until_green(up)

        with _timed(took, "a late payment of a signed month to its restatement in the UI"):
            _run("periods", "sign-off", name, "--by", "Ann")
            _late_payment(day, "7.00")
            _until(lambda: "no_restatements" in _failed(up))
        (restated, *_) = [s for s in _json("periods", "restatements") if s["companyId"] is None]
        assert restated["month"] == name
        assert {r["figure"] for r in restated["restatements"]} >= {"totalRevenue"}
        assert [cause["cause"] for cause in restated["causes"]] == ["late events"]

        _run("periods", "withdraw", name, "--by", "Ann", "--reason", "a payment was missing")
        assert _json("periods", "restatements") == []
    # What it is run for, beside the proof.
    print("\n".join(f"{seconds:7.0f} s from {span}" for span, seconds in took.items()))  # noqa: T201


def _run(*arguments: str) -> str:
    with running(*arguments) as command:
        code, out, error = command.result(within=None)
    assert code == 0, f"{arguments}: {error or out}"
    return out


def _json(*arguments: str) -> Any:
    return json.loads(_run(*arguments, "--json"))


def _late_payment(day: str, amount: str) -> None:
    what = ("--type", "payment.received", "--category", "revenue", "--value", amount, "--currency", "EUR")
    _run("record", COMPANIES[0].slug, *what, "--timestamp", f"{day}T10:00:00Z")


@contextmanager
def _up(home: Path, port: int) -> Iterator[Up]:
    with running_up(port) as command:
        up = Up(command, home, port)
        try:
            up.until_said(f"Dagster's UI is at http://127.0.0.1:{port}")
            yield up
        finally:
            # Killed, it would leave its parts running.
            command.send(signal.SIGTERM)
            command.result(within=None)


@contextmanager
def _timed(took: dict[str, float], span: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    took[span] = time.monotonic() - began


def _until(is_so: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < WITHIN, f"still so: {_problems()}"
        time.sleep(2)


def _report_made(up: Up, month: date) -> float:
    (made,) = up.ask(REPORT, month=f"{month}")["assetNodeOrError"]["latestMaterializationByPartition"]
    return float(made["timestamp"])


def _failed(up: Up) -> set[str]:
    """Return the checks that the UI shows as failed."""
    return {
        check["name"]
        for node in up.ask(CHECKS)["assetNodes"]
        for check in node["assetChecksOrError"].get("checks", [])
        if (check["executionForLatestMaterialization"] or {}).get("status") not in (None, "SUCCEEDED")
    }


def _until_green(up: Up) -> None:
    """Wait until nothing is red in the UI or in checks made now; who got a report that is corrected is for a person."""

    def is_green() -> bool:
        wrong = _failed(up) | {problem.partition(":")[0] for problem in _problems()}
        if wrong == {MAILED}:
            _run("outbox", "resend", "--outdated")
        return not wrong

    _until(is_green)


def _problems() -> list[str]:
    with running("doctor", "--json") as command:
        _, out, _ = command.result(within=None)
    return [f"{f['check']}: {f['summary']}" for f in json.loads(out)["findings"] if f["state"] in ("warning", "error")]
