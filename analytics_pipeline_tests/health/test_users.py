"""What is stored of users is compared with the events: of the newest days all of it, of older ones a sample."""

from datetime import UTC, date, datetime, timedelta

import pytest

from analytics_pipeline.health import users
from analytics_pipeline.health.check_result import State
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.health.conftest import Ask
from analytics_pipeline_tests.metrics.closing import close_inputs

pytestmark = pytest.mark.slow

TODAY = datetime.now(UTC).date()
NEW, OLD = TODAY - timedelta(days=10), TODAY - timedelta(days=90)


@pytest.fixture
def closed(connection: Connection) -> Connection:
    """Users first seen, deleted and back, long ago and of late; everything up to yesterday is closed."""
    for day in (OLD, NEW):
        for hour, user, what in (
            (8, "stays", "user.login"),
            (8, "gone", "user.login"),
            (9, "gone", "user.deleted"),
            (8, "back", "user.login"),
            (9, "back", "user.deleted"),
            (10, "back", "user.login"),
        ):
            add_event(
                connection, f"{day}T{hour:02}:00", what, category="user_activity", user_id=f"{user} {day}", value=None
            )
    close_inputs(connection, Window.of_dates(OLD - timedelta(days=1), TODAY - timedelta(days=1)))
    return connection


def test_what_was_just_closed_equals_the_events(ask: Ask, closed: Connection) -> None:
    finding = ask(users.CHECK, "analytics_users")
    assert finding.passed, finding.text
    assert (finding.metadata["users compared"], finding.metadata["facts sampled"]) == (3, 3 + 2 + 1 + 1)


def test_nothing_closed_is_no_difference(ask: Ask, connection: Connection) -> None:
    add_event(connection, f"{NEW}T08:00")
    assert ask(users.CHECK, "analytics_users").passed


@pytest.mark.parametrize("day", [OLD, NEW], ids=["sampled", "of late"])
@pytest.mark.parametrize(
    ("change", "stated"),
    [
        (
            "UPDATE analytics_users SET first_seen = first_seen + interval '1 minute' WHERE user_id = 'stays {day}'",
            "stays {day}: {day} 08:01:00Z first seen then, where no event says so",
        ),
        (
            "INSERT INTO analytics_users VALUES ('acme', 'ghost', '{day} 07:00Z')",
            "ghost: {day} 07:00:00Z first seen then, where no event says so",
        ),
        (
            "INSERT INTO analytics_user_deletions VALUES ('acme', 'stays {day}', '{day} 11:00Z')",
            "stays {day}: {day} 11:00:00Z deleted then, where no event says so",
        ),
        (
            "UPDATE analytics_user_deletions SET returned_at = '{day} 11:00Z' WHERE user_id = 'gone {day}'",
            "gone {day}: {day} 11:00:00Z back then, where no event says so",
        ),
    ],
)
def test_what_no_event_says_is_an_error_whatever_its_age(
    ask: Ask, closed: Connection, day: date, change: str, stated: str
) -> None:
    closed.execute(change.format(day=day).encode())
    finding = ask(users.CHECK, "analytics_users")
    assert finding.state is State.ERROR
    assert stated.format(day=day) in finding.summary
    assert finding.remedies == (f"analytics-pipeline close --start {day} --end {day + timedelta(days=1)}",)
    close_inputs(closed, Window.of_dates(day, day))
    assert ask(users.CHECK, "analytics_users").passed


@pytest.mark.parametrize(
    ("change", "stated"),
    [
        ("DELETE FROM analytics_users WHERE user_id = 'stays {day}'", "{day} 08:00:00Z has an event then, before"),
        ("DELETE FROM analytics_user_deletions", "{day} 09:00:00Z deleted then, which is not stored"),
        ("UPDATE analytics_user_deletions SET returned_at = NULL", "{day} 10:00:00Z has an event then, before the"),
    ],
)
def test_events_of_late_that_are_not_stored_are_an_error(
    ask: Ask, closed: Connection, change: str, stated: str
) -> None:
    closed.execute(change.format(day=NEW).encode())
    finding = ask(users.CHECK, "analytics_users")
    assert finding.state is State.ERROR
    assert stated.format(day=NEW) in finding.summary


def test_removed_events_are_left_to_be_closed_again(ask: Ask, closed: Connection) -> None:
    closed.execute("DELETE FROM analytics_events WHERE user_id LIKE 'back %'")
    assert ask(users.CHECK, "analytics_users").passed


def test_what_has_expired_is_not_compared(ask: Ask, closed: Connection) -> None:
    closed.execute("SELECT drop_chunks('analytics_events', now() - interval '60 days')")
    finding = ask(users.CHECK, "analytics_users")
    assert finding.passed, finding.text
    assert finding.metadata["facts sampled"] == 1
