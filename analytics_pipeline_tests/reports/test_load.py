"""A report says what the metrics say, of its company alone, and proves it."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from analytics_pipeline.currencies import round_money
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.health.check_result import CheckResult
from analytics_pipeline.health.results import record_result
from analytics_pipeline.metrics.answers import (
    movements_answer,
    revenue_answer,
    series_answer,
    top_events_answer,
    users_answer,
)
from analytics_pipeline.metrics.rounding import round_movements
from analytics_pipeline.metrics.users import UserMetrics, user_metrics
from analytics_pipeline.reports.catalogue import SECTION_NAMES, parts_of
from analytics_pipeline.reports.cautions import why_held
from analytics_pipeline.reports.json_text import render_json
from analytics_pipeline.reports.load import load_company_reports, load_report
from analytics_pipeline.reports.months import MONTHS
from analytics_pipeline.reports.quality import QUALITY
from analytics_pipeline.reports.reconciliation import disagreements
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.report_parts import MAX_EVENT_TYPES
from analytics_pipeline.reports.sections import companies, mrr, revenue, users
from analytics_pipeline.reports.sections.crypto import VOLUMES
from analytics_pipeline.reports.sections.currencies import ORIGINAL_AMOUNTS, RefundDay
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.reports.ledger import BOTH, COMPANIES, DECEMBER, JANUARY, ODD_DAYS, close_months

pytestmark = pytest.mark.slow

ALL = parts_of(SECTION_NAMES)


@contextmanager
def changed(connection: Connection, change: str, undo: str) -> Iterator[None]:
    """Change something for a while."""
    connection.execute(change)
    try:
        yield
    finally:
        connection.execute(undo)


def load(connection: Connection, company_id: str | None = "acme", window: Window = JANUARY) -> Report:
    return load_report(connection, company_id, window, "EUR", ALL)


@pytest.mark.parametrize(
    ("company", "window"),
    [(None, JANUARY), (None, ODD_DAYS), ("acme", JANUARY), ("acme", ODD_DAYS), ("acme", BOTH), ("nobody", DECEMBER)],
)
def test_the_figures_are_those_of_the_answers(connection: Connection, company: str | None, window: Window) -> None:
    report = load(connection, company, window)
    revenue, users = revenue_answer(connection, company, window, "EUR"), users_answer(connection, company, window)
    figures = report.revenue.figures

    assert figures.invoiced is not None
    for field, value in {
        "totalRevenue": figures.total_revenue,
        "mrr": figures.mrr,
        "arr": figures.arr,
        "invoiced": figures.invoiced,
        "refunds": figures.refunds,
    }.items():
        assert round_money(value, "EUR") == revenue[field]
    assert figures.paying_customers == revenue["payingCustomers"]
    assert (figures.revenue_growth is None) == (revenue["revenueGrowth"] is None)
    moved = round_movements(report.movements, "EUR")
    answer = movements_answer(connection, company, window, "EUR")
    assert {
        name: getattr(moved, name) for name in ("start", "new", "expansion", "contraction", "churn", "fx", "end")
    } == {name: answer[name] for name in ("start", "new", "expansion", "contraction", "churn", "fx", "end")}
    assert report.users is not None
    assert report.users.active_users == users["activeUsers"]
    assert report.users.churned_users == users["churnedUsers"]
    before = users_answer(connection, company, report.previous)
    assert report.users_before is not None
    assert (report.users_before.active_users, report.users_before.new_users) == (
        before["activeUsers"],
        before["newUsers"],
    )
    assert [event.event_type for event in report.events] == [
        row["eventType"] for row in top_events_answer(connection, company, window, MAX_EVENT_TYPES)["topEvents"]
    ]


def test_every_company_at_once_gives_the_same_reports_as_one_by_one(connection: Connection) -> None:
    at_once = load_company_reports(connection, JANUARY, "EUR", ALL)

    assert at_once == [load(connection, company) for company in COMPANIES]


def test_the_report_over_all_companies_has_the_figures_of_each(connection: Connection) -> None:
    platform = load(connection, None)

    assert [company.company_id for company in platform[companies.COMPANIES]] == ["globex", "acme"]
    for company in platform[companies.COMPANIES]:
        own = load(connection, company.company_id)
        assert company.revenue == own.revenue
        assert own.users is not None
        assert company.active_users == own.users.active_users
        assert own[companies.COMPANIES] == ()
    (table,) = companies.tables(platform)
    for company, shown in zip(platform[companies.COMPANIES], table.column("totalRevenue"), strict=True):
        assert shown == revenue_answer(connection, company.company_id, JANUARY, "EUR")["totalRevenue"]


def test_the_trend_is_the_same_from_closed_months_and_computed(connection: Connection) -> None:
    series = series_answer(connection, None, BOTH, "EUR", Granularity.MONTH)["series"]
    report = load(connection, None)
    closed = report[MONTHS]
    with changed(
        connection,
        "UPDATE analytics_metric_periods SET definitions_version = 0",
        "UPDATE analytics_metric_periods SET definitions_version = 3",
    ):
        computed = load(connection, None)[MONTHS]

    assert closed == computed
    assert len(closed) == 13
    assert [month.month for month in closed[-2:]] == [date(2025, 12, 1), date(2026, 1, 1)]
    for month, answer in zip(closed[-2:], series, strict=True):
        assert round_money(month.total_revenue, "EUR") == answer["totalRevenue"]
        assert round_money(month.mrr, "EUR") == answer["mrr"]
        assert (month.total_users, month.active_users) == (answer["totalUsers"], answer["activeUsers"])
        moved = movements_answer(connection, None, Window.of_month(month.month), "EUR")
        shown = round_movements(month.movements, "EUR")
        assert asdict(shown) == {field: moved[field] for field in asdict(shown)}
        assert shown.new > 0
    assert closed[-1].growth == report.revenue.figures.revenue_growth
    assert closed[-1].movements == report.movements


def test_closed_users_over_all_companies_are_the_answer(connection: Connection) -> None:
    names = [field.name for field in fields(UserMetrics)]
    stored = fetch_row(
        connection,
        f"SELECT {', '.join(names)} FROM analytics_user_metrics "
        "WHERE company_id IS NULL AND granularity = 'month' AND period_date = '2026-01-01'",
    )
    assert UserMetrics(*stored) == user_metrics(connection, None, JANUARY)


def test_a_closed_month_that_has_not_seen_a_change_is_computed(connection: Connection) -> None:
    stale = "UPDATE analytics_revenue_metrics SET mrr = mrr {} 1 WHERE period_start = '2025-12-01T00:00Z'"
    before = load(connection)[MONTHS][-2].mrr
    with changed(connection, stale.format("+"), stale.format("-")):
        assert load(connection)[MONTHS][-2].mrr == before + 1
        with changed(
            connection,
            "INSERT INTO analytics_metric_changes (company_id, changed_from, cause) "
            "VALUES ('acme', '2025-12-05T00:00Z', 'rates of exchange')",
            "DELETE FROM analytics_metric_changes",
        ):
            report = load(connection)
            assert report[MONTHS][-2].mrr == before
            assert report[QUALITY].to_recompute == ["rates of exchange"]
            other = load(connection, "globex")[QUALITY]
            assert other.to_recompute == []
            connection.execute("UPDATE analytics_metric_changes SET company_id = NULL")
            other = load(connection, "globex")[QUALITY]
            assert other.to_recompute == ["rates of exchange"]


def test_currencies_and_refunds_add_up_to_the_total(connection: Connection) -> None:
    report = load(connection)
    amounts = report[ORIGINAL_AMOUNTS]
    euro, dollar = amounts.currencies

    assert (euro.currency, euro.revenue, euro.refunds, euro.transactions) == (
        "EUR",
        Decimal("179.505"),
        Decimal("20.50"),
        2,
    )
    assert (dollar.revenue, dollar.refunds) == (Decimal("30.003"), Decimal("3.33"))
    assert round_money(dollar.converted or Decimal(0), "BTC") == round_money(
        Decimal("33.333") / Decimal("1.20") - Decimal("3.33") / Decimal("1.25"), "BTC"
    )
    assert dollar.lowest_rate == Decimal("0.8")
    assert round_money(dollar.highest_rate or Decimal(0), "BTC") == Decimal("0.83333333")
    assert sum(row.converted or 0 for row in amounts.currencies) == report.revenue.figures.total_revenue
    assert [replace(day, converted=None) for day in amounts.refund_days] == [
        RefundDay(date(2026, 1, 6), "EUR", Decimal("20.50"), None),
        RefundDay(date(2026, 1, 7), "USD", Decimal("3.33"), None),
    ]
    assert sum(day.converted or 0 for day in amounts.refund_days) == report.revenue.figures.refunds


def test_an_amount_without_a_rate_is_in_no_figure_and_listed(connection: Connection) -> None:
    days = "rate_date BETWEEN '2025-12-20' AND '2026-01-06' AND quote = 'USD'"
    with changed(
        connection,
        f"UPDATE analytics_fx_rates SET quote = 'XXX' WHERE {days}",
        f"UPDATE analytics_fx_rates SET quote = 'USD' WHERE {days.replace('USD', 'XXX')}",
    ):
        report = load(connection)

    missing = next(row for row in report.unconverted if row.figure == "totalRevenue")
    assert (missing.currency, missing.amount, missing.first_day) == ("USD", Decimal("33.333"), date(2026, 1, 6))
    amounts = report[ORIGINAL_AMOUNTS]
    dollar = amounts.currencies[1]
    assert dollar.converted == -dollar.converted_refunds if dollar.converted_refunds else False
    assert dollar.average_rate is None
    assert report.revenue.figures.revenue_growth is None
    assert sum(row.converted or 0 for row in amounts.currencies) == report.revenue.figures.total_revenue


def test_months_with_amounts_without_a_rate_are_marked_and_followed_by_no_change(connection: Connection) -> None:
    with changed(
        connection,
        "UPDATE analytics_fx_rates SET quote = 'XXX' WHERE quote = 'USD' AND rate_date < '2026-01-01'",
        "UPDATE analytics_fx_rates SET quote = 'USD' WHERE quote = 'XXX'",
    ):
        closed = load(connection)
        with changed(
            connection,
            "UPDATE analytics_metric_periods SET definitions_version = 0",
            "UPDATE analytics_metric_periods SET definitions_version = 3",
        ):
            computed = load(connection)

    assert [month.incomplete for month in closed[MONTHS][-2:]] == [set(), set()]
    assert [month.incomplete for month in computed[MONTHS][-2:]] == [{"mrr"}, set()]
    assert [month.movements_incomplete for month in closed[MONTHS][-2:]] == [False, True]
    assert [month.movements_incomplete for month in computed[MONTHS][-2:]] == [True, True]
    assert mrr.tables(computed)[-1].column("changePercent")[-2:] == [None, None]
    assert mrr.tables(load(connection))[-1].column("changePercent")[-1] is not None


def test_months_that_keep_figures_of_older_definitions_are_shown_as_they_were_closed_and_marked(
    connection: Connection,
) -> None:
    closed = load(connection)
    december = "period_start = '2025-12-01T00:00Z'"
    with (
        changed(
            connection,
            f"UPDATE analytics_metric_periods SET definitions_version = 1 WHERE {december}",
            f"UPDATE analytics_metric_periods SET definitions_version = 3 WHERE {december}",
        ),
        changed(
            connection,
            f"UPDATE analytics_revenue_metrics SET mrr = mrr + 1 WHERE {december}",
            f"UPDATE analytics_revenue_metrics SET mrr = mrr - 1 WHERE {december}",
        ),
    ):
        computed = load(connection)
        with changed(
            connection,
            "INSERT INTO analytics_retention_horizon (events_from) VALUES ('2026-01-01Z')",
            "DELETE FROM analytics_retention_horizon",
        ):
            kept = load(connection)
            # The report of the month itself is what the definitions of today give.
            own = load(connection, "acme", DECEMBER)

    assert computed[MONTHS] == closed[MONTHS]
    assert (kept[MONTHS][-2].mrr, kept[MONTHS][-2].definitions_version) == (closed[MONTHS][-2].mrr + 1, 1)
    assert (kept[MONTHS][-1].definitions_version, kept.definitions_version) == (3, 3)
    assert own.revenue.figures.mrr == closed[MONTHS][-2].mrr
    assert own[QUALITY].closed is None
    for section in (revenue, mrr, users):
        by_month = section.tables(kept)[-1]
        assert by_month.column("definitionsVersion")[-2:] == [1, 3]
        assert "definitionsVersion" not in [column.key for column in section.tables(closed)[-1].columns]


def test_another_currency_is_computed_and_its_counts_are_held_against_the_closed_ones(connection: Connection) -> None:
    dollars = load_report(connection, "acme", JANUARY, "USD", ALL)
    with changed(
        connection,
        "UPDATE analytics_metric_periods SET definitions_version = 0",
        "UPDATE analytics_metric_periods SET definitions_version = 3",
    ):
        computed = load_report(connection, "acme", JANUARY, "USD", ALL)

    assert dollars[MONTHS] == computed[MONTHS]
    assert dollars[MONTHS][-2].total_revenue > 0
    closed = dollars[QUALITY].closed
    assert closed is not None
    assert dollars.users is not None
    assert (closed.total_revenue, closed.mrr) == (None, None)
    assert closed.total_users == dollars.users.total_users
    assert disagreements(dollars) == []


def test_what_happens_after_a_period_leaves_its_report_as_it_was(connection: Connection) -> None:
    before = load(connection)
    add_event(connection, "2026-02-06T13:00", company_id="acme", user_id="ann", value="5")
    try:
        after = load(connection)
    finally:
        connection.execute("DELETE FROM analytics_events WHERE value = 5")

    assert after == replace(before, data_through=JANUARY.end)


def test_an_unfinished_period_says_so_and_is_not_made_for_every_company(connection: Connection) -> None:
    today = datetime.now(UTC).date()
    month = Window.of_month(today)
    unfinished = load(connection, "acme", Window(month.start, month.end + timedelta(days=1)))
    begun = load(connection, "acme", JANUARY)

    assert (unfinished.provisional, begun.provisional) == (True, False)
    assert (begun.last_month_open, load(connection, "acme", ODD_DAYS).last_month_open) == (False, False)
    assert load(connection, "acme", month).last_month_open
    with pytest.raises(AnalyticsError, match="once their period has ended"):
        load_company_reports(connection, month, "EUR", ALL)


def test_a_company_with_events_of_any_kind_has_a_report(connection: Connection) -> None:
    february = Window.of_month(date(2026, 2, 1))
    add_event(connection, "2026-02-03T12:00", "feature.look", category="user_activity", company_id="visitor", value="5")
    try:
        reports = load_company_reports(connection, february, "EUR", ALL)
    finally:
        connection.execute("DELETE FROM analytics_events WHERE value = 5")

    assert [report.company_id for report in reports] == [*COMPANIES, "visitor"]
    (report,) = [report for report in reports if report.company_id == "visitor"]
    assert (report.all_events, [event.event_type for event in report.events]) == (1, ["feature.look"])


def test_all_events_of_the_period_are_counted(connection: Connection) -> None:
    query = 'SELECT count(*) FROM analytics_events WHERE company_id = %s AND "timestamp" >= %s AND "timestamp" < %s'
    expected = connection.execute(query, ["acme", JANUARY.start, JANUARY.end]).fetchone()

    assert (load(connection).all_events,) == expected


def test_data_reach_as_far_as_the_hours_whose_events_have_expired(connection: Connection) -> None:
    (through,) = fetch_row(connection, "SELECT analytics_data_through()")
    connection.execute("ALTER TABLE analytics_events RENAME TO analytics_events_kept")
    connection.execute("CREATE TABLE analytics_events (LIKE analytics_events_kept)")
    try:
        expired = fetch_row(connection, "SELECT analytics_data_through()")[0]
    finally:
        connection.execute("DROP TABLE analytics_events")
        connection.execute("ALTER TABLE analytics_events_kept RENAME TO analytics_events")

    assert through is not None
    assert expired == Granularity.HOUR.next(Granularity.HOUR.floor(through))


def test_crypto_is_valued_where_a_rate_is_known(connection: Connection) -> None:
    coin, bitcoin = load(connection)[VOLUMES]

    assert (coin.ticker, coin.quantity, coin.converted) == ("ACMECOIN", Decimal(3), None)
    assert round_money(bitcoin.converted or Decimal(0), "EUR") == Decimal("7.41")


def test_two_companies_never_meet_in_one_report(connection: Connection, tmp_path: Path) -> None:
    connection.execute(
        "INSERT INTO analytics_alert_rules (rule_id, revision, definition, sha256) "
        "VALUES ('r', 1, '{}', repeat('0', 64))"
    )
    for company, other in (COMPANIES, COMPANIES[::-1]):
        connection.execute(
            "INSERT INTO analytics_alerts (rule_id, revision, company_id, granularity, condition, severity, "
            "first_period, last_period, shown, threshold) VALUES "
            "('r', 1, %s, 'day', 'firing', 'warning', '2026-01-06T00:00Z', '2026-01-07T00:00Z', %s, 'above 1')",
            [company, f"{company} found"],
        )
        record = {
            "metadata": {"company_id": other},
            "company_id": company,
            "event_id": str(uuid.uuid4()),
            "timestamp": "2026-01-09T00:00:00Z",
            "event_type": "a.b",
            "category": f"{other} secret",
        }
        file = tmp_path / f"{company}.jsonl"
        file.write_text(json.dumps(record))
        ingest([Source.of(file)], connection, rejects_path=tmp_path / "rejects.jsonl")
        connection.execute(
            "INSERT INTO analytics_source_rejects (source, source_key, kind, reason, row, first_seen) "
            "VALUES ('invoices', %s, %s, 'x', jsonb_build_object('company_id', %s::text), '2026-01-09T00:00Z')",
            [company, f"{company} row", company],
        )
    connection.execute("UPDATE analytics_ingest_rejects SET rejected_at = '2026-01-09T00:00Z'")
    texts = {
        report.company_id: render_json(report, SECTION_NAMES).decode()
        for report in load_company_reports(connection, JANUARY, "EUR", ALL)
    }
    platform = render_json(load(connection, None), SECTION_NAMES).decode().lower()

    assert set(texts) == set(COMPANIES)
    for company, other in (COMPANIES, COMPANIES[::-1]):
        text = texts[company].lower()
        markers = (
            f"{company}coin",
            f"feature.{company}_only",
            f"{company} found",
            f"{company} row",
            "unknown category",
        )
        for marker in markers:
            assert marker in text
            assert marker in platform
        assert other not in text


def test_report_metric_tables_and_raw_events_agree(connection: Connection) -> None:
    for report in (load(connection, None), load(connection, "nobody"), load(connection)):
        assert disagreements(report) == []
        quality = report[QUALITY]
        assert quality.closed is not None
        assert quality.raw is not None
        assert quality.raw.total_revenue == report.revenue.figures.total_revenue
        assert quality.closed.mrr == report.revenue.figures.mrr


@pytest.mark.parametrize(
    ("table", "column", "figure"),
    [
        ("analytics_revenue_metrics", "invoiced", "Invoiced"),
        ("analytics_user_metrics", "churned_users", "Churned users"),
    ],
)
def test_a_stored_figure_that_differs_in_the_last_decimal_is_found(
    connection: Connection, table: str, column: str, figure: str
) -> None:
    step = "1" if table == "analytics_user_metrics" else "0.000000000001"
    change = f"UPDATE {table} SET {column} = {column} {{}} {step} WHERE company_id = 'acme' AND granularity = 'month'"
    with changed(connection, change.format("+"), change.format("-")):
        acme, globex = load_company_reports(connection, JANUARY, "EUR", ALL)

    assert disagreements(acme) == [figure]
    assert disagreements(globex) == []


def test_an_event_that_came_after_closing_is_found_and_counted_as_late(connection: Connection) -> None:
    add_event(connection, "2026-01-06T13:00", company_id="acme", user_id="ann", value="5")
    try:
        report = load(connection)
    finally:
        connection.execute("DELETE FROM analytics_events WHERE value = 5")

    assert disagreements(report) == ["Total revenue", "Events"]
    raw = report[QUALITY].raw
    assert raw is not None
    assert (raw.late, raw.after_end) == (1, 1)
    assert raw.longest_delay > timedelta(days=1)
    before = load(connection)[QUALITY]
    assert before.raw is not None
    assert (before.raw.late, before.raw.longest_delay) == (0, timedelta(minutes=5))


def test_a_period_is_judged_by_its_own_days_as_they_are_now(connection: Connection) -> None:
    close_months(connection)
    assert [why_held(load(connection, company)) for company in (None, *COMPANIES)] == [None] * 3
    # What runs found, however often, and over which days, is no matter of the period.
    found = CheckResult(check="amounts_converted", subject="revenue_metrics", passed=False, summary="")
    with changed(connection, "SELECT 1", "DELETE FROM analytics_check_results"):
        before = load(connection)
        for end in (1, 2):
            record_result(connection, found, Window(DECEMBER.start, JANUARY.end + timedelta(days=end)))
        assert load(connection) == before
    # A day after the period without rates, or with events that nothing has taken in, is none either.
    add_event(connection, "2026-02-06T13:00", company_id="acme", value="5", currency="JPY")
    try:
        assert why_held(load(connection)) is None
        assert why_held(load(connection, "acme", Window(JANUARY.start, JANUARY.end + timedelta(days=28)))) == (
            "Incomplete: for want of a rate, amounts in JPY are missing from Total revenue. Not up to date: closed "
            "figures of the period lack events of 1 Feb 2026 to 28 Feb 2026"
        )
    finally:
        connection.execute("DELETE FROM analytics_events WHERE value = 5")
    add_event(connection, "2026-01-06T13:00", company_id="globex", user_id="eve", value="5")
    try:
        held = {company: why_held(load(connection, company)) for company in (None, *COMPANIES)}
    finally:
        connection.execute("DELETE FROM analytics_events WHERE value = 5")
        close_months(connection)
    lacks = "Not up to date: closed figures of the period lack events of 6 Jan 2026"
    differs = f"{lacks}. Not reconciled: Total revenue, Events. See the section on reconciliation"
    assert held == {None: differs, "acme": lacks, "globex": differs}


@pytest.mark.parametrize(
    ("change", "undo", "because"),
    [
        (
            "UPDATE analytics_metric_periods SET definitions_version = 1 WHERE metric = 'mrr_movements'",
            "UPDATE analytics_metric_periods SET definitions_version = 3",
            "Not up to date: closed figures of the period lack all of mrr_movements",
        ),
        (
            "INSERT INTO analytics_metric_changes (company_id, changed_from, cause) "
            "VALUES ('acme', '2026-01-05T00:00Z', 'rates of exchange')",
            "DELETE FROM analytics_metric_changes",
            "Not up to date: closed figures of the period lack rates of exchange",
        ),
        (
            "UPDATE analytics_user_metrics SET new_users = new_users + 1 WHERE company_id = 'acme'",
            "UPDATE analytics_user_metrics SET new_users = new_users - 1 WHERE company_id = 'acme'",
            "Not reconciled: New users. See the section on reconciliation",
        ),
        (
            "UPDATE analytics_fx_rates SET quote = 'XXX' WHERE quote = 'USD' AND rate_date BETWEEN '2025-12-25' AND "
            "'2026-01-31'",
            "UPDATE analytics_fx_rates SET quote = 'USD' WHERE quote = 'XXX'",
            "Incomplete: for want of a rate, amounts in USD are missing from",
        ),
    ],
)
def test_what_holds_back_a_report_is_its_companys_own(
    connection: Connection, change: str, undo: str, because: str
) -> None:
    with changed(connection, change, undo):
        held = {report.company_id: why_held(report) for report in load_company_reports(connection, JANUARY, "EUR", ALL)}

    assert because in (held["acme"] or "")
    of_both = "mrr_movements" in because
    assert (held["globex"] == because) is of_both
    assert why_held(load(connection)) is None


def test_expired_raw_events_leave_whole_months_and_mark_the_rest(connection: Connection) -> None:
    with changed(
        connection,
        "INSERT INTO analytics_retention_horizon (events_from) VALUES ('2026-01-20T00:00Z')",
        "DELETE FROM analytics_retention_horizon",
    ):
        month, odd = load(connection), load(connection, "acme", ODD_DAYS)

    assert month.users is not None
    assert month[QUALITY].raw is None
    assert odd.users is None
    assert odd.users_before is None


def test_a_change_under_days_that_keep_their_figures_holds_nothing_back(connection: Connection) -> None:
    change = (
        "INSERT INTO analytics_metric_changes (changed_from, granularity, cause) VALUES ('2026-01-05Z', 'day', 'users')"
    )
    day = (
        "INSERT INTO analytics_metric_periods (metric, granularity, period_start, period_end, currency, "
        "definitions_version, changes_seen) VALUES ('user_metrics', 'day', '2026-01-05Z', '2026-01-06Z', 'EUR', 2, 0)"
    )
    horizon = "INSERT INTO analytics_retention_horizon (events_from) VALUES ('2026-01-20T00:00Z')"
    with (
        changed(connection, change, "DELETE FROM analytics_metric_changes"),
        changed(connection, day, "DELETE FROM analytics_metric_periods WHERE granularity = 'day'"),
    ):
        assert "lack users" in (why_held(load(connection)) or "")
        with changed(connection, horizon, "DELETE FROM analytics_retention_horizon"):
            assert why_held(load(connection)) is None


def test_only_the_parts_that_sections_need_are_read(connection: Connection) -> None:
    report = load_report(connection, "acme", JANUARY, "EUR", parts_of(["crypto"]))

    assert (report.get(VOLUMES), report.get(QUALITY)) == (load(connection)[VOLUMES], None)
    with pytest.raises(ValueError, match="without months"):
        _ = report[MONTHS]
