"""A company's monthly report leaves when the month has ended for it, in its own zone and currency, under its name."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from dagster import DagsterInstance

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.companies.local_windows import local_months
from analytics_pipeline.messages.recipients import AT_ONCE, add_recipient
from analytics_pipeline.metrics.tables import METRIC_TABLES, close_metric
from analytics_pipeline.orchestration.messages import mail_reports
from analytics_pipeline.reports.documents import Document, current_document
from analytics_pipeline.reports.mail import documents_due
from analytics_pipeline.reports.monthly import publish_company_months
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.messages.documents import last_month
from analytics_pipeline_tests.metrics.closing import close_inputs

pytestmark = pytest.mark.slow

MONTH = date.fromisoformat(f"{last_month()}-01")
UTC_MONTH = Window.of_month(MONTH)
MONTH_BEFORE = Window.of_month(MONTH - timedelta(days=1))
ZONES = {"kiwi": "Pacific/Auckland", "hula": "Pacific/Honolulu", "acme": "UTC"}


@pytest.fixture
def connection(database: Database, environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Connection]:
    """Three companies with a payment just before, and one just after, the month ends where each of them is."""
    environment.setenv("ANALYTICS_SMTP_URL", (tmp_path / "mails").as_uri())
    (tmp_path / "mails").mkdir()
    get_settings.cache_clear()
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO analytics_companies (company_id, name, time_zone, currency) VALUES "
            "('kiwi', 'Kiwi\r\nBcc: x <b>Ltd', 'Pacific/Auckland', 'NZD'), ('hula', 'Hula', 'Pacific/Honolulu', 'USD')"
        )
        for company, zone in ZONES.items():
            (window,) = local_months(connection, [MONTH], zone)
            currency = {"kiwi": "NZD", "hula": "USD", "acme": "EUR"}[company]
            for instant, value in ((window.end - timedelta(minutes=1), "100"), (window.end, "7")):
                add_event(connection, f"{instant:%Y-%m-%dT%H:%M}", company_id=company, value=value, currency=currency)
            add_recipient(connection, company, MONTHLY_REPORT, f"cfo@{company}.com", send_at=AT_ONCE)
        close_inputs(connection, Window(MONTH_BEFORE.start, UTC_MONTH.end))
        _close(connection, MONTH_BEFORE)
        yield connection


def _close(connection: Connection, month: Window, ended_by: datetime | None = None) -> None:
    """Close a month as far as it had ended by an instant."""
    for table in METRIC_TABLES:
        close_metric(connection, table, Granularity.MONTH, month, "EUR", ended_by=ended_by)


def _revenue(document: Document) -> tuple[str, str]:
    return next((figure.label, figure.value) for figure in document.figures if figure.label.startswith("Total revenue"))


def _mails(folder: Path) -> dict[str, str]:
    found = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in folder.rglob("*.eml")]
    return {mail["To"]: mail["Subject"] for mail in found}


def test_auckland_does_not_wait_for_honolulu(connection: Connection, database: Database, tmp_path: Path) -> None:
    settings = get_settings()
    (kiwis,) = local_months(connection, [MONTH], ZONES["kiwi"])
    with DagsterInstance.ephemeral() as instance:
        assert mail_reports(instance, connection, settings).report.sent == 0
        _close(connection, UTC_MONTH, kiwis.end + timedelta(minutes=5))
        assert documents_due(connection, settings) == [("kiwi", MONTH)]
        done = mail_reports(instance, connection, settings)
        assert (done.report.sent, done.held) == (1, [])
        made = current_document(connection, MONTHLY_REPORT, "kiwi", f"{MONTH:%Y-%m}")
        assert (made.document.period_end, _revenue(made.document)) == (kiwis.end, ("Total revenue, NZD", "100.00"))
        (subject,) = _mails(tmp_path / "mails").values()
        assert subject == f"Monthly report {MONTH:%B %Y}: Kiwi Bcc: x <b>Ltd"
        assert mail_reports(instance, connection, settings).report.sent == 0


def test_each_report_of_a_month_is_of_the_month_where_its_company_is(
    connection: Connection, database: Database
) -> None:
    _close(connection, UTC_MONTH)
    made = {one.document.company_id: one for one in publish_company_months(connection, get_settings(), MONTH)}
    shown = {key: _revenue(one.document) for key, one in made.items()}
    currencies = {"acme": "EUR", "hula": "USD", "kiwi": "NZD"}
    assert shown == {key: (f"Total revenue, {currency}", "100.00") for key, currency in currencies.items()}
    ends = {key: one.document.period_end for key, one in made.items()}
    assert ends["kiwi"] < ends["acme"] < ends["hula"]
