"""Documents are stored whole, many at once in processes that don't outlive their parent, and recorded."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from pypdf import PdfReader

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.reports.documents import current_document
from analytics_pipeline.reports.monthly import publish_company_months, publish_platform_month
from analytics_pipeline.reports.order import ReportOrder
from analytics_pipeline.reports.preview import first_page
from analytics_pipeline.reports.publish import Job, publish_all, publish_order, write_order
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.waiting import LockTimeoutError
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.reports import samples
from analytics_pipeline_tests.reports.calendars import EUROS
from analytics_pipeline_tests.reports.ledger import COMPANIES

MONTH = date(2026, 1, 1)
ORDER = ReportOrder(start_date=MONTH, end_date=date(2026, 1, 31), sections=("headline",)).accept(EUROS)
_PATIENCE_SECONDS = 30


def jobs(count: int) -> list[Job]:
    return [Job(samples.golden(f"company {n}"), replace(ORDER, company_id=f"company {n}")) for n in range(count)]


@pytest.mark.slow
def test_many_are_the_same_bytes_in_processes_as_here(tmp_path: Path) -> None:
    here = [made for _, made in publish_all(str(tmp_path / "here"), jobs(3))]
    spread = [made for _, made in publish_all(str(tmp_path / "spread"), jobs(20))]

    assert len(spread) == 20
    assert [one.sha256 for one in spread[:3]] == [one.sha256 for one in here]
    assert len({one.name for one in spread}) == len({one.sha256 for one in spread}) == 20
    assert all(sha256(Path(one.path).read_bytes()).hexdigest() == one.sha256 for one in spread)
    assert all(f"company {n}" in PdfReader(one.path).pages[0].extract_text() for n, one in enumerate(spread))


@pytest.mark.slow
def test_a_document_that_cannot_be_stored_stops_the_rest(tmp_path: Path) -> None:
    root = tmp_path / "a file"
    root.write_text("no folder")

    with pytest.raises(AnalyticsError, match="ANALYTICS_ARTIFACTS"):
        list(publish_all(str(root), jobs(20)))


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 20], ids=["here", "in processes"])
def test_a_report_that_cannot_be_rendered_keeps_no_other(tmp_path: Path, count: int) -> None:
    asked = jobs(count)
    broken = replace(asked[1].report, revenue=None)  # type: ignore[arg-type]
    made: list[str | None] = []
    with pytest.raises(AnalyticsError, match=rf"1 of {count} reports .* 'company 1'"):
        made.extend(
            job.report.company_id
            for job, _ in publish_all(str(tmp_path), [replace(asked[1], report=broken), *asked[2:], asked[0]])
        )

    assert made == [f"company {n}" for n in (*range(2, count), 0)]


@pytest.mark.faults
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the processes in /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from analytics_pipeline.reports.publish import publish_all;"
        "from analytics_pipeline_tests.reports.test_publish import jobs;"
        "found = publish_all(sys.argv[1], jobs(100)); next(found); print('at work', flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"at work\n"
    workers = _children(parent.pid)
    parent.kill()
    parent.wait()
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while (alive := [pid for pid in workers if _is_running(pid)]) and time.monotonic() < give_up:
        time.sleep(0.05)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)

    assert workers
    assert alive == []


def _children(parent: int) -> list[int]:
    return [
        int(pid) for task in Path(f"/proc/{parent}/task").iterdir() for pid in (task / "children").read_text().split()
    ]


def _is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_monthly_documents_are_recorded_with_their_figures(ledger: Database, connection: Connection) -> None:
    platform = publish_platform_month(connection, ledger.settings, MONTH, run_id="run 1")
    companies = list(publish_company_months(connection, ledger.settings, MONTH, run_id="run 1"))

    assert [one.document.company_id for one in companies] == list(COMPANIES)
    for one in (platform, *companies):
        recorded = current_document(connection, "monthly_report", one.document.company_id, "2026-01")
        assert recorded.document == one.document
        assert recorded.held_because is not None
        text = PdfReader(one.published.path).pages[0].extract_text()
        assert all(figure.value in text for figure in one.document.figures)
    acme, globex = (Path(one.published.path).read_bytes() for one in companies)
    assert "globex" not in _text(acme)
    assert "acme" not in _text(globex)


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session: runs can't overlap there")
def test_runs_over_a_month_take_turns(ledger: Database, connection: Connection) -> None:
    documents = publish_company_months(connection, ledger.settings, MONTH)
    next(documents)
    with ledger.connect(autocommit=True) as other:
        with other.brief_waits(0.2), pytest.raises(LockTimeoutError):
            publish_platform_month(other, ledger.settings, MONTH)
        assert publish_platform_month(other, ledger.settings, date(2025, 12, 1))
        assert len(list(documents)) == len(COMPANIES) - 1
        assert publish_platform_month(other, ledger.settings, MONTH)


@pytest.mark.slow
def test_a_company_without_figures_any_more_has_no_document_that_counts(
    ledger: Database, connection: Connection
) -> None:
    february = date(2026, 2, 1)
    add_event(connection, "2026-02-03T12:00", company_id="passing", value="5")
    try:
        before = list(publish_company_months(connection, ledger.settings, february))
    finally:
        connection.execute("DELETE FROM analytics_events WHERE company_id = 'passing'")
    platform = publish_platform_month(connection, ledger.settings, february)
    after = list(publish_company_months(connection, ledger.settings, february))

    assert [one.document.company_id for one in before] == [*COMPANIES, "passing"]
    assert [one.document.company_id for one in after] == list(COMPANIES)
    for one in (platform, *after):
        assert current_document(connection, "monthly_report", one.document.company_id, "2026-02")
    with pytest.raises(AnalyticsError, match="no monthly_report of 2026-02"):
        current_document(connection, "monthly_report", "passing", "2026-02")


@pytest.mark.slow
def test_a_rerun_replaces_the_document_and_keeps_the_earlier_revision(ledger: Database, connection: Connection) -> None:
    order = ReportOrder(
        company_id="acme", start_date=MONTH, end_date=date(2026, 1, 31), sections=("data-quality",), format="json"
    ).accept(EUROS)
    first, again = (publish_order(connection, ledger.settings, order) for _ in range(2))
    add_event(connection, "2026-01-06T13:00", company_id="acme", value="5")
    try:
        changed = publish_order(connection, ledger.settings, order)
    finally:
        connection.execute("DELETE FROM analytics_events WHERE value = 5")

    assert (again.sha256, again.earlier_revision) == (first.sha256, None)
    assert changed.name == first.name
    assert changed.sha256 != first.sha256
    assert changed.earlier_revision is not None
    kept = Path(changed.earlier_revision.removeprefix("file://"))
    assert sha256(kept.read_bytes()).hexdigest() == first.sha256


@pytest.mark.slow
def test_several_tables_as_csv_need_the_name_of_an_archive(connection: Connection, tmp_path: Path) -> None:
    order = ReportOrder(company_id="acme", start_date=MONTH, end_date=MONTH, sections=("mrr",), format="csv").accept(
        EUROS
    )

    with pytest.raises(AnalyticsError, match=r"name it mrr\.zip"):
        write_order(connection, order, tmp_path / "mrr.csv")
    assert write_order(connection, order, tmp_path / "mrr.zip").name is None
    assert list(tmp_path.iterdir()) == [tmp_path / "mrr.zip"]


def test_the_first_page_is_a_small_picture() -> None:
    picture = first_page(samples.pdf_of(samples.golden()).content)

    assert Image.open(BytesIO(picture)).width == 560
    assert len(picture) < 60_000


def _text(pdf: bytes) -> str:
    return "".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)
