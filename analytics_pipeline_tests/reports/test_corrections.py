"""A document is corrected when a figure differs, says which and by how much, and is nothing else."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from pypdf import PdfReader

from analytics_pipeline.cli import main
from analytics_pipeline.health.check_result import Severity
from analytics_pipeline.health.checks import all_checks, run_check
from analytics_pipeline.health.results import record_result
from analytics_pipeline.messages.decisions import list_messages
from analytics_pipeline.messages.mailed import outdated_mails
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import REVENUE_METRICS, close_metric
from analytics_pipeline.reports.catalogue import SECTION_NAMES, parts_of, sections_of
from analytics_pipeline.reports.documents import current_document, hold
from analytics_pipeline.reports.load import load_report
from analytics_pipeline.reports.mail import count_missing, enqueue_wanted
from analytics_pipeline.reports.monthly import (
    MonthlyDocument,
    judge_month,
    publish_company_months,
    publish_platform_month,
)
from analytics_pipeline.reports.shown_figures import shown_figures
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.reports import samples
from analytics_pipeline_tests.reports.ledger import COMPANIES, JANUARY, close_months

MONTH = date(2026, 1, 1)
REPORT, PERIOD = "monthly_report", "2026-01"
AUDIENCES = (None, *COMPANIES)


def publish(connection: Connection) -> dict[str | None, MonthlyDocument]:
    """Make the month's documents, of all companies and of each."""
    settings = get_settings()
    made = [
        publish_platform_month(connection, settings, MONTH),
        *publish_company_months(connection, settings, MONTH),
    ]
    return {one.document.company_id: one for one in made}


def judge(connection: Connection) -> dict[str | None, str | None]:
    """Judge the month as the gate does, and hold its documents or let them go."""
    held = judge_month(connection, get_settings(), MONTH, AUDIENCES)
    for company, because in held.items():
        hold(connection, REPORT, PERIOD, because, companies=[company])
    return held


def check_over(connection: Connection, window: Window) -> bool:
    """Run the check of missing rates as a run over these days does, and tell whether it passed."""
    close_metric(connection, REVENUE_METRICS, Granularity.DAY, window, "EUR")
    (check,) = [
        c for c in all_checks() if (c.name.endswith("amounts_converted"), c.subject) == (True, "revenue_metrics")
    ]
    found = run_check(check, connection, get_settings(), window)
    record_result(connection, found, window)
    return found.passed


def page_one(made: MonthlyDocument) -> str:
    return " ".join(PdfReader(made.published.path).pages[0].extract_text().split())


def send_everything(connection: Connection) -> None:
    connection.execute(
        "UPDATE analytics_outbox SET state = 'sent', sent_at = clock_timestamp(), settled_at = now() "
        "WHERE state = 'pending'"
    )


def call(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["outbox", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(autouse=True)
def _empty_register(connection: Connection) -> None:
    for table in ("analytics_outbox", "analytics_report_recipients", "analytics_report_documents"):
        connection.execute(f"DELETE FROM {table}".encode())
    # Days are closed only to be checked.
    connection.execute("DELETE FROM analytics_metric_periods WHERE granularity = 'day'")


def mail_everybody(connection: Connection) -> None:
    """Mail each document to two recipients of its own, of whom one asked for corrections."""
    for company in AUDIENCES:
        add_recipient(connection, company, REPORT, f"cfo@{company or 'platform'}.com")
        add_recipient(connection, company, REPORT, f"auditor@{company or 'platform'}.com", corrections=True)
        call("resend", *(["--company", company] if company else ["--all-companies"]), "--period", PERIOD)
    send_everything(connection)


def pay_late(connection: Connection) -> None:
    """Let a payment of 10.00 EUR in the month come in after it was closed."""
    add_event(connection, "2026-01-06T13:00", company_id="acme", user_id="ann", value="10")


@pytest.mark.slow
def test_a_month_closed_again_is_the_same_document_whatever_a_run_found_beyond_it(connection: Connection) -> None:
    # A run that began in the month also covered days of the next one without rates.
    add_event(connection, "2026-02-03T12:00", company_id="acme", value="700", currency="JPY")
    beyond = Window(JANUARY.end - timedelta(days=1), JANUARY.end + timedelta(days=4))
    assert not check_over(connection, beyond)
    first = publish(connection)
    for made in first.values():
        assert "Checks of the data" not in page_one(made)
        assert (made.document.cautions, made.document.corrections) == ((), ())
    assert judge(connection) == dict.fromkeys(AUDIENCES)
    mail_everybody(connection)

    # Closed again, with one more failed check.
    close_months(connection)
    assert not check_over(connection, Window(beyond.start, beyond.end + timedelta(days=1)))
    again = publish(connection)
    assert {c: made.document for c, made in again.items()} == {c: made.document for c, made in first.items()}
    assert judge(connection) == dict.fromkeys(AUDIENCES)
    assert outdated_mails(connection) == []
    assert count_missing(connection) == 0
    assert {row["document"] for row in json.loads(call("list", "--json"))} == {"current"}


@pytest.mark.slow
def test_a_figure_that_differs_corrects_the_document_which_says_which_and_by_how_much(connection: Connection) -> None:
    first = publish(connection)
    pay_late(connection)
    assert "lack events of 6 Jan 2026" in (judge(connection)["acme"] or "")
    close_months(connection)
    held = judge(connection)
    assert held["globex"] is None
    assert "from its data now: it is to be made again" in (held["acme"] or "")
    corrected = publish(connection)
    assert judge(connection) == dict.fromkeys(AUDIENCES)
    connection.execute("""UPDATE analytics_report_documents SET cautions = '["x"]' WHERE company_id = 'acme'""")
    assert "page one says of its data what is no longer so" in (judge(connection)["acme"] or "")
    assert corrected["globex"].document == first["globex"].document
    for company in (None, "acme"):
        made = corrected[company]
        total = made.document.corrections[0]
        assert (total.name, total.difference) == ("headline/value/totalRevenue", "10.00")
        before, after = (f"{float(value or 0):,.2f}" for value in (total.before, total.after))
        number = len({change.label for change in made.document.corrections})
        page = page_one(made)
        assert f"Corrected: {number} figures differ from the document of this period that was made before." in page
        assert f"Total revenue, EUR {after}, before {before} (+10.00);" in page
        assert f"and {number - 5} more." in page
    names = {change.name for change in corrected[None].document.corrections}
    assert {"companies/totalRevenue/acme", "revenueByCurrency/revenue/EUR", "events/value/all"} <= names
    assert not any(name.startswith(("headline/value/mrr", "companies/totalRevenue/globex")) for name in names)
    # It stays the same document, however often it is made.
    again = publish(connection)
    assert {c: made.document for c, made in again.items()} == {c: made.document for c, made in corrected.items()}


@pytest.mark.slow
def test_a_mailed_document_that_is_corrected_is_shown_and_resent_by_one_command(connection: Connection) -> None:
    publish(connection)
    judge(connection)
    mail_everybody(connection)
    pay_late(connection)
    close_months(connection)
    publish(connection)
    unjudged = json.loads(call("resend", "--outdated", "--json"))
    assert (len(unjudged["heldBack"]), unjudged["mails"]) == (2, [])
    assert call("resend", "--outdated").count("is held back: it has not been judged yet.\n") == 2
    assert judge(connection) == dict.fromkeys(AUDIENCES)
    assert sorted((mail.company_id or "", mail.relation) for mail in outdated_mails(connection)) == [
        ("", "corrected"),
        ("acme", "corrected"),
    ]
    outdated = json.loads(call("list", "--outdated", "--json"))
    assert len(outdated) == 4
    assert outdated[0]["changedFigures"][0]["difference"] == "10.00"
    assert "corrected since:" in call("list")

    # Who asked for corrections gets theirs by themselves.
    assert count_missing(connection) == 2
    assert enqueue_wanted(connection, get_settings()) == 2
    assert enqueue_wanted(connection, get_settings()) == 0
    pending = list_messages(connection, state="pending")
    assert sorted(message.target for message in pending) == ["auditor@acme.com", "auditor@platform.com"]
    assert all(message.subject.startswith("Corrected: Monthly report January 2026") for message in pending)
    (text,) = fetch_row(
        connection, "SELECT text_body FROM analytics_outbox WHERE outbox_id = %s", [pending[0].outbox_id]
    )
    assert "This replaces the report of this period that was sent before: " in text
    assert "(+10.00)\n" in text
    send_everything(connection)

    checks = {check.subject: check for check in all_checks() if check.name == "mailed_documents_current"}
    found = run_check(checks["company_reports"], connection, get_settings())
    assert (found.passed, found.severity) == (False, Severity.WARNING)
    assert "2026-01 for the company 'acme', corrected since: " in found.summary
    assert "outbox resend --outdated" in found.text

    # One command mails the others, once, and shows before whom.
    preview = json.loads(call("resend", "--outdated", "--preview", "--json"))
    assert [(mail["address"], mail["companyId"]) for mail in preview["mails"]] == [
        ("cfo@platform.com", None),
        ("cfo@acme.com", "acme"),
    ]
    assert preview["mails"][1]["changedFigures"][0]["difference"] == "10.00"
    assert preview["added"] == 0
    assert list_messages(connection, state="pending") == []
    told = "cfo@acme.com: monthly_report of 2026-01 for the company 'acme', corrected since: "
    assert told in call("resend", "--outdated")
    assert json.loads(call("resend", "--outdated", "--json"))["added"] == 0
    send_everything(connection)
    assert outdated_mails(connection) == []
    assert all(run_check(check, connection, get_settings()).passed for check in checks.values())
    states = [row["document"] for row in json.loads(call("list", "--json"))]
    assert (states.count("current"), states.count("replaced")) == (6, 4)


@pytest.mark.slow
def test_a_document_of_an_older_version_is_not_compared_and_neither_is_what_it_did_not_show(
    connection: Connection,
) -> None:
    made = publish(connection)["globex"].document
    older = "UPDATE analytics_report_documents SET definitions_version = %s WHERE company_id = 'globex'"
    connection.execute(older, [1])
    _differ(connection, "revenueByMonth/totalRevenue/2025-12", "1.00")
    assert publish(connection)["globex"].document.corrections == ()
    # Under the same definitions a figure of the trend makes a correction, wherever it stands.
    connection.execute(older, [DEFINITIONS_VERSION])
    _differ(connection, "revenueByMonth/totalRevenue/2025-12", "1.00")
    (change,) = publish(connection)["globex"].document.corrections
    assert (change.label, change.before, change.after, change.difference) == (
        "Revenue by month, EUR, 2025-12: Total revenue",
        "1.00",
        "1000.00",
        "999.00",
    )
    # A month that was shown by older definitions differs by definition.
    connection.execute(
        "UPDATE analytics_report_documents SET shown_figures = jsonb_set(shown_figures, '{figures}', ("
        "SELECT jsonb_agg(f || CASE WHEN f ->> 'name' ~ '2025-12' THEN '{\"version\": 1}' ELSE '{}' END::jsonb) "
        "FROM jsonb_array_elements(shown_figures -> 'figures') AS f)) WHERE company_id = 'globex'"
    )
    assert publish(connection)["globex"].document.corrections == ()
    # An earlier release showed no crypto: that this one does is no correction.
    connection.execute(
        "UPDATE analytics_report_documents SET shown_figures = jsonb_build_object("
        "'columns', (SELECT jsonb_agg(c) FROM jsonb_array_elements(shown_figures -> 'columns') AS c "
        "WHERE c #>> '{}' !~ '^crypto/'), "
        "'figures', (SELECT jsonb_agg(f) FROM jsonb_array_elements(shown_figures -> 'figures') AS f "
        "WHERE f ->> 'name' !~ '^crypto/')) WHERE company_id = 'globex'"
    )
    assert publish(connection)["globex"].document.corrections == ()
    # Nor one of the rates, which are rows of a table that it showed.
    connection.execute(
        "UPDATE analytics_report_documents SET shown_figures = jsonb_set(shown_figures, '{figures}', ("
        "SELECT jsonb_agg(f) FROM jsonb_array_elements(shown_figures -> 'figures') AS f "
        "WHERE f ->> 'name' !~ '^subscriptionRates/.*/newCustomers$')) WHERE company_id = 'globex'"
    )
    shown = "SELECT count(*) FROM analytics_report_documents WHERE shown_figures::text ~ 'subscriptionRates/value/newC'"
    assert fetch_row(connection, shown) == (len(AUDIENCES) - 1,)
    assert publish(connection)["globex"].document.corrections == ()
    assert publish(connection)["globex"].document.sha256 == made.sha256


@pytest.mark.slow
def test_a_correction_is_told_from_what_the_recipient_was_mailed_and_a_document_withdrawn_is_named(
    connection: Connection,
) -> None:
    """Of two corrections in a row each recipient reads what has changed since their own copy."""
    add_event(connection, "2026-01-20T12:00", company_id="initech", user_id="pam", value="100")
    close_months(connection)
    settings = get_settings()

    def mail(*arguments: str) -> None:
        judge_and_let_go(connection, "initech")
        call("resend", "--company", "initech", "--period", PERIOD, *arguments)
        send_everything(connection)

    def judge_and_let_go(connection: Connection, company: str) -> None:
        assert judge_month(connection, settings, MONTH, [company]) == {company: None}
        hold(connection, REPORT, PERIOD, None, companies=[company])

    publish(connection)
    add_recipient(connection, "initech", REPORT, "first@initech.com")
    mail()
    for value, address in (("20", "second@initech.com"), ("3", "third@initech.com")):
        add_event(connection, "2026-01-21T12:00", company_id="initech", user_id="pam", value=value)
        close_months(connection)
        publish(connection)
        add_recipient(connection, "initech", REPORT, address)
        if address.startswith("second"):
            connection.execute("UPDATE analytics_report_recipients SET active = false WHERE address ~ 'first@initech'")
            mail()
            connection.execute("UPDATE analytics_report_recipients SET active = true WHERE address ~ 'first@initech'")
    judge_and_let_go(connection, "initech")
    call("resend", "--company", "initech", "--period", PERIOD)
    texts: dict[str, str] = dict(
        connection.execute(
            "SELECT target, subject || E'\n' || text_body FROM analytics_outbox WHERE state = 'pending'"
        ).fetchall()
    )
    assert "Total revenue, EUR 123.00, before 100.00 (+23.00)" in texts["first@initech.com"]
    assert "Total revenue, EUR 123.00, before 120.00 (+3.00)" in texts["second@initech.com"]
    assert texts["third@initech.com"].startswith("Monthly report January 2026: initech")
    send_everything(connection)

    connection.execute("DELETE FROM analytics_events WHERE company_id = 'initech'")
    close_months(connection)
    publish(connection)
    assert {
        (mail.relation, tuple(mail.addresses)) for mail in outdated_mails(connection) if mail.company_id == "initech"
    } == {("withdrawn", ("first@initech.com", "second@initech.com", "third@initech.com"))}
    assert json.loads(call("resend", "--outdated", "--company", "initech", "--json"))["mails"] == []


@pytest.mark.slow
def test_a_document_of_an_earlier_layout_with_the_same_figures_is_not_corrected(connection: Connection) -> None:
    add_recipient(connection, "acme", REPORT, "cfo@acme.com", corrections=True)
    made = publish(connection)["acme"].document
    judge(connection)
    call("resend", "--company", "acme", "--period", PERIOD)
    send_everything(connection)
    # As a release left it that knew neither the sentences of the first page nor the bridge by month.
    connection.execute(
        "UPDATE analytics_report_documents SET sha256 = repeat('0', 64), shown_figures = jsonb_build_object("
        "'columns', (SELECT jsonb_agg(c) FROM jsonb_array_elements(shown_figures -> 'columns') AS c "
        "WHERE c #>> '{}' !~ '^mrrMovementsByMonth/'), "
        "'figures', (SELECT jsonb_agg(f) FROM jsonb_array_elements(shown_figures -> 'figures') AS f "
        "WHERE f ->> 'name' !~ '^mrrMovementsByMonth/')) WHERE company_id = 'acme'"
    )
    again = publish(connection)["acme"]
    assert (again.document.corrections, again.document.sha256) == ((), made.sha256)
    assert "Corrected" not in page_one(again)
    assert judge(connection)["acme"] is None
    assert [mail.relation for mail in outdated_mails(connection)] == ["same figures"]
    assert enqueue_wanted(connection, get_settings()) == 0


@pytest.mark.slow
def test_every_number_that_a_section_of_figures_prints_has_a_name_of_its_own(connection: Connection) -> None:
    for report in (
        samples.golden(),
        samples.golden(None),
        load_report(connection, None, JANUARY, "EUR", parts_of(SECTION_NAMES)),
    ):
        shown = shown_figures(report, sections_of(SECTION_NAMES))
        names = [figure.name for figure in shown.figures]
        assert len(names) == len(set(names))
        assert {"/".join(name.split("/")[:2]) for name in names} <= set(shown.columns)
        assert {name.split("/")[0] for name in names} >= {
            "headline",
            "revenueByMonth",
            "mrrMovements",
            "users",
            "crypto",
        }
        assert all(figure.value is None or float(figure.value) is not None for figure in shown.figures)
        assert not any(name.startswith(("dataQuality", "rejects", "reconciliation", "alerts")) for name in names)


@pytest.mark.slow
def test_documents_of_earlier_releases_are_compared_by_what_is_known_of_them(connection: Connection) -> None:
    made = publish(connection)["acme"].document
    (migration,) = Path("sql/migrations").glob("0028_*.sql")
    connection.execute(
        'UPDATE analytics_report_documents SET shown_figures = \'{"columns": [], "figures": []}\' '
        "WHERE company_id = 'acme'"
    )
    connection.execute(migration.read_text().encode())
    assert publish(connection)["acme"].document == made
    connection.execute(
        'UPDATE analytics_report_documents SET shown_figures = \'{"columns": [], "figures": []}\', '
        "figures = jsonb_set(figures, '{0,value}', '\"\u22121,234.56\"') WHERE company_id = 'acme'"
    )
    connection.execute(migration.read_text().encode())
    change = publish(connection)["acme"].document.corrections[0]
    assert (change.name, change.before) == ("headline/value/totalRevenue", "-1234.56")
    assert current_document(connection, REPORT, "acme", PERIOD).document.corrections[0] == change


def _differ(connection: Connection, name: str, value: str) -> None:
    """Let the documents of globex have shown another value of a figure."""
    connection.execute(
        "UPDATE analytics_report_documents SET shown_figures = jsonb_set(shown_figures, '{figures}', ("
        "SELECT jsonb_agg(f || CASE WHEN f ->> 'name' = %s THEN jsonb_build_object('value', %s::text) ELSE '{}' END "
        "ORDER BY n) FROM jsonb_array_elements(shown_figures -> 'figures') WITH ORDINALITY AS e (f, n))) "
        "WHERE company_id = 'globex'",
        [name, value],
    )
