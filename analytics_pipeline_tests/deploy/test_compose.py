"""docker-compose.yml: what can be held true without Docker."""

import re
from pathlib import Path
from typing import Any

import pytest

from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.server import RECOMMENDED_VERSION, parse_version
from analytics_pipeline_tests.deploy.files import example_environment, fill_in, read_text, read_yaml

SECRETS = {name: name.lower() for name in re.findall(r"^(\w+)=$", read_text(".env.example"), re.MULTILINE)}
COMPOSE = read_yaml("docker-compose.yml")
SERVICES: dict[str, Any] = fill_in(COMPOSE, SECRETS)["services"]
ONE_SHOT = {"migrate", "dagster-migrate"}
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("analytics-pipeline:")}


def test_the_services_are_the_parts_of_the_pipeline() -> None:
    assert {"migrate", "dagster-migrate", "code-server", "webserver", "daemon", "api"} == OURS
    assert set(SERVICES) - OURS == {"timescaledb", "dagster-storage", "grafana"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_restarts_and_tells_its_health_unless_it_runs_once(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_services_have_few_rights(name: str) -> None:
    service = SERVICES[name]
    user = re.search(r"^USER (\S+)$", read_text("Dockerfile"), re.MULTILINE)
    assert user is not None
    assert service["user"] == user[1] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned(name: str) -> None:
    tag = SERVICES[name]["image"].partition(":")[2]
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?(-[a-z]+\d*)?", tag)


def test_our_image_has_the_version_of_the_package() -> None:
    version = re.search(r'^version = "(.+)"$', read_text("pyproject.toml"), re.MULTILINE)
    assert version is not None
    assert {SERVICES[name]["image"] for name in OURS} == {f"analytics-pipeline:{version[1]}"}


def test_timescaledb_is_a_version_for_production() -> None:
    match = re.fullmatch(r"timescale/timescaledb:(\d+\.\d+\.\d+)-pg(\d+)", SERVICES["timescaledb"]["image"])
    assert match is not None
    version = parse_version(match[1])
    assert version >= RECOMMENDED_VERSION
    assert int(match[2]) in {16, 17, 18}


def test_timescaledb_sends_no_telemetry_and_has_workers_for_its_jobs() -> None:
    command = SERVICES["timescaledb"]["command"]
    assert command[0] == "postgres"
    assert set(command[1::2]) == {"-c"}
    settings = dict(setting.split("=", 1) for setting in command[2::2])
    assert settings["timescaledb.telemetry_level"] == "off"
    workers = int(settings["timescaledb.max_background_workers"]) + int(settings["max_parallel_workers"])
    assert int(settings["max_worker_processes"]) >= workers + 3


@pytest.mark.parametrize("missing", sorted(SECRETS))
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_secret_is_refused_with_a_remedy(missing: str, *, empty: bool) -> None:
    variables = {name: value for name, value in SECRETS.items() if name != missing} | ({missing: ""} if empty else {})
    with pytest.raises(LookupError, match=rf"{missing} is missing, copy .env.example to .env and fill it in"):
        fill_in(COMPOSE, variables)


def test_there_is_no_secret_in_the_files() -> None:
    example = read_text(".env.example")
    assert set(SECRETS) == {
        "TIMESCALE_SUPERUSER_PASSWORD",
        "ANALYTICS_DB_PASSWORD",
        "DAGSTER_DB_PASSWORD",
        "GRAFANA_DB_PASSWORD",
        "GRAFANA_ADMIN_PASSWORD_FILE",
    }
    assert re.findall(r"^#? ?\w*(?:PASSWORD|SECRET|TOKEN|SMTP_URL)\w*=.+$", example, re.MULTILINE) == []
    # Wherever a password stands in an environment or a URL, it is a variable.
    for name, service in COMPOSE["services"].items():
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or key.endswith("__FILE") or re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), (
                name,
                key,
            )
            assert "://" not in value or re.fullmatch(r"\w+://\w+:\$\{\w+:\?[^}]+\}@[^@]+", value), (name, key)


def test_every_variable_is_explained_in_the_example() -> None:
    assert set(re.findall(r"\$\{(\w+)", read_text("docker-compose.yml"))) == set(example_environment())


def test_the_program_gets_every_setting_under_its_real_name() -> None:
    names = {f"ANALYTICS_{name.upper()}" for name in Settings.model_fields} - {"ANALYTICS_DAGSTER_POSTGRES_URL"}
    names |= {"DAGSTER_POSTGRES_URL", "DAGSTER_CODE_SERVER_HOST"}
    # Its folder is fixed by the image.
    assert set(SERVICES["code-server"]["environment"]) == names - {"ANALYTICS_HOME"}
    for name in OURS:
        assert set(SERVICES[name]["environment"]) <= names


def test_settings_left_empty_have_the_defaults_of_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in SERVICES["code-server"]["environment"].items():
        monkeypatch.setenv(name, value)
    # Not the home of whoever runs this, where a demo may have left settings.
    monkeypatch.setenv("ANALYTICS_HOME", str(tmp_path))
    settings = Settings()
    fields = Settings.model_fields
    for name in set(fields) - {"home", "database_url", "dagster_postgres_url"}:
        assert getattr(settings, name) == fields[name].default, name
    assert settings.database_url is not None
    assert settings.dagster_postgres_url is not None


def test_the_example_shows_the_defaults() -> None:
    shown = {name.removeprefix("ANALYTICS_").lower(): value for name, value in example_environment().items()}
    for name in ("start", "retention", "compress_after", "refresh_owner", "base_currency"):
        assert shown[name] == str(Settings.model_fields[name].default)


def test_migrations_get_the_settings_of_the_program() -> None:
    settings = SERVICES["code-server"]["environment"]
    assert SERVICES["migrate"]["environment"] == {
        name: value for name, value in settings.items() if name.startswith("ANALYTICS_")
    }


def test_webserver_and_daemon_do_not_know_the_analytics_database() -> None:
    for name in ("webserver", "daemon", "dagster-migrate"):
        assert not [key for key in SERVICES[name]["environment"] if key.startswith("ANALYTICS_")]


def test_the_databases_can_only_be_reached_from_inside() -> None:
    assert COMPOSE["networks"]["backend"] == {"internal": True}
    for name in ("timescaledb", "dagster-storage"):
        assert SERVICES[name]["networks"] == ["backend"]
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "webserver": ["127.0.0.1:3000:3000"],
        "grafana": ["127.0.0.1:3001:3000"],
        "api": ["127.0.0.1:8000:8000"],
    }


def test_everything_waits_for_what_it_needs() -> None:
    def conditions(name: str) -> dict[str, str]:
        return {other: needs["condition"] for other, needs in SERVICES[name]["depends_on"].items()}

    assert conditions("migrate") == {"timescaledb": "service_healthy"}
    assert conditions("dagster-migrate") == {"dagster-storage": "service_healthy"}
    assert conditions("code-server") == dict.fromkeys(ONE_SHOT, "service_completed_successfully")
    assert conditions("webserver") == conditions("daemon") == {"code-server": "service_healthy"}
    # It asks the database alone.
    assert conditions("api") == {"migrate": "service_completed_successfully"}


def test_what_must_last_is_on_named_volumes() -> None:
    used = {volume.split(":")[0]: name for name, service in SERVICES.items() for volume in service.get("volumes", [])}
    assert {name for name in used if not name.startswith("./")} == set(COMPOSE["volumes"])
    assert SERVICES["grafana"]["volumes"][0] == "grafana-data:/var/lib/grafana"
    assert "analytics-data:/var/lib/analytics" in SERVICES["code-server"]["volumes"]
    # The same settings.env for both, if there is one.
    assert SERVICES["migrate"]["volumes"] == SERVICES["api"]["volumes"] == ["analytics-data:/var/lib/analytics"]
    for name in ("code-server", "webserver", "daemon"):
        assert "dagster-logs:/opt/dagster/home/storage" in SERVICES[name]["volumes"]


def test_the_workspace_points_at_the_code_server() -> None:
    (source,) = read_yaml("deploy/workspace.yaml")["load_from"]
    server = source["grpc_server"]
    command = SERVICES["code-server"]["command"]
    assert str(server["port"]) == command[command.index("-p") + 1]
    assert server["host"] == {"env": "DAGSTER_CODE_SERVER_HOST"}
    (local,) = read_yaml("workspace.yaml")["load_from"]
    assert server["location_name"] == local["python_module"]["location_name"]
    assert command[command.index("-m") + 1] == local["python_module"]["module_name"]
    for name in ("webserver", "daemon"):
        assert SERVICES[name]["environment"]["DAGSTER_CODE_SERVER_HOST"] == "code-server"
        assert "/opt/dagster/workspace.yaml" in SERVICES[name]["command"]
