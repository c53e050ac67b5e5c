"""A recipient gets the document, a workbook of the same figures, or a link to the document."""

from datetime import date
from io import BytesIO

import psycopg
import pytest
from openpyxl import load_workbook

from analytics_pipeline.mail_addresses import Mailbox
from analytics_pipeline.messages.channels.mail import MailChannel
from analytics_pipeline.messages.decisions import list_messages
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.messages.sending import send_due
from analytics_pipeline.messages.smtp import MailServer
from analytics_pipeline.reports.documents import current_document, document_files, hold
from analytics_pipeline.reports.mail import enqueue_report
from analytics_pipeline.reports.monthly import publish_company_months, publish_platform_month
from analytics_pipeline.reports.resend import resend_one
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.messages.mail_catcher import Catcher, mail_server

REPORT, PERIOD = "monthly_report", "2026-01"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.fixture(autouse=True)
def _documents(connection: Connection) -> None:
    """Let the month have its documents, free to go, and nobody who gets them."""
    for table in ("analytics_outbox", "analytics_report_recipients", "analytics_report_documents"):
        connection.execute(f"DELETE FROM {table}".encode())
    publish_platform_month(connection, get_settings(), date(2026, 1, 1))
    list(publish_company_months(connection, get_settings(), date(2026, 1, 1)))
    hold(connection, REPORT, PERIOD, None)


def _send(connection: Connection) -> Catcher:
    with mail_server() as catcher:
        server = MailServer.parse(f"smtp://127.0.0.1:{catcher.port}")
        channel = MailChannel(server, sender=Mailbox("a@example.com"), artifacts_root=get_settings().artifacts_root)
        send_due(connection, {"mail": channel}, domain="example.com")
    return catcher


@pytest.mark.slow
def test_each_recipient_gets_the_form_of_its_own(connection: Connection) -> None:
    settings = get_settings()
    for form in ("pdf", "xlsx", "link"):
        add_recipient(connection, "acme", REPORT, f"{form}@acme.com", form=form)
    assert resend_one(connection, settings, REPORT, "acme", PERIOD).added == 3
    by_form = {str(mail["To"]).partition("@")[0]: mail for mail in _send(connection).mails}
    document = current_document(connection, REPORT, "acme", PERIOD)
    files, lacks_workbook = document_files(connection, document.document_id)
    assert not lacks_workbook
    for form, media_type in (("pdf", "application/pdf"), ("xlsx", XLSX)):
        (attached,) = by_form[form].iter_attachments()
        assert (attached.get_content_type(), attached.get_filename()) == (
            media_type,
            f"monthly_report-2026-01-acme.{form}",
        )
        told = by_form[form].get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert f"SHA-256 of the document: {files[form].sha256}" in told
    (workbook,) = by_form["xlsx"].iter_attachments()
    book = load_workbook(BytesIO(workbook.get_content()))
    cells = {cell.value for sheet in book for row in sheet.iter_rows() for cell in row}
    headline = {figure.label: figure.value for figure in document.document.figures}
    assert float(headline["Total revenue, EUR"].replace(",", "")) in cells
    assert list(by_form["link"].iter_attachments()) == []
    body = by_form["link"].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert f"is here:\r\n{document.document.uri}" in body
    assert "too large" not in body


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (
            """shown_figures = jsonb_set(shown_figures, '{figures,0,value}', '"1.00"')""",
            "1 figure differs from its data now: it is to be made again",
        ),
        ("definitions_version = 0", "it follows version 0 of the definitions"),
    ],
)
def test_a_workbook_shows_the_figures_of_its_document_or_is_not_made(
    connection: Connection, other: str, reason: str
) -> None:
    add_recipient(connection, "acme", REPORT, "xlsx@acme.com", form="xlsx")
    add_recipient(connection, "acme", REPORT, "pdf@acme.com")
    # The document was made from other data, or by other definitions, than those of today.
    connection.execute(f"UPDATE analytics_report_documents SET {other} WHERE company_id = 'acme'".encode())
    done = resend_one(connection, get_settings(), REPORT, "acme", PERIOD)
    assert (done.added, done.mails) == (0, [])
    assert done.held[0].startswith(f"monthly_report of 2026-01 is held back: {reason}")
    assert list_messages(connection) == []


@pytest.mark.slow
def test_who_asks_for_another_form_gets_it_though_the_mail_waits(connection: Connection) -> None:
    settings = get_settings()
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    resend_one(connection, settings, REPORT, "acme", PERIOD)
    assert add_recipient(connection, "acme", REPORT, "cfo@acme.com", form="xlsx")
    assert enqueue_report(connection, settings, current_document(connection, REPORT, "acme", PERIOD)) == 0
    (mail,) = _send(connection).mails
    assert [attached.get_content_type() for attached in mail.iter_attachments()] == [XLSX]


@pytest.mark.slow
def test_a_workbook_of_another_company_is_attached_to_nothing(connection: Connection) -> None:
    for company in ("acme", "globex"):
        add_recipient(connection, company, REPORT, f"cfo@{company}.com", form="xlsx")
        resend_one(connection, get_settings(), REPORT, company, PERIOD)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(
            "UPDATE analytics_outbox AS a SET attachment_sha256 = g.attachment_sha256 FROM analytics_outbox AS g "
            "WHERE a.company_id = 'acme' AND g.company_id = 'globex'"
        )
