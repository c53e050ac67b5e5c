"""deploy/helm/values.yaml: the same rules on Kubernetes as everywhere else, and no secret."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from analytics_pipeline.settings import Settings
from analytics_pipeline_tests.deploy.files import read_text, read_yaml

VALUES = read_yaml("deploy/helm/values.yaml")
INSTANCE = read_yaml("dagster.yaml")
(USER_CODE,) = VALUES["dagster-user-deployments"]["deployments"]


def _snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {re.sub(r"(?<!^)([A-Z])", r"_\1", key).lower(): _snake(item) for key, item in value.items()}
    return value


def _rules(section: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in _snake(section).items() if name != "enabled"}


def test_pools_and_queue_are_those_of_the_instance() -> None:
    assert VALUES["concurrency"]["enabled"] is True
    assert _rules(VALUES["concurrency"]) == INSTANCE["concurrency"]


def test_runs_are_monitored_and_retried_as_in_the_instance() -> None:
    daemon = VALUES["dagsterDaemon"]
    # A pod may have to wait for its image; all else is the same.
    assert _snake(daemon["runMonitoring"]) == INSTANCE["run_monitoring"] | {"start_timeout_seconds": 300}
    assert _snake(daemon["runRetries"]) == INSTANCE["run_retries"]


def test_ticks_are_kept_as_long_as_in_the_instance() -> None:
    assert VALUES["retention"]["enabled"] is True
    retention = _rules(VALUES["retention"])
    # The chart's template needs the fourth kind of tick too; -1 keeps it, as leaving it out does.
    assert retention["sensor"]["purge_after_days"].pop("started") == -1
    assert retention == INSTANCE["retention"]


def test_nothing_is_reported_to_anyone() -> None:
    assert VALUES["telemetry"] == INSTANCE["telemetry"] == {"enabled": False}
    assert VALUES["additionalInstanceConfig"]["nux"] == INSTANCE["nux"] == {"enabled": False}


def test_what_runs_print_is_left_to_their_own_output() -> None:
    assert VALUES["computeLogManager"]["type"] == INSTANCE["compute_logs"]["class"]


def test_nothing_of_the_instance_is_forgotten() -> None:
    assert VALUES["additionalInstanceConfig"]["instance_class"] == INSTANCE["instance_class"]
    covered = {"concurrency", "run_monitoring", "run_retries", "retention", "telemetry", "nux", "instance_class"}
    assert set(INSTANCE) == covered | {"compute_logs", "storage"}


def test_every_run_is_a_job_of_the_cluster_with_the_code_servers_environment() -> None:
    assert VALUES["runLauncher"]["type"] == "K8sRunLauncher"
    assert USER_CODE["includeConfigInLaunchedRuns"] == {"enabled": True}
    (spread,) = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]["podSpecConfig"][
        "topologySpreadConstraints"
    ]
    assert spread["topologyKey"] == "kubernetes.io/hostname"


def test_the_launcher_makes_a_job_of_a_run_from_the_values() -> None:
    k8s = pytest.importorskip("dagster_k8s.job", reason="the extra 'kubernetes' is not installed")
    of_runs = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    configured = k8s.UserDefinedDagsterK8sConfig.from_dict(
        {
            "pod_spec_config": of_runs["podSpecConfig"] | {"volumes": USER_CODE["volumes"]},
            "job_spec_config": of_runs["jobSpecConfig"],
            "container_config": {"resources": USER_CODE["resources"], "volume_mounts": USER_CODE["volumeMounts"]},
        }
    )
    of_code = k8s.DagsterK8sJobConfig(
        job_image="analytics-pipeline:1",
        dagster_home=VALUES["global"]["dagsterHome"],
        env_secrets=[secret["name"] for secret in USER_CODE["envSecrets"]],
    )
    job = k8s.construct_dagster_k8s_job(of_code, ["dagster", "api", "execute_run"], "run-1", configured)
    pod = job.spec.template.spec
    (container,) = pod.containers
    assert [source.secret_ref.name for source in container.env_from] == ["analytics-pipeline"]
    assert container.resources.limits == USER_CODE["resources"]["limits"]
    assert pod.topology_spread_constraints[0].when_unsatisfiable == "ScheduleAnyway"
    assert pod.volumes[0].persistent_volume_claim.claim_name == "analytics-data"
    assert job.spec.ttl_seconds_after_finished == of_runs["jobSpecConfig"]["ttlSecondsAfterFinished"]


def test_all_parts_run_our_image_of_this_version() -> None:
    # It carries the event batching that every Dagster process needs (test_image.py).
    version = re.search(r'^version = "(.+)"$', read_text("pyproject.toml"), re.MULTILINE)
    assert version is not None
    image = VALUES["pipelineRun"]["image"]
    assert image["tag"] == version[1]
    assert USER_CODE["image"] == VALUES["dagsterWebserver"]["image"] == VALUES["dagsterDaemon"]["image"] == image


def test_the_image_can_launch_jobs_and_matches_the_chart() -> None:
    dagster = re.search(r"^dagster==(\S+)", read_text("requirements.lock"), re.MULTILINE)
    assert dagster is not None
    assert f"version {dagster[1]})" in read_text("deploy/helm/values.yaml")
    assert re.search(r"^dagster-k8s==", read_text("requirements.lock"), re.MULTILINE), "the extra kubernetes"


def test_no_pod_of_ours_runs_as_root() -> None:
    job, *_ = VALUES["extraManifests"]
    pod = job["spec"]["template"]["spec"]
    for part in (USER_CODE, VALUES["dagsterWebserver"], VALUES["dagsterDaemon"]):
        assert part["podSecurityContext"] == pod["securityContext"]
        assert part["resources"]["limits"]["memory"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001


def test_both_schemas_are_migrated_before_anything_else() -> None:
    job, *_ = VALUES["extraManifests"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = job["spec"]["template"]["spec"]
    compose = read_yaml("docker-compose.yml")["services"]
    assert [container["command"] for container in pod["initContainers"] + pod["containers"]] == [
        compose["migrate"]["command"],
        compose["dagster-migrate"]["command"],
    ]


def test_the_job_of_the_migrations_has_the_settings_of_the_release() -> None:
    job, *_ = VALUES["extraManifests"]
    pod = job["spec"]["template"]["spec"]
    (migrate,) = pod["initContainers"]
    assert migrate["env"] == USER_CODE["env"] != []
    secrets = [{"secretRef": secret} for secret in USER_CODE["envSecrets"]]
    maps = [{"configMapRef": config} for config in USER_CODE.get("envConfigMaps", [])]
    for container in pod["initContainers"] + pod["containers"]:
        assert container["envFrom"] == secrets + maps
    # A settings.env on the claim counts too.
    assert (pod["volumes"], migrate["volumeMounts"]) == (USER_CODE["volumes"], USER_CODE["volumeMounts"])


def test_the_api_runs_as_in_compose_with_the_settings_of_the_release() -> None:
    job, deployment, service = VALUES["extraManifests"]
    migrations, pod = (manifest["spec"]["template"]["spec"] for manifest in (job, deployment))
    (container,) = pod["containers"]
    (migrate,) = migrations["initContainers"]
    assert container["command"] == read_yaml("docker-compose.yml")["services"]["api"]["command"]
    for same in ("image", "env", "envFrom", "volumeMounts", "securityContext"):
        assert container[same] == migrate[same]
    assert (pod["securityContext"], pod["volumes"]) == (migrations["securityContext"], migrations["volumes"])
    assert container["resources"]["limits"]["memory"]
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]


def test_every_image_is_pulled_with_the_same_secrets() -> None:
    text = read_text("deploy/helm/values.yaml").replace("&pull-secrets []", "&pull-secrets [{name: registry}]")
    values = yaml.safe_load(text)
    job, deployment, _ = values["extraManifests"]
    secrets = [{"name": "registry"}]
    # The chart gives those of the top to webserver, daemon and runs.
    assert values["imagePullSecrets"] == secrets
    assert values["dagster-user-deployments"]["imagePullSecrets"] == secrets
    for manifest in (job, deployment):
        assert manifest["spec"]["template"]["spec"]["imagePullSecrets"] == secrets


def test_settings_have_their_real_names_and_secrets_come_from_secrets() -> None:
    names = {f"ANALYTICS_{name.upper()}" for name in Settings.model_fields}
    assert {variable["name"] for variable in USER_CODE["env"]} <= names
    assert USER_CODE["envSecrets"] == [{"name": "analytics-pipeline"}]
    assert VALUES["generatePostgresqlPasswordSecret"] is False
    for path, value in _leaves(VALUES):
        assert "password" not in path.lower() or value is False, path
        assert "://" not in str(value), path


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    else:
        yield path, value
