"""Users over time: removed events, deletions and returns, what has expired, and what an older version has stored."""

import pytest

from analytics_pipeline.asset_names import USERS
from analytics_pipeline.database import migrate
from analytics_pipeline.health.metrics import equals_definitions
from analytics_pipeline.metrics.answers import users_answer
from analytics_pipeline.metrics.tables import USER_METRICS, close_metric
from analytics_pipeline.metrics.users import (
    active_users,
    update_users,
)
from analytics_pipeline.settings import get_settings
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import HorizonError, refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import at
from analytics_pipeline_tests.metrics.closed_week import MONTHS, add_login, stale
from analytics_pipeline_tests.metrics.closing import close_figures, close_inputs, days
from analytics_pipeline_tests.metrics.single_figures import active_and_new, new_users

JANUARY, FEBRUARY, MARCH = MONTHS.split(Granularity.MONTH)
Facts = list[tuple[object, ...]]


def _facts(connection: Connection) -> tuple[Facts, Facts]:
    """Return what is stored of users and of deletions."""
    users, deletions = (connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall() for table in STORED)
    return users, deletions


USER_DELETIONS = "analytics_user_deletions"
STORED = (USERS, USER_DELETIONS)


def _forget(connection: Connection) -> None:
    """Leave the tables as a new database has them."""
    for table in (*STORED, "analytics_closed_windows"):
        connection.execute(f"DELETE FROM {table}")


def _remove(connection: Connection, user: str, *days_of_march: int) -> None:
    for day in days_of_march:
        removed = connection.execute(
            "DELETE FROM analytics_events WHERE company_id = 'acme' AND user_id = %s "
            'AND "timestamp" >= %s AND "timestamp" < %s + interval \'1 day\'',
            [user, at(f"2025-03-{day:02}T00:00"), at(f"2025-03-{day:02}T00:00")],
        )
        assert removed.rowcount > 0


def _eight_users(connection: Connection) -> None:
    """21 users from 3 March on; of eight of them the events of that day go, and of one of these all there are."""
    for user in range(21):
        add_login(connection, "03-03T10:00", f"u{user}")
        if user:
            add_login(connection, "03-05T10:00", f"u{user}")


@pytest.mark.slow
def test_removed_events_count_as_never_recorded_once_their_days_are_closed_again(connection: Connection) -> None:
    _eight_users(connection)
    close_inputs(connection, MONTHS)
    close_figures(connection, MARCH)
    assert users_answer(connection, None, MARCH)["totalUsers"] == 21
    for user in range(8):
        _remove(connection, f"u{user}", 3)
    close_inputs(connection, days("2025-03-03"))
    refresh(connection, next(a for a in AGGREGATES if a.name == "analytics_user_activity_monthly"), MARCH)
    expected = {
        MARCH: {"totalUsers": 20, "newUsers": 20, "activeUsers": 20},
        days("2025-03-03"): {"totalUsers": 13, "newUsers": 13, "activeUsers": 13},
        days("2025-03-04"): {"totalUsers": 13, "newUsers": 0, "usersAtStart": 13},
        days("2025-03-05"): {"totalUsers": 20, "newUsers": 7, "activeUsers": 20},
    }
    for window, figures in expected.items():
        answer = users_answer(connection, None, window)
        assert {name: answer[name] for name in figures} == figures, window
    assert {"03-03", "03-04", "03-05", "03-31", "03"} <= set(stale(connection)["user_metrics"])
    settled = _facts(connection)
    _forget(connection)
    assert users_answer(connection, None, MARCH)["totalUsers"] == 20, "read from the events alone"
    update_users(connection, MONTHS)
    assert _facts(connection) == settled


@pytest.mark.slow
def test_a_removed_deletion_and_a_removed_return_are_taken_back(connection: Connection) -> None:
    add_login(connection, "03-01T10:00", "u1")
    add_login(connection, "03-04T10:00", "u1", "user.deleted")
    add_login(connection, "03-06T10:00", "u1")
    add_login(connection, "03-08T10:00", "u1")
    close_inputs(connection, MONTHS)
    deleted, first, second = at("2025-03-04T10:00"), at("2025-03-06T10:00"), at("2025-03-08T10:00")
    assert _facts(connection)[1] == [("acme", "u1", deleted, first)]
    close_metric(connection, USER_METRICS, Granularity.DAY, days("2025-03-01", "2025-03-10"), "EUR")
    _remove(connection, "u1", 6)
    assert update_users(connection, days("2025-03-06")) == 1
    assert _facts(connection)[1] == [("acme", "u1", deleted, second)]
    assert stale(connection)["user_metrics"] == ["03-06", "03-07", "03-08"], "from the one return to the other"
    close_metric(connection, USER_METRICS, Granularity.DAY, days("2025-03-01", "2025-03-10"), "EUR")
    _remove(connection, "u1", 4)
    assert update_users(connection, days("2025-03-04")) == 1
    assert _facts(connection)[1] == []
    assert stale(connection)["user_metrics"] == ["03-04", "03-05", "03-06", "03-07", "03-08"]
    total = [users_answer(connection, None, days(f"2025-03-0{day}"))["totalUsers"] for day in (4, 5, 6, 7, 8)]
    assert total == [1] * 5


@pytest.mark.slow
def test_a_deletion_that_comes_late_finds_the_return_in_a_day_closed_before(connection: Connection) -> None:
    add_login(connection, "03-01T10:00", "u1")
    add_login(connection, "03-08T10:00", "u1")
    close_inputs(connection, MONTHS)
    add_login(connection, "03-04T10:00", "u1", "user.deleted")
    close_inputs(connection, days("2025-03-04"))
    assert _facts(connection)[1] == [("acme", "u1", at("2025-03-04T10:00"), at("2025-03-08T10:00"))]


@pytest.mark.slow
def test_an_open_day_s_deletion_and_return_count_before_it_is_closed(connection: Connection) -> None:
    add_login(connection, "01-05T10:00", "u1")
    add_login(connection, "01-05T10:00", "u2", "user.deleted")
    close_inputs(connection, JANUARY)
    add_login(connection, "02-03T10:00", "u1", "user.deleted")
    add_login(connection, "02-04T10:00", "u2")
    live = [users_answer(connection, None, days(f"2025-02-0{day}")) for day in (3, 4, 5)]
    assert [(day["totalUsers"], day["churnedUsers"]) for day in live] == [(1, 1), (1, 0), (1, 1)]
    close_inputs(connection, FEBRUARY)
    assert [users_answer(connection, None, days(f"2025-02-0{day}")) for day in (3, 4, 5)] == live


@pytest.mark.slow
def test_events_are_removed_from_compressed_chunks_too(connection: Connection) -> None:
    _eight_users(connection)
    close_inputs(connection, MONTHS)
    connection.execute("SELECT compress_chunk(c) FROM show_chunks('analytics_events') AS c")
    _remove(connection, "u0", 3)
    update_users(connection, days("2025-03-03"))
    assert users_answer(connection, None, days("2025-03-05"))["totalUsers"] == 20


@pytest.mark.slow
def test_of_a_month_that_waits_to_be_closed_again_only_users_are_active(connection: Connection) -> None:
    """Users are settled by the day; until its month is closed again the aggregate still names those who are none."""
    for user, day in (("a", 5), ("b", 6), ("c", 7)):
        add_login(connection, f"03-{day:02}T10:00", user)
    add_login(connection, "03-01T10:00", "gone")
    add_login(connection, "03-02T10:00", "gone", "user.deleted")
    add_login(connection, "03-08T10:00", "gone")
    close_inputs(connection, MONTHS)
    _remove(connection, "b", 6)
    _remove(connection, "c", 7)
    _remove(connection, "gone", 8)
    close_inputs(connection, days("2025-03-06", "2025-03-08"))
    asked = ("totalUsers", "activeUsers", "newUsers", "activeUserRate")
    march = users_answer(connection, None, MARCH)
    assert [march[field] for field in asked] == [2, 2, 2, 100]
    later = users_answer(connection, None, Window(at("2025-03-03T00:00"), at("2025-04-03T00:00")))
    assert later["activeUserRate"] <= 100


COUNTED = """
    SELECT company_id, date_trunc('day', instant, 'UTC'), sum(seen), sum(deleted), sum(returned)
    FROM (
        SELECT company_id, first_seen AS instant, 1 AS seen, 0 AS deleted, 0 AS returned FROM analytics_users
        UNION ALL
        SELECT company_id, min(deleted_at), 0, 1, 0
        FROM analytics_user_deletions GROUP BY company_id, user_id, returned_at
        UNION ALL
        SELECT DISTINCT ON (company_id, user_id, returned_at) company_id, returned_at, 0, 0, 1
        FROM analytics_user_deletions WHERE returned_at IS NOT NULL
    ) AS s
    GROUP BY 1, 2 ORDER BY 1, 2
"""


def test_users_are_counted_by_day_whoever_changes_what_is_stored_of_them(connection: Connection) -> None:
    """A user who is deleted again while deleted counts once, from the first deletion on that remains."""

    def counted() -> Facts:
        stored = (
            "SELECT * FROM analytics_user_days WHERE first_seen <> 0 OR deleted <> 0 OR returned <> 0 ORDER BY 1, 2"
        )
        days_counted = connection.execute(stored).fetchall()
        assert days_counted == connection.execute(COUNTED).fetchall()
        return [row[1:] for row in days_counted]

    for when, what in (("01", "login"), ("04", "deleted"), ("05", "deleted"), ("08", "login")):
        add_login(connection, f"03-{when}T10:00", "u1", f"user.{what}")
    add_login(connection, "03-01T11:00", "u2")
    update_users(connection, MARCH)
    first, again, back = (at(f"2025-03-{day}T00:00") for day in ("01", "04", "08"))
    assert counted() == [(first, 2, 0, 0), (again, 0, 1, 0), (back, 0, 0, 1)]
    connection.execute("DELETE FROM analytics_user_deletions WHERE deleted_at < '2025-03-05Z'")
    assert counted() == [(first, 2, 0, 0), (at("2025-03-05T00:00"), 0, 1, 0), (back, 0, 0, 1)]
    connection.execute("UPDATE analytics_user_deletions SET deleted_at = '2025-03-02Z', returned_at = NULL")
    assert counted() == [(first, 2, 0, 0), (at("2025-03-02T00:00"), 0, 1, 0)]
    connection.execute("UPDATE analytics_users SET first_seen = '2025-02-27 10:00Z' WHERE user_id = 'u2'")
    assert [row[1] for row in counted()] == [1, 1, 0]
    _forget(connection)
    assert counted() == []


@pytest.mark.slow
def test_stored_users_are_counted_and_closed_periods_get_what_is_stored_since(connection: Connection) -> None:
    add_login(connection, "02-05T10:00", "stays")
    add_login(connection, "02-05T10:00", "leaves")
    add_login(connection, "03-05T10:00", "stays")
    add_login(connection, "03-06T10:00", "stays", "user.deleted")
    close_inputs(connection, MONTHS)
    close_figures(connection, MONTHS)
    answer = users_answer(connection, None, MARCH)
    connection.execute("DROP VIEW analytics_user_metrics_rounded")
    connection.execute("ALTER TABLE analytics_user_metrics DROP COLUMN churned_of_start")
    connection.execute("DROP TABLE analytics_user_days")
    connection.execute("DELETE FROM analytics_schema_migrations WHERE version = 33")
    assert migrate().applied == ("0033_user_figures.sql",)
    assert users_answer(connection, None, MARCH) == answer
    assert set(stale(connection)) == {"user_metrics"}
    stored = (
        "SELECT active_before, churned_of_start, churn_rate_of_start FROM analytics_user_metrics "
        "WHERE granularity = 'month' AND period_start = '2025-03-01Z'"
    )
    assert fetch_row(connection, stored) == (2, None, 100)
    close_figures(connection, MONTHS)
    assert fetch_row(connection, stored) == (2, 2, 100)
    assert stale(connection) == {}


@pytest.fixture
def expired(connection: Connection) -> Connection:
    """January to March closed, of which raw events remain from 20 February on."""
    add_login(connection, "01-05T10:00", "stays")
    add_login(connection, "01-06T10:00", "gone")
    add_login(connection, "01-07T10:00", "gone", "user.deleted")
    add_login(connection, "01-08T10:00", "back")
    add_login(connection, "01-09T10:00", "back", "user.deleted")
    add_login(connection, "01-20T10:00", "back")
    add_login(connection, "02-25T10:00", "stays")
    close_inputs(connection, MONTHS)
    connection.execute("SELECT drop_chunks('analytics_events', '2025-02-20'::timestamptz)")
    return connection


@pytest.mark.slow
def test_what_is_known_only_from_behind_the_horizon_stays(expired: Connection) -> None:
    kept = _facts(expired)
    assert (len(kept[0]), len(kept[1])) == (3, 2)
    for window in (JANUARY, MONTHS, days("2025-02-25")):
        update_users(expired, window)
        assert _facts(expired) == kept
    # What comes late still counts, and is taken back again where events are complete.
    add_login(expired, "02-26T10:00", "gone")
    add_login(expired, "02-27T10:00", "new")
    update_users(expired, FEBRUARY)
    assert [row[3] for row in _facts(expired)[1]] == [at("2025-01-20T10:00"), at("2025-02-26T10:00")]
    expired.execute("DELETE FROM analytics_events WHERE user_id IN ('gone', 'new', 'stays')")
    update_users(expired, FEBRUARY)
    assert _facts(expired) == kept


@pytest.mark.slow
def test_in_sql_what_would_need_expired_events_is_null_and_what_is_kept_is_counted(expired: Connection) -> None:
    def metrics(window: Window) -> tuple[object, ...]:
        return fetch_row(
            expired,
            "SELECT total_users, active_users, new_users, churned_users, users_at_start, active_before, churn_rate, "
            "active_user_rate, churn_rate_of_start "
            "FROM analytics_user_answers(ARRAY[ROW(NULL, %s, %s, NULL, NULL)::analytics_figure_period])",
            [window.start, window.end],
        )

    odd = days("2025-01-06", "2025-01-08")
    assert active_users(expired, None, odd) is None
    assert active_users(expired, "nobody", odd) is None
    assert new_users(expired, None, odd) == 2, "who was first seen outlives the events"
    assert metrics(odd) == (3, None, 2, None, 1, None, None, None, None)
    # The days before are gone, the days themselves are not.
    edge = days("2025-02-21", "2025-02-28")
    assert metrics(edge)[:6] == (2, 1, 0, None, 2, None)
    by_company = (
        "SELECT active_users, churned_users, churned_of_start "
        "FROM analytics_user_answers("
        "analytics_figure_periods(analytics_user_companies(%s), ARRAY[%s], ARRAY[%s], NULL))"
    )
    assert expired.execute(by_company, [odd.end, odd.start, odd.end]).fetchall() == [(None, None, None)]
    # From the start of a month on, of which the rest is not gone.
    assert active_users(expired, None, Window(JANUARY.start, at("2025-03-03T00:00"))) == 3
    assert active_users(expired, None, JANUARY) == 3
    assert metrics(JANUARY)[:6] == (3, 3, 3, 1, 0, 0)
    assert active_and_new(expired, MONTHS) == [(3, 3), (1, 0), (0, 0)]
    # Before there was anything, nothing is missing.
    assert new_users(expired, None, days("2024-11-05")) == 0


@pytest.mark.slow
def test_the_first_day_after_the_horizon_keeps_its_figures_and_the_others_are_closed_again(
    connection: Connection,
) -> None:
    """Who has churned in it follows from the day before, whose events have expired."""
    first, second = days("2025-03-01"), days("2025-03-02")
    for user in ("a", "b"):
        add_login(connection, "02-28T10:00", user)
    add_login(connection, "03-01T10:00", "a")
    add_login(connection, "03-02T10:00", "a")
    close_inputs(connection, MONTHS)
    close_figures(connection, MARCH)
    connection.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-03-01Z')")
    connection.execute("SELECT drop_chunks('analytics_events', '2025-03-01'::timestamptz)")
    add_login(connection, "03-01T11:00", "late")
    close_inputs(connection, MARCH)
    assert stale(connection)["user_metrics"][:2] == ["03-02", "03-03"]
    close_metric(connection, USER_METRICS, Granularity.DAY, MARCH, "EUR")
    stored = "SELECT active_users, churned_users FROM analytics_user_metrics WHERE company_id = 'acme' "
    stored += "AND granularity = 'day'"
    assert fetch_row(connection, f"{stored} AND period_start = '2025-03-01Z'") == (1, 1)
    assert fetch_row(connection, f"{stored} AND period_start = '2025-03-02Z'") == (1, 1)
    assert close_metric(connection, USER_METRICS, Granularity.DAY, first, "EUR").rows == 0
    finding = equals_definitions(connection, get_settings(), "user_metrics", USER_METRICS, Granularity.DAY, MARCH)
    assert finding.passed, finding.summary
    assert finding.metadata["days compared"] == 30
    # A day that was never closed has the figures that its own events give.
    connection.execute("DELETE FROM analytics_metric_periods WHERE metric = 'user_metrics'")
    close_metric(connection, USER_METRICS, Granularity.DAY, Window(first.start, second.end), "EUR")
    assert fetch_row(connection, f"{stored} AND period_start = '2025-03-01Z'") == (2, None)


@pytest.mark.slow
def test_of_a_month_that_expired_before_it_was_closed_nothing_is_known(connection: Connection) -> None:
    for when in ("01-05", "02-05", "03-05"):
        add_login(connection, f"{when}T10:00", "u1")
    close_inputs(connection, JANUARY)
    close_inputs(connection, MARCH)
    connection.execute(
        "INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-03-01Z')",
    )
    connection.execute("SELECT drop_chunks('analytics_events', '2025-03-01'::timestamptz)")
    assert active_and_new(connection, MONTHS) == [(1, 1), (None, None), (1, 0)]
    assert new_users(connection, None, FEBRUARY) is None
    assert active_users(connection, None, FEBRUARY) is None
    with pytest.raises(HorizonError, match="kept once they are closed"):
        users_answer(connection, None, FEBRUARY)
    assert close_metric(connection, USER_METRICS, Granularity.MONTH, FEBRUARY, "EUR").rows == 1
    stored = "SELECT total_users, active_users, new_users, churned_users, active_before FROM analytics_user_metrics"
    # Of the company, and of all together.
    assert connection.execute(stored).fetchall() == [(1, None, None, None, 1)] * 2


@pytest.mark.slow
def test_what_a_database_of_version_1_holds_is_taken_over(connection: Connection) -> None:
    """As migration 0005 and 0013 had it, with a user who came back and one whose second deletion was not kept."""
    for when, user, what in (
        ("01-05", "back", "login"),
        ("01-10", "back", "deleted"),
        ("02-10", "back", "login"),
        ("02-20", "back", "deleted"),
        ("01-05", "gone", "login"),
        ("01-06", "gone", "deleted"),
        ("03-05", "open", "deleted"),
    ):
        add_login(connection, f"{when}T10:00", user, f"user.{what}")
    connection.execute("DELETE FROM analytics_schema_migrations WHERE version = 22")
    connection.execute(f"DROP TABLE {USER_DELETIONS}")
    connection.execute("ALTER TABLE analytics_users ADD COLUMN deleted_at timestamptz")
    connection.execute("DROP VIEW analytics_user_metrics_rounded")
    connection.execute("ALTER TABLE analytics_user_metrics DROP COLUMN users_at_start")
    connection.execute("ALTER TABLE analytics_user_metrics RENAME COLUMN active_before TO users_at_start")
    connection.execute(
        "INSERT INTO analytics_users VALUES ('acme', 'back', '2025-01-05 10:00Z', '2025-01-10 10:00Z'), "
        "('acme', 'gone', '2025-01-05 10:00Z', '2025-01-06 10:00Z'), "
        # Of whom no event is left.
        "('acme', 'expired', '2023-01-05 10:00Z', '2023-01-06 10:00Z')"
    )
    connection.execute("SELECT analytics_note_closed('analytics_users', %s, %s)", [JANUARY.start, FEBRUARY.end])
    connection.execute(
        "INSERT INTO analytics_user_metrics (company_id, granularity, period_start, period_end, total_users, "
        "active_users, new_users, churned_users, users_at_start, active_fingerprint, definitions_version) "
        "VALUES ('acme', 'month', '2025-01-01Z', '2025-02-01Z', 3, 2, 2, 2, 7, 0, 1)"
    )
    assert migrate().applied == ("0022_user_deletions.sql",)
    assert _facts(connection)[1] == [
        ("acme", "back", at("2025-01-10T10:00"), at("2025-02-10T10:00")),
        ("acme", "back", at("2025-02-20T10:00"), None),
        ("acme", "expired", at("2023-01-06T10:00"), None),
        ("acme", "gone", at("2025-01-06T10:00"), None),
    ]
    stored = fetch_row(connection, "SELECT users_at_start, active_before FROM analytics_user_metrics")
    assert stored == (None, 7)
    taken_over = _facts(connection)
    # Nothing is left to settle in what was closed, and the open month is read from its events.
    assert update_users(connection, JANUARY) == update_users(connection, FEBRUARY) == 0
    assert _facts(connection) == taken_over
    assert users_answer(connection, None, MARCH)["churnedUsers"] == 1
    connection.execute(load_sql("migrations/0022_user_deletions.sql").encode())
    assert _facts(connection) == taken_over
