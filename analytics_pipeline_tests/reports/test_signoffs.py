"""A signed month keeps its figures and its document, and what changes later is a restatement with its cause."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner
from pypdf import PdfReader

from analytics_pipeline.cli import main
from analytics_pipeline.errors import AnalyticsError, RefusedError
from analytics_pipeline.fx.csv_rates import Reading
from analytics_pipeline.fx.exchange_rates import Rate
from analytics_pipeline.fx.rate_store import store_rates
from analytics_pipeline.health.check_result import Severity
from analytics_pipeline.health.checks import HealthCheck, all_checks, run_check
from analytics_pipeline.messages.decisions import list_messages
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.metrics.answers import movements_answer, revenue_answer, users_answer
from analytics_pipeline.metrics.signoffs import KEPT_FIGURES, SignOff, read_signoffs, sign_month, withdraw_signoffs
from analytics_pipeline.reports import monthly
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.load import load_report
from analytics_pipeline.reports.mail import Whom, count_missing, enqueue_report, enqueue_wanted
from analytics_pipeline.reports.restatements import describe_signoffs
from analytics_pipeline.settings import get_settings
from analytics_pipeline.store import read_artifact
from analytics_pipeline.timescale.audit import list_acts
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.messages.documents import last_month, publish
from analytics_pipeline_tests.metrics.signable import note_closed
from analytics_pipeline_tests.reports.ledger import BOTH, COMPANIES, DECEMBER, JANUARY, close_months

pytestmark = pytest.mark.slow

PERIOD = "2026-01"
AUDIENCES = (None, *COMPANIES)
LATE = "DELETE FROM analytics_events WHERE user_id = 'late'"


@pytest.fixture(autouse=True)
def _as_it_was(connection: Connection) -> Iterator[None]:
    yield
    for table in ("signoffs", "outbox", "report_recipients", "report_documents", "partitions", "check_results"):
        connection.execute(f"DELETE FROM analytics_{table}".encode())
    if connection.execute(LATE).rowcount:
        close_months(connection)


def close_again(connection: Connection) -> None:
    """Close both months as Dagster does, which notes what is closed."""
    close_months(connection)
    note_closed(connection, BOTH)


def publish_all(connection: Connection, period: str = PERIOD) -> None:
    """Record a document of each, without rendering it."""
    for company in AUDIENCES:
        publish(connection, company, period=period, definitions_version=3, content=f"%PDF {company}".encode())


def sign(connection: Connection, month: Window = JANUARY, company: str | None = None) -> list[str | None]:
    return sign_month(connection, month, "Ann Smith", "EUR", company, actor=None)


def signed(connection: Connection, company: str | None = None) -> SignOff:
    """Return the sign-off of January of a company, None: of all together."""
    (found,) = [s for s in read_signoffs(connection, None, JANUARY) if s.company_id == company]
    return found


def pay_late(connection: Connection, value: str = "10", day: str = "2026-01-06") -> None:
    add_event(connection, f"{day}T13:00", company_id="acme", user_id="late", value=value)


def _the_check() -> HealthCheck:
    (check,) = [c for c in all_checks() if c.name == "no_restatements"]
    return check


def call(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == status, done.output
    return done.output


def test_only_a_month_that_is_over_closed_not_stale_and_whose_checks_hold_can_be_signed(
    connection: Connection,
) -> None:
    def why(month: Window = JANUARY) -> str:
        with pytest.raises(RefusedError) as refused:
            sign(connection, month)
        assert read_signoffs(connection, None) == []
        return str(refused.value)

    now = database_now(connection)
    assert why(Window.of_month(now.date())) == f"{now:%Y-%m} can't be signed off: it is not over."
    assert why() == (
        "2026-01 can't be signed off: 6 of its assets are not closed, or stale: analytics_event_volume_hourly from "
        "2026-01-01 00:00 on, company_reports from 2026-01-01 00:00 on, monthly_report from 2026-01-01 00:00 on; its "
        "report has not been made; acme: its report has not been made; globex: its report has not been made."
    )
    note_closed(connection, BOTH)
    publish_all(connection)
    pay_late(connection)
    assert "1 of its assets is not closed, or stale: analytics_event_volume_hourly from 2026-01-06 13:00 on" in why()
    close_again(connection)
    assert why().count("its report was made before its figures were computed last") == 3
    publish_all(connection)
    publish(connection, "acme", period=PERIOD, definitions_version=3, content=b"2", cautions=("Not reconciled.",))
    assert why() == "2026-01 can't be signed off: acme: its report says of its data: Not reconciled."
    publish(connection, "acme", period=PERIOD, definitions_version=3)
    connection.execute(
        "INSERT INTO analytics_check_results VALUES "
        "('monthly_report', 'control_totals', %s, %s, false, 'error', 'an invoice is missing')",
        [JANUARY.start, JANUARY.end],
    )
    assert why() == (
        "2026-01 can't be signed off: the check control_totals of monthly_report has failed: an invoice is missing."
    )
    connection.execute("DELETE FROM analytics_check_results")
    connection.execute("UPDATE analytics_metric_periods SET definitions_version = 1 WHERE metric = 'user_metrics'")
    assert "to be computed again, because of: definitions version 1" in why()
    connection.execute("UPDATE analytics_metric_periods SET definitions_version = 3")

    assert sign(connection) == [None, "acme", "globex"]
    with pytest.raises(RefusedError, match="it is signed already: withdraw that first"):
        sign(connection)


def test_every_figure_of_the_answers_is_kept_exactly(connection: Connection) -> None:
    note_closed(connection, BOTH)
    publish_all(connection)
    sign(connection)
    query = (
        "SELECT metric, figure, value FROM analytics_signed_figures JOIN analytics_signoffs USING (signoff_id) "
        "WHERE company_id IS NOT DISTINCT FROM %s AND withdrawn_at IS NULL"
    )
    for company in AUDIENCES:
        kept = {(metric, figure): value for metric, figure, value in connection.execute(query, [company])}
        answers: dict[str, Any] = {
            **users_answer(connection, company, JANUARY),
            **revenue_answer(connection, company, JANUARY, "EUR"),
            **{f"mrrMovements.{k}": v for k, v in movements_answer(connection, company, JANUARY, "EUR").items()},
        }
        assert len(kept) == len(KEPT_FIGURES)
        for figure in KEPT_FIGURES:
            value, places = kept[figure.metric, figure.column], {"percent": 1, "ratio": 2, "count": 0}
            shown = None if value is None else round(value, places.get(figure.unit, 2))
            assert shown == answers[figure.name] or (not shown and not answers[figure.name]), (company, figure)
        # 200.005 + 33.333 / 1.20 - 20.50 - 3.33 / 1.25: nothing of it is rounded.
        if company == "acme":
            assert kept["revenue_metrics", "total_revenue"] == Decimal("200.005") - Decimal("23.164") + Decimal(
                "27.7775"
            )


def test_a_late_payment_is_a_restatement_with_its_cause(connection: Connection) -> None:
    note_closed(connection, BOTH)
    publish_all(connection)
    sign(connection)
    before = revenue_answer(connection, "acme", JANUARY, "EUR")["totalRevenue"]
    pay_late(connection)
    pay_late(connection, "5", "2025-12-30")
    assert not signed(connection, "acme").is_restated
    close_again(connection)

    acme = signed(connection, "acme")
    changed = {restated.name: restated for restated in acme.restatements}
    total = changed["totalRevenue"]
    assert (total.label, total.before, total.after, total.difference) == (
        "Total revenue",
        before,
        before + 10,
        Decimal("10.00"),
    )
    # One more user in December, and so at the start of January.
    assert [changed[name].difference for name in ("usersAtStart", "totalUsers")] == [1, 1]
    assert "mrr" not in changed
    assert "mrrMovements.end" not in changed
    (cause,) = acme.causes
    assert (cause.kind, cause.number, cause.detail) == ("late events", 2, "1 of them of earlier months")
    assert cause.first is not None
    assert cause.first > acme.signed_at
    assert str(cause).startswith("2 late events, the first on 20")
    together = signed(connection)
    assert {restated.name: restated.difference for restated in together.restatements}["totalRevenue"] == 10
    assert not signed(connection, "globex").is_restated

    printed = call("periods", "restatements", PERIOD, "--company", "acme")
    assert printed.splitlines()[0].startswith("2026-01 acme: signed by Ann Smith on 20")
    assert f"    Total revenue, EUR: {before + 10}, signed {before} (+10.00)" in printed
    assert "    because of 2 late events, the first on 20" in printed
    (answer,) = json.loads(call("periods", "restatements", "--company", "acme", "--json"))
    assert answer["restatements"][0] == {
        "figure": "totalRevenue",
        "label": "Total revenue",
        "unit": "money",
        "before": f"{before}",
        "after": f"{before + 10}",
        "difference": "10.00",
    }
    found = run_check(_the_check(), connection, get_settings())
    assert (found.passed, found.severity) == (False, Severity.WARNING)
    assert "2 of 3 sign-offs are restated: 2026-01 of all companies, Total revenue is" in found.summary
    row = next(row for row in found.metadata["restatements"] if row["company"] == "acme")
    assert (row["before"], row["after"], row["caused by"]) == (f"{before}", f"{before + 10}", str(cause))

    report = load_report(connection, "acme", JANUARY, "EUR", ())
    many = [replace(acme, month=Window.of_month(date(2025, month, 1))) for month in range(1, 6)]
    *_, rest = said = list(describe_signoffs(replace(report, signoffs=many), Formats()))
    assert (len(said), rest) == (4, "Restated since they were signed off, too: April 2025, May 2025.")
    (german,) = describe_signoffs(replace(report, signoffs=[acme]), Formats("de_DE"))
    arrived = Formats("de_DE").instant(acme.causes[0].first or acme.signed_at)
    late = f"2 versp\u00e4tete Ereignisse, das erste am {arrived}, davon 1 aus fr\u00fcheren Monaten"
    assert german.endswith(f"Ursache: {late}.")

    # What takes it back leaves no restatement.
    connection.execute(LATE)
    close_again(connection)
    assert not any(signoff.is_restated for signoff in read_signoffs(connection, None))
    assert run_check(_the_check(), connection, get_settings()).passed
    assert call("periods", "restatements") == "Every figure of the signed months is as it was signed.\n"


def test_rates_replaced_and_removed_events_are_named_as_causes(connection: Connection) -> None:
    pay_late(connection)
    close_again(connection)
    publish_all(connection)
    sign(connection)
    with connection.transaction():
        connection.execute("UPDATE analytics_events SET value = 12 WHERE user_id = 'late'")
        connection.execute(
            'INSERT INTO analytics_event_conflicts (event_id, "timestamp", company_id, stored, sent, source, outcome, '
            "decided_at) SELECT event_id, \"timestamp\", company_id, '{}', '{\"value\": 12}', 'a file', 'replaced', "
            "clock_timestamp() FROM analytics_events WHERE user_id = 'late'"
        )
    rate = Rate(date(2026, 1, 6), "EUR", "USD", Decimal("1.5"))
    store_rates(connection, [Reading(source="test", rates=[rate])])
    close_again(connection)
    assert [str(cause).split(", the first")[0] for cause in signed(connection, "acme").causes] == [
        "1 event replaced",
        "1 rate of exchange loaded since (EUR/USD)",
    ]
    store_rates(connection, [Reading(source="test", rates=[rate._replace(rate=Decimal("1.20"))])])
    connection.execute("DELETE FROM analytics_event_conflicts")
    connection.execute(LATE)
    # As if it had been loaded before.
    connection.execute("UPDATE analytics_fx_rates SET loaded_at = '2026-02-01'")
    close_again(connection)
    (cause,) = signed(connection, "acme").causes
    assert str(cause).endswith("without a late event: events were removed, or changed directly in the database")
    # Once its events have expired, nobody can tell whether some of them came late.
    with connection.transaction(force_rollback=True):
        connection.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2026-02-01Z')")
        (cause,) = signed(connection, "acme").causes
    assert str(cause).endswith(", and its events have expired since: why can't be told any more")


def test_a_change_of_the_definitions_is_one_line_of_cause(connection: Connection) -> None:
    note_closed(connection, BOTH)
    publish_all(connection)
    sign(connection)
    pay_late(connection)
    close_again(connection)
    assert signed(connection, "acme").is_restated
    connection.execute("UPDATE analytics_metric_periods SET definitions_version = 4")
    try:
        assert signed(connection, "acme").restatements == ()
        connection.execute("UPDATE analytics_metric_periods SET currency = 'USD'")
        acme = signed(connection, "acme")
        assert acme.restatements == ()
        assert [str(cause) for cause in acme.causes] == [
            "another version of the definitions: 3 before, 4 now",
            "another reporting currency: EUR before, USD now",
        ]
        found = run_check(_the_check(), connection, get_settings())
        assert found.passed
        assert found.summary == (
            "Every figure of 3 sign-offs is as it was signed, but for those of 3 that differ by definition: another "
            "version of the definitions: 3 before, 4 now."
        )
        assert "    because of another version of the definitions" in call("periods", "restatements")
        report = load_report(connection, "acme", JANUARY, "EUR", ())
        (said,) = describe_signoffs(replace(report, signoffs=[acme]), Formats())
        assert "Figures may differ from the signed ones by definition alone: another version of" in said
    finally:
        connection.execute("UPDATE analytics_metric_periods SET definitions_version = 3, currency = 'EUR'")


def test_a_sign_off_is_withdrawn_only_with_a_reason_which_is_kept(connection: Connection) -> None:
    note_closed(connection, BOTH)
    publish_all(connection)
    assert call("periods", "sign-off", PERIOD, "--by", "Ann", "--company", "acme") == (
        "2026-01 is signed off for acme by Ann.\n"
    )
    assert call("periods", "sign-off", PERIOD, "--by", "Bob") == (
        "2026-01 is signed off for all companies together and 1 of them by Bob.\n"
    )
    with pytest.raises(AnalyticsError, match="Say the reason"):
        withdraw_signoffs(connection, JANUARY, "Ann", " ", None, actor=None)
    with pytest.raises(RefusedError, match="2025-12 is not signed off"):
        withdraw_signoffs(connection, DECEMBER, "Ann", "by mistake", None, actor=None)
    withdrawn = call("periods", "withdraw", PERIOD, "--by", "Ann", "--reason", "invoice 7", "--company", "acme")
    assert withdrawn == "The sign-off of 2026-01 is withdrawn for acme.\n"
    assert [signoff.company_id for signoff in read_signoffs(connection, None)] == [None, "globex"]
    acts = [act for act in list_acts(connection, act="period") if act.subject.startswith(PERIOD)][:3]
    assert [(act.act, act.subject) for act in acts] == [
        ("period.withdraw", "2026-01 acme"),
        ("period.sign", "2026-01"),
        ("period.sign", "2026-01 acme"),
    ]
    assert acts[0].details["because"] == "invoice 7"
    assert sign(connection, company="acme") == ["acme"]
    listed = call("periods", "list", "--company", "acme").splitlines()
    assert len(listed) == 2
    assert "withdrawn by Ann on 20" in listed[1]
    assert listed[1].endswith(": invoice 7")
    (count,) = fetch_row(connection, "SELECT count(*) FROM analytics_signed_figures")
    assert count == 4 * len(KEPT_FIGURES)


def test_bad_input_is_one_line(connection: Connection) -> None:
    assert "'2026-13' is no month: write it like 2025-01." in call(
        "periods", "sign-off", "2026-13", "--by", "Ann", status=2
    )
    assert "'9999-12' is too late: choose an earlier year." in call("periods", "restatements", "9999-12", status=2)
    assert "The month '9998-12' is none" in call("periods", "restatements", "9998-12", status=1)
    assert call("periods", "restatements", PERIOD) == "2026-01 is not signed off.\n"
    assert "Say who signs" in call("periods", "sign-off", PERIOD, "--by", " ", status=2)
    assert "No such company is known: 'nobody'" in call("periods", "restatements", "--company", "nobody", status=2)
    assert "2026-01 can't be signed off: 6 of its assets" in call("periods", "sign-off", PERIOD, "--by", "A", status=1)


def test_a_later_revision_of_a_signed_month_is_mailed_to_nobody_by_itself(connection: Connection) -> None:
    settings, period = get_settings(), last_month()
    for address in ("cfo@acme.com", "auditor@acme.com"):
        add_recipient(connection, "acme", "monthly_report", address, corrections=True)
    first = publish(connection, "acme")
    assert enqueue_wanted(connection, settings) == 2
    connection.execute(
        "UPDATE analytics_outbox SET state = 'sent', sent_at = now(), settled_at = now() WHERE target ~ 'cfo'"
    )
    month = Window.of_month(date.fromisoformat(f"{period}-01"))
    connection.execute(
        "INSERT INTO analytics_signoffs (company_id, period, period_start, period_end, signed_by, figures_at, "
        "definitions_version, currency, document_id, document_sha256) "
        "VALUES ('acme', %s, %s, %s, 'Ann', now(), 1, 'EUR', %s, %s)",
        [period, month.start, month.end, first.document_id, first.document.sha256],
    )
    # Another revenue: without the signature both would get the correction.
    second = publish(connection, "acme", content=b"%PDF second", revenue="15010.00")
    add_recipient(connection, "acme", "monthly_report", "new@acme.com")
    assert count_missing(connection) == 0
    assert enqueue_wanted(connection, settings) == 0
    enqueue_report(connection, settings, second)
    (waiting,) = list_messages(connection, state="pending")
    query = "SELECT document_id, analytics_outbox_may_leave(o) FROM analytics_outbox AS o WHERE outbox_id = %s"
    assert fetch_row(connection, query, [waiting.outbox_id]) == (first.document_id, True)
    # A person may send it.
    assert enqueue_report(connection, settings, second, Whom.ALL) == 2
    assert {m.target for m in list_messages(connection, state="pending")} == {
        "cfo@acme.com",
        "auditor@acme.com",
        "new@acme.com",
    }


def test_page_one_of_the_next_reports_names_the_restatement_and_the_signed_document_stays(
    connection: Connection,
) -> None:
    settings = get_settings()

    def make(month: date) -> dict[str | None, str]:
        made = [
            monthly.publish_platform_month(connection, settings, month),
            *monthly.publish_company_months(connection, settings, month),
        ]
        return {
            one.document.company_id: " ".join(PdfReader(one.published.path).pages[0].extract_text().split())
            for one in made
        }

    note_closed(connection, BOTH)
    pages = make(date(2025, 12, 1))
    assert sign(connection, DECEMBER) == [None, "acme", "globex"]
    signatures = {s.company_id: s.document_sha256 for s in read_signoffs(connection, None, DECEMBER)}
    # Made anew without a change, it is the same document.
    assert "Restated" not in pages["acme"]
    again_made = monthly.publish_platform_month(connection, settings, date(2025, 12, 1))
    assert again_made.published.sha256 == signatures[None]

    pay_late(connection, day="2025-12-30")
    close_again(connection)
    again, january = make(date(2025, 12, 1)), make(date(2026, 1, 1))
    signed_on = "was signed off by Ann Smith on"
    assert f"Restated: This month {signed_on}" in again["acme"]
    assert "from the signed ones by now: Total revenue, EUR 110.10, before 100.10 (+10.00); " in again["acme"]
    assert "Cause: 1 late event, the first on 20" in again["acme"]
    assert f"Restated: December 2025 {signed_on}" in january["acme"]
    assert f"Restated: December 2025 {signed_on}" in january[None]
    assert "Restated" not in january["globex"] + again["globex"]
    assert {s.company_id: s.document_sha256 for s in read_signoffs(connection, None, DECEMBER)} == signatures
    name = monthly.monthly_report_name("acme", date(2025, 12, 1))
    assert read_artifact(settings.artifacts_root, name, signatures["acme"]).startswith(b"%PDF")
    current = [s.document_is_current for s in read_signoffs(connection, None, DECEMBER)]
    assert current == [False, False, True]
