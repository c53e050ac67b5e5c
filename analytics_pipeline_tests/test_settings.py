"""Settings say what is wrong with them, and never show a secret."""

import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner
from dagster import AssetKey, DagsterInstance, RetryPolicy, serialize_value
from pydantic import AliasChoices, SecretStr
from starlette.testclient import TestClient

import analytics_pipeline
from analytics_pipeline.api.app import create_app
from analytics_pipeline.cli import main
from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.addresses import parse_addresses
from analytics_pipeline.messages.incidents import Failure, enqueue_due, record_failure
from analytics_pipeline.operations.backup import connect_to_server
from analytics_pipeline.orchestration import shared
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline_tests.conftest import Database


def _variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"ANALYTICS_{name.upper()}"


SECRETS = [
    _variable(name) for name, field in Settings.model_fields.items() if SecretStr in (*get_args(field.annotation),)
]
URLS = [
    "ANALYTICS_DATABASE_URL",
    "ANALYTICS_READER_URL",
    "DAGSTER_POSTGRES_URL",
    "ANALYTICS_ERP_URL",
    "ANALYTICS_API_URL",
    "ANALYTICS_API_WRITER_URL",
]
MALFORMED = [
    "postgresql://someone:hunter/2@127.0.0.1:1/books",
    "postgresql://someone:12/hunter2@127.0.0.1:1/books",
    "postgresql://someone:hunter 2@127.0.0.1:1/books",
    "postgresql://someone:hunter%zz2@127.0.0.1:1/books",
    "postgresql://someone:hunter%2@127.0.0.1:1/books",
    "postgresql://someone:hunter@2@127.0.0.1:1/books",
    "postgresql://someone:hunter2@[127.0.0.1:1/books",
    "postgresql://someone:hunter:2@127.0.0.1:x/books",
    "someone:hunter2@127.0.0.1:1/books",
    "mysql://someone:hunter2@127.0.0.1:1/books",
    "host=127.0.0.1 password=hunter2 dbname",
]


@pytest.fixture(autouse=True)
def clean(environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for variable in (*SECRETS, *(f"{secret}_FILE" for secret in SECRETS)):
        if variable != "ANALYTICS_DATABASE_URL":
            environment.delenv(variable, raising=False)
    get_settings.cache_clear()
    return environment


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("variable", URLS)
def test_a_malformed_url_is_named_and_nothing_of_its_password_is_shown(
    clean: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    clean.setenv(variable, url)
    with pytest.raises(AnalyticsError) as raised:
        get_settings()
    assert str(raised.value).startswith(f"{variable}: must look like postgresql://")
    # A traceback shows what an error was raised from.
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert "hunter" not in str(raised.value)


@pytest.mark.parametrize("variable", SECRETS)
@pytest.mark.parametrize("command", [["doctor"], ["close", "--start", "2025-01-01", "--end", "2025-01-01"]])
@pytest.mark.slow
def test_no_command_shows_a_secret_that_can_t_be_used(
    clean: pytest.MonkeyPatch, variable: str, command: list[str]
) -> None:
    for secret in ("hunter2", "https://hunter2 hunter2", "x=hunter2", "smtps://me:hunter2@"):
        clean.setenv(variable, secret)
        get_settings.cache_clear()
        result = CliRunner().invoke(main, command)
        assert "hunter" not in result.output
        assert result.exception is None or "hunter" not in repr(result.exception)


def test_a_secret_may_come_from_a_file(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for variable, url in ((v, f"postgresql://someone:hunter2@127.0.0.1:1/{v.lower()}") for v in URLS[1:]):
        file.write_text(f"{url}\n", encoding="utf-8")
        clean.setenv(f"{variable}_FILE", str(file))
        get_settings.cache_clear()
        settings = get_settings()
        found = getattr(settings, variable.removeprefix("ANALYTICS_").lower())
        assert found is not None
        assert found.get_secret_value() == url
        clean.setenv(variable, url)
        get_settings.cache_clear()
        with pytest.raises(AnalyticsError, match=f"Both {variable} and {variable}_FILE are set"):
            get_settings()
        clean.delenv(variable)
    file.unlink()
    get_settings.cache_clear()
    with pytest.raises(AnalyticsError, match=r"_FILE: can't read .*secret: No such file"):
        get_settings()


# No setting is each of these.
HOSTILE = ["x", "-1", "0", "nan", "inf", "1e400", "9" * 40, "2025-13-01", "~nobody-here/x", "a b", "\x1b[31m\nx", "://"]


@pytest.mark.slow
def test_a_value_that_a_setting_can_t_have_is_one_line_that_names_the_setting(clean: pytest.MonkeyPatch) -> None:
    clean.delenv("ANALYTICS_DATABASE_URL")
    for name, field in Settings.model_fields.items():
        variable, said = _variable(name), []
        for value in HOSTILE:
            with pytest.MonkeyPatch.context() as setting:
                setting.setenv(variable, value)
                get_settings.cache_clear()
                try:
                    get_settings()
                except AnalyticsError as error:
                    said.append(str(error))
        for line in said:
            assert line.startswith(variable)
            assert line.endswith(".")
            assert "\n" not in line
            # Sentences of pydantic, of whatever release.
            assert not re.search(
                r"pydantic|Input should|Value error|valid (integer|number|string|date)|unable to", line
            )
        # A text may be anything.
        assert said or field.annotation in {str, SecretStr | None}, variable


def test_what_a_number_a_choice_and_a_day_look_like_is_said(clean: pytest.MonkeyPatch) -> None:
    for variable, value, message in (
        ("ANALYTICS_LOCK_TIMEOUT", "soon", "must be a whole number from 1 to 1000000, not 'soon'."),
        ("ANALYTICS_API_STATEMENT_TIMEOUT", "0", "must be a whole number of at least 1, not '0'."),
        ("ANALYTICS_API_POOL_TIMEOUT", "0", "must be a number above 0, not '0'."),
        ("ANALYTICS_API_RATE", "nan", "must be a number of at least 0, not 'nan'."),
        ("ANALYTICS_REFRESH_OWNER", "me", "must be dagster or timescaledb, not 'me'."),
        ("ANALYTICS_START", "soon", "must be a day like 2025-01-01, not 'soon'."),
    ):
        with pytest.MonkeyPatch.context() as setting:
            setting.setenv(variable, value)
            get_settings.cache_clear()
            with pytest.raises(AnalyticsError) as raised:
                get_settings()
        assert str(raised.value) == f"{variable}: {message}"


def test_a_file_of_settings_that_can_t_be_read_is_named(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv("ANALYTICS_HOME", str(tmp_path))
    (tmp_path / "settings.env").write_bytes(b"ANALYTICS_BASE_CURRENCY=\xff\n")
    get_settings.cache_clear()
    with pytest.raises(AnalyticsError, match=r"Can't read .*settings\.env: it is not UTF-8"):
        get_settings()


def test_the_home_is_the_checkout_s_wherever_the_command_is_started(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = Path(analytics_pipeline.__file__).parents[1]
    clean.delenv("ANALYTICS_HOME")
    for folder, said in ((tmp_path, f"Home: {ours / '.local'} (ANALYTICS_HOME names another).\n"), (ours, "")):
        clean.chdir(folder)
        get_settings.cache_clear()
        assert get_settings().home == ours / ".local"
        assert CliRunner().invoke(main, ["db", "start"]).stderr.startswith(f"{said}Error: ANALYTICS_DATABASE_URL")
        assert CliRunner().invoke(main, ["db", "start", "--help"]).stderr == ""
    clean.setenv("ANALYTICS_HOME", "mine")
    clean.chdir(tmp_path)
    get_settings.cache_clear()
    assert get_settings().home == tmp_path / "mine"
    assert CliRunner().invoke(main, ["db", "start"]).stderr.startswith("Error: ")


# What is well formed and leads nowhere: of each, what uses it.
_NOWHERE = "someone:hunter2@127.0.0.1:1"
UNREACHABLE = {
    "ANALYTICS_DATABASE_URL": (f"postgresql://{_NOWHERE}/books", ["db", "status"]),
    "ANALYTICS_READER_URL": (f"postgresql://{_NOWHERE}/books", ["metrics", "revenue"]),
    "DAGSTER_POSTGRES_URL": (f"postgresql://{_NOWHERE}/books", ["doctor"]),
    "ANALYTICS_ERP_URL": (f"postgresql://{_NOWHERE}/books", ["sources", "run"]),
    "ANALYTICS_SMTP_URL": (f"smtp+plain://{_NOWHERE}", ["outbox", "send"]),
    "ANALYTICS_SMTP_OAUTH": ('{"provider": "hunter2"}', ["outbox", "send"]),
    "ANALYTICS_WEBHOOKS": ("ops=https://127.0.0.1:1/hunter2", ["outbox", "send"]),
    "ANALYTICS_WEBHOOK_SECRET": ("whsec_hunter2", ["outbox", "send"]),
    "ANALYTICS_SLACK": ("ops=https://127.0.0.1:1/hunter2", ["outbox", "send"]),
    "ANALYTICS_TEAMS": ("ops=https://127.0.0.1:1/hunter2", ["outbox", "send"]),
    "ANALYTICS_PAGERDUTY": ("ops=hunter2", ["outbox", "send"]),
    # No command: _USES.
    "ANALYTICS_API_URL": (f"postgresql://{_NOWHERE}/books", []),
    "ANALYTICS_API_WRITER_URL": (f"postgresql://{_NOWHERE}/books", []),
    "ANALYTICS_REHEARSAL_URL": (f"postgresql://{_NOWHERE}/books", []),
    # Not secrets, but addresses that may hold a password.
    "ANALYTICS_ARTIFACTS": (f"nosuch://{_NOWHERE}/x", ["report", "--all-companies", "--month", "2025-01"]),
    "ANALYTICS_FX_SOURCE": (f"https://{_NOWHERE}/rates.csv", ["doctor"]),
    "ANALYTICS_UI_URL": (f"https://{_NOWHERE}", ["doctor"]),
    "ANALYTICS_ARTIFACTS_URL": (f"https://{_NOWHERE}", ["doctor"]),
}
# What is kept of a run that fails by it.
ASSETS = {
    "ANALYTICS_DATABASE_URL": "analytics_events",
    "ANALYTICS_ERP_URL": "erp_invoices",
    "ANALYTICS_FX_SOURCE": "fx_rates",
}


def test_every_setting_that_may_hold_a_secret_is_tried(clean: pytest.MonkeyPatch) -> None:
    assert UNREACHABLE.keys() >= {*SECRETS}


def _command(arguments: list[str]) -> str:
    result = CliRunner().invoke(main, arguments)
    return f"{result.output}{result.exception!r}"


def _ask_the_api() -> str:
    with TestClient(create_app(get_settings()), raise_server_exceptions=False) as client:
        asked = [client.get(path) for path in ("/readyz", "/analytics/revenue", "/metrics")]
        asked.append(client.post("/analytics/events", json=[], headers={"Authorization": "Bearer ap_x"}))
    return "".join(f"{answer.headers}{answer.text}" for answer in asked)


def _connect_to_rehearse() -> str:
    url = get_settings().rehearsal_url
    assert url is not None
    with pytest.raises(AnalyticsError) as raised, connect_to_server(url.get_secret_value(), "ANALYTICS_REHEARSAL_URL"):
        pass
    return str(raised.value)


_USES = {
    "ANALYTICS_API_URL": _ask_the_api,
    "ANALYTICS_API_WRITER_URL": _ask_the_api,
    "ANALYTICS_REHEARSAL_URL": _connect_to_rehearse,
}


def _run_an_asset(name: str) -> str:
    """Return what Dagster keeps of a run that has failed."""
    with DagsterInstance.ephemeral() as instance:
        result = (
            build_definitions(get_settings())
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(asset_selection=[AssetKey(name)], instance=instance, raise_on_error=False)
        )
        assert not result.success
        return "".join(serialize_value(entry) for entry in instance.all_logs(result.run_id))


@pytest.mark.slow
def test_a_secret_that_leads_nowhere_is_in_no_output_no_log_and_no_row(
    clean: pytest.MonkeyPatch, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    clean.setattr(shared, "RETRY", RetryPolicy(max_retries=0))
    with database.connect(autocommit=True) as connection:
        for channel, target in (("webhook", "ops"), ("mail", "anna@example.com")):
            connection.execute(
                "INSERT INTO analytics_outbox (kind, channel, dedupe_key, target, subject, text_body) "
                "VALUES ('alert', %(channel)s, %(channel)s, %(target)s, 's', 't')",
                {"channel": channel, "target": target},
            )
        clean.setenv("ANALYTICS_PAGERDUTY_URL", "https://127.0.0.1:1/")
        record_failure(connection, Failure("run", "daily", datetime.now(UTC), "boom", "fix it"))
        enqueue_due(connection, parse_addresses(["slack:ops", "teams:ops", "pagerduty:ops"]))
        for variable, (value, command) in UNREACHABLE.items():
            with pytest.MonkeyPatch.context() as setting:
                setting.setenv(variable, value)
                setting.setenv("ANALYTICS_API_POOL_TIMEOUT", "1")
                get_settings.cache_clear()
                shown = _USES[variable]() if variable in _USES else _command(command)
                shown += _run_an_asset(ASSETS[variable]) if variable in ASSETS else ""
            assert "hunter" not in shown + caplog.text, (variable, command)
            connection.execute("UPDATE analytics_outbox SET next_attempt_at = now() WHERE state = 'pending'")
        rows = connection.execute("SELECT to_jsonb(o)::text FROM analytics_outbox AS o").fetchall()
        assert "hunter" not in str(rows)
