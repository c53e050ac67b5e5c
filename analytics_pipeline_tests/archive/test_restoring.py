"""A range comes back from the archive, is closed again, and goes again when it is released."""

import shlex
from datetime import timedelta

import pytest
from click.testing import CliRunner

from analytics_pipeline.archive.archiving import rewrite
from analytics_pipeline.archive.proved_ranges import read_ranges
from analytics_pipeline.archive.restoring import release_months, restore_months
from analytics_pipeline.archive.verifying import archive_status, verify_archive
from analytics_pipeline.cli import main
from analytics_pipeline.errors import AnalyticsError, RefusedError
from analytics_pipeline.health.check_result import CheckResult
from analytics_pipeline.health.metrics import figures_current
from analytics_pipeline.metrics.tables import METRIC_TABLES, close_metric
from analytics_pipeline.orchestration.close import ranges_to_close
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.expiry import read_holds, restored_windows
from analytics_pipeline.timescale.policies import change_policies
from analytics_pipeline.timescale.refresh import HorizonError, behind_horizon, materialized_tables, refresh
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.archive.conftest import JANUARY_CHUNK, STRADDLING_CHUNK, Archived, add_exact_event
from analytics_pipeline_tests.events_factory import at
from analytics_pipeline_tests.metrics.closing import close_inputs

pytestmark = pytest.mark.slow

JANUARY = Window(at("2023-01-01"), at("2023-02-01"))
YEAR = Window(at("2023-01-01"), at("2024-01-01"))


@pytest.mark.slow
def test_a_year_archived_dropped_restored_and_closed_again_has_equal_figures(expired: Archived) -> None:
    connection, server = expired.connection, server_info(expired.connection)
    change_policies(connection, server, {"retention": "never"})
    for month in range(1, 13):
        for day in (1, 17) if month in {1, 12} else (17,):
            when = f"2023-{month:02}-{day:02}T{day % 24:02}:30"
            add_exact_event(connection, when, day)
            _add_user_event(connection, when, f"u{(month + day) % 5}", "user.deleted" if day == 17 else "user.login")
            _add_subscription(connection, when, f"s{month % 3}", f"{month}.5{day}")
    _close(connection)
    before, events = _figures(connection), expired.stored(YEAR)
    change_policies(connection, server, {"retention": "2 years"})
    assert len(expired.run().dropped) > 10
    assert expired.stored(YEAR) == []
    with pytest.raises(HorizonError):
        _close(connection)
    restored = restore_months(connection, expired.settings, YEAR, print)
    assert (restored.months, restored.is_widened, restored.left_columns) == (YEAR, False, ())
    assert expired.stored(YEAR) == events
    _close(connection)
    assert _figures(connection) == before
    # Held until it is released.
    assert expired.run().dropped == []
    assert expired.stored(YEAR) == events
    # What comes late into a held day counts there, as on any other.
    active = (
        "SELECT active_users FROM analytics_user_metrics WHERE granularity = 'day' AND period_start = '2023-12-17Z'"
    )
    before_it = connection.execute(f"{active} AND company_id = 'acme'").fetchone()
    _add_user_event(connection, "2023-12-17T20:00", "late", "user.login")
    _close(connection)
    assert before_it is not None
    assert connection.execute(f"{active} AND company_id = 'acme'").fetchone() == (before_it[0] + 1,)
    # Then it goes; what has not changed is not written again.
    after, version = _figures(connection), expired.archive().version
    release_months(connection, None)
    assert len(expired.run().dropped) > 10
    assert expired.archive().version == version + 1
    assert _figures(connection) == after


def test_whole_months_are_brought_back_and_nothing_else_can_be_closed(expired: Archived) -> None:
    add_exact_event(expired.connection, "2023-03-20", 3)
    expired.run()
    restored = restore_months(expired.connection, expired.settings, Window(at("2023-01-10"), at("2023-01-20")), print)
    assert (restored.months, restored.is_widened, restored.ranges, restored.events) == (JANUARY, True, 2, 4)
    close_inputs(expired.connection, JANUARY)
    expired.environment.setenv("ANALYTICS_START", "2023-01-01")
    get_settings.cache_clear()
    assert len(ranges_to_close(expired.connection, expired.settings, JANUARY)) > 3
    for months in (Window(at("2023-02-01"), at("2023-03-01")), Window(at("2023-01-01"), at("2023-03-01"))):
        with pytest.raises(HorizonError):
            refresh(expired.connection, AGGREGATES[0], months)
        with pytest.raises(HorizonError):
            ranges_to_close(expired.connection, expired.settings, months)
    # The days about January are back, too; what lies beyond them is not.
    for granularity, last in ((Granularity.MONTH, "2023-02-01"), (Granularity.DAY, "2023-02-02")):
        horizon = at("2024-11-01")
        gone = behind_horizon(granularity, horizon, restored_windows(expired.connection))
        assert [window.start for window in gone][1:] == [at(last)]
    assert [hold.months for hold in read_holds(expired.connection)] == [JANUARY]


def test_what_changes_while_it_is_held_is_written_anew_before_it_goes(expired: Archived) -> None:
    expired.run()
    restore_months(expired.connection, expired.settings, JANUARY, print)
    expired.connection.execute("UPDATE analytics_events SET value = 3.10 WHERE \"timestamp\" = '2023-01-15T10:20Z'")
    expired.connection.execute("DELETE FROM analytics_events WHERE \"timestamp\" = '2023-01-12T00:00Z'")
    add_exact_event(expired.connection, "2023-01-13T01:00", 6)
    after = expired.stored()
    release_months(expired.connection, JANUARY)
    assert expired.run().dropped == [JANUARY_CHUNK, STRADDLING_CHUNK]
    assert sorted([*expired.archived(), *expired.stored()]) == after
    assert verify_archive(expired.connection, expired.settings, None, print).differences == []


def test_a_range_comes_back_whatever_columns_it_was_written_with(expired: Archived) -> None:
    """As a database of an older release, and of a newer one, has written it."""
    connection = expired.connection
    connection.execute("ALTER TABLE analytics_events ADD COLUMN channel text")
    connection.execute("UPDATE analytics_events SET channel = 'web' WHERE \"timestamp\" = '2023-01-12T00:00Z'")
    expired.run()
    connection.execute("ALTER TABLE analytics_events DROP COLUMN channel")
    connection.execute("ALTER TABLE analytics_events ADD COLUMN shop text NOT NULL DEFAULT 'main'")
    add_exact_event(connection, "2023-03-20", 3)
    expired.run()
    restored = restore_months(connection, expired.settings, Window(at("2023-01-01"), at("2023-04-01")), print)
    assert (restored.events, restored.left_columns) == (5, ("channel",))
    assert connection.execute("SELECT DISTINCT shop FROM analytics_events").fetchall() == [("main",)]
    assert len(expired.stored()) == 6
    # Written anew they would lose what the database lacks: they are left.
    release_months(connection, None)
    run = expired.run()
    (problem,) = run.problems
    assert "that this database lacks (channel)" in problem
    assert JANUARY_CHUNK not in run.dropped
    assert len(run.dropped) == 2
    assert len(expired.stored(JANUARY_CHUNK)) == 2


def test_a_restore_that_was_killed_is_unfinished_and_repeating_it_finishes_it(
    expired: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = expired.stored()
    expired.run()
    with pytest.raises(KeyboardInterrupt):
        restore_months(expired.connection, expired.settings, JANUARY, _interrupt)
    assert [hold.restored_at for hold in read_holds(expired.connection)] == [None]
    with pytest.raises(HorizonError):
        refresh(expired.connection, AGGREGATES[0], JANUARY)
    assert expired.run().dropped == [], "it is held from the beginning"
    restore_months(expired.connection, expired.settings, JANUARY, print)
    assert expired.stored() == before
    refresh(expired.connection, AGGREGATES[0], JANUARY)


@pytest.mark.parametrize(
    ("months", "why"),
    [
        (Window(at("2026-01-01"), at("2026-02-01")), "has expired"),
        (
            Window(at("2022-12-01"), at("2023-02-01")),
            "were gone before this database had an archive.*start at 2023-01-01",
        ),
    ],
)
def test_what_is_there_or_was_never_archived_is_not_brought_back(expired: Archived, months: Window, why: str) -> None:
    expired.connection.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2022-12-20Z')")
    expired.run()
    with pytest.raises(RefusedError, match=why):
        restore_months(expired.connection, expired.settings, months, print)
    assert read_holds(expired.connection) == []


def test_late_events_are_in_what_is_brought_back(expired: Archived) -> None:
    before = expired.stored()
    expired.run()
    add_exact_event(expired.connection, "2023-01-13T08:00", 7)
    restore_months(expired.connection, expired.settings, JANUARY, print)
    assert len(expired.stored()) == len(before) + 1
    assert archive_status(expired.connection, expired.settings).late_events == 1
    with pytest.raises(AnalyticsError, match="is held: there is nothing to release"):
        release_months(expired.connection, Window(at("2023-05-01"), at("2023-06-01")))


def test_a_range_rewritten_on_purpose_is_proved_as_it_is_then(expired: Archived) -> None:
    expired.run()

    def anonymous(batch: object) -> object:
        import pyarrow as pa  # type: ignore[import-untyped]

        assert isinstance(batch, pa.RecordBatch)
        place = batch.schema.get_field_index("user_id")
        return batch.set_column(place, "user_id", pa.array(["erased"] * batch.num_rows))

    assert rewrite(expired.connection, expired.archive(), JANUARY_CHUNK, anonymous) == 2
    assert verify_archive(expired.connection, expired.settings, None, print).differences == []
    assert [row[4] for row in expired.archived() if row[1] < "2023-01-20"] == ["erased", "erased"]
    assert all(r.late_rows == 0 for r in read_ranges(expired.connection))
    restore_months(expired.connection, expired.settings, JANUARY, print)
    assert {row[4] for row in expired.stored(JANUARY_CHUNK)} == {"erased"}


def test_months_after_a_corrected_one_are_said_to_need_their_events_back(expired: Archived) -> None:
    connection, server = expired.connection, server_info(expired.connection)
    february = Window(JANUARY.end, at("2023-03-01"))
    both = Window(JANUARY.start, february.end)
    change_policies(connection, server, {"retention": "never"})
    for when in ("2023-01-12T10:00", "2023-02-12T10:00"):
        _add_user_event(connection, when, "u1", "user.login")
    _close_months(connection, both)
    change_policies(connection, server, {"retention": "2 years"})
    expired.run()
    restored = restore_months(connection, expired.settings, JANUARY, print)
    assert restored.later is not None
    assert restored.later.start == february.start
    _add_user_event(connection, "2023-01-13T10:00", "late", "user.login")
    _close_months(connection, JANUARY)
    release_months(connection, None)
    expired.run()

    users = next(table for table in METRIC_TABLES if table.metric == "user_metrics")

    def current() -> CheckResult:
        return figures_current(connection, get_settings(), "user_metrics_monthly", users, Granularity.MONTH)

    # Nobody asks for it, and closing it as it is is refused.
    with pytest.raises(AnalyticsError):
        ranges_to_close(connection, expired.settings, february)
    left = current()
    assert (
        "1 closed months from 2023-02-01 to 2023-02-01, behind the retention horizon, stay as they are" in left.summary
    )
    assert left.remedies == ("analytics-pipeline archive restore --start 2023-02-01 --end 2023-03-01",)
    assert "then 'analytics-pipeline close --start 2023-02-01T00:00 --end 2023-03-01T00:00'" in left.summary
    # The sensor does from ANALYTICS_START on, of what was closed.
    expired.environment.setenv("ANALYTICS_START", "2023-01-01")
    get_settings.cache_clear()
    assert "stay as they are" in current().summary
    connection.execute(
        "INSERT INTO analytics_partitions (asset, window_start, window_end, closed_at) "
        "VALUES ('user_metrics_monthly', %s, %s, now())",
        [february.start, february.end],
    )
    asked = current()
    assert "from what outlives their events" in asked.summary
    assert "the sensor late_events asks for them" in asked.summary
    assert asked.remedies == left.remedies
    result = CliRunner().invoke(main, shlex.split(asked.remedies[0])[1:])
    assert result.exit_code == 0, result.output
    assert "To bring back all of them: analytics-pipeline archive restore --start 2023-03-01 --end 20" in result.output
    assert current().remedies == ("analytics-pipeline close --start 2023-02-01 --end 2023-03-01",)
    _close_months(connection, february)
    assert current().passed


def _close_months(connection: Connection, months: Window) -> None:
    close_inputs(connection, months)
    for table in METRIC_TABLES:
        close_metric(connection, table, Granularity.MONTH, months, "EUR")


def _close(connection: Connection) -> None:
    """Close the year: all that figures stand on, its months, and the days at both ends of it."""
    close_inputs(connection, YEAR)
    for table in METRIC_TABLES:
        close_metric(connection, table, Granularity.MONTH, YEAR, "EUR")
        for edge in (Window(YEAR.start, at("2023-01-04")), Window(at("2023-12-16"), at("2023-12-19"))):
            close_metric(connection, table, Granularity.DAY, edge, "EUR")


def _interrupt(_line: str) -> None:
    raise KeyboardInterrupt


def _add_user_event(connection: Connection, when: str, user: str, event_type: str) -> None:
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category) '
        "VALUES (gen_random_uuid(), %s, 'acme', %s, %s, 'user_activity')",
        [at(when) + timedelta(minutes=1), user, event_type],
    )


def _add_subscription(connection: Connection, when: str, subscription: str, price: str) -> None:
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, '
        "currency, metadata) VALUES (gen_random_uuid(), %s, 'acme', 'u1', 'subscription.changed', 'subscription', %s, "
        "'EUR', jsonb_build_object('subscription_id', %s::text, 'interval', 'month', 'interval_count', 1, "
        "'quantity', 1, 'status', 'active'))",
        [at(when) + timedelta(minutes=2), price, subscription],
    )


def _figures(connection: Connection) -> dict[str, list[str]]:
    """Return every stored row of aggregates and figures, and of what figures stand on, without when it was computed."""
    relations = [table.identifier.as_string(connection) for table in materialized_tables(connection).values()]
    relations += [table.table for table in METRIC_TABLES]
    relations += ["analytics_users", "analytics_user_deletions", "analytics_subscriptions", "analytics_mrr_snapshots"]
    return {
        relation: [
            row
            for (row,) in connection.execute(
                f"SELECT (to_jsonb(t) - 'computed_at')::text FROM {relation} AS t ORDER BY 1"
            )
        ]
        for relation in relations
    }
