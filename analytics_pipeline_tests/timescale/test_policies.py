import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.migrations import migrate
from analytics_pipeline.timescale.policies import COMPRESSION, REFRESH, RETENTION, Policy, read_policies
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event


def _policies(database: Database) -> dict[tuple[str, str], Policy]:
    with database.connect(autocommit=True) as connection:
        return {(p.procedure, p.relation): p for p in read_policies(connection)}


def _with(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"ANALYTICS_{name.upper()}", value)
    get_settings.cache_clear()
    return get_settings()


def test_refresh_policies_are_registered_but_left_to_dagster(database: Database) -> None:
    policies = _policies(database)
    assert {relation for procedure, relation in policies if procedure == REFRESH} == {a.name for a in AGGREGATES}
    assert not any(p.scheduled for (procedure, _), p in policies.items() if procedure == REFRESH)


def test_retention_never_means_no_retention_policy(database: Database) -> None:
    assert (RETENTION, "analytics_events") not in _policies(database)


def test_a_changed_setting_replaces_the_policy_and_the_same_one_leaves_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _with(monkeypatch, compress_after="45 days", retention="2 years")
    changes = {(c.procedure, c.action.split(";")[0]) for c in migrate(settings).policy_changes}
    assert changes == {(COMPRESSION, "replaced"), (RETENTION, "added")}
    assert _policies(database)[COMPRESSION, "analytics_events"].config["compress_after"] == "45 days"
    # 24 months are 2 years: written differently, the same.
    assert migrate(_with(monkeypatch, retention="24 months")).policy_changes == ()
    changes = {(c.procedure, c.action) for c in migrate(_with(monkeypatch, retention="never")).policy_changes}
    assert changes == {(RETENTION, "removed")}


def test_a_new_retention_policy_says_what_it_will_drop_and_drops_nothing_yet(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2020-03-05T12:00")
        (change,) = migrate(_with(monkeypatch, retention="2 years")).policy_changes
        assert "will drop 1 chunks of raw events of 2020-03-05 to 2020-03-12" in change.action
        assert connection.execute("SELECT count(*) FROM analytics_events").fetchone() == (1,)


def test_a_retention_within_reach_of_a_refresh_window_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AnalyticsError, match=r"ANALYTICS_RETENTION=3 months is too short: .*5 months"):
        migrate(_with(monkeypatch, retention="3 months"))


def test_the_engine_refreshes_only_where_that_is_safe(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _with(monkeypatch, refresh_owner="timescaledb")
    with database.connect(autocommit=True) as connection:
        safe = server_info(connection).allows_engine_refresh
    if safe:
        migrate(settings)
        assert all(p.scheduled for (procedure, _), p in _policies(database).items() if procedure == REFRESH)
    else:
        with pytest.raises(AnalyticsError, match=r"needs TimescaleDB 2\.26\.3"):
            migrate(settings)
        assert not any(p.scheduled for (procedure, _), p in _policies(database).items() if procedure == REFRESH)


@pytest.mark.parametrize(
    ("name", "value"),
    [("retention", "soon"), ("compress_after", "-1 days"), ("start", "2025-01-15"), ("refresh_owner", "me")],
)
def test_a_setting_of_the_wrong_form_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"ANALYTICS_{name.upper()}", value)
    get_settings.cache_clear()
    with pytest.raises(AnalyticsError, match=f"ANALYTICS_{name.upper()}"):
        get_settings()
    get_settings.cache_clear()
