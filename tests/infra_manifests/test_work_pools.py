"""What a flow run becomes in each kind of work pool, as Prefect's own classes make it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import kubernetes_validate
import pytest

from infra.work_pools import KINDS, template
from infra.work_pools.__main__ import main
from registry.errors import UserError

from .rendering import kustomized, with_values
from .restricted import violations

if TYPE_CHECKING:
    from pathlib import Path

    from prefect.client.schemas.objects import FlowRun

IMAGE = f"registry.example.org/sluice/worker@sha256:{'0' * 64}"
NOT_OF_A_POD = ("parallelism", "completions")
"""Prefect's check wants them in the pod's spec, where the API server drops them."""


@pytest.fixture(scope="module")
def run() -> FlowRun:
    from prefect.client.schemas.objects import FlowRun

    return FlowRun(id=uuid4(), flow_id=uuid4(), name="fast-otter", work_pool_name="sluice")


def configured(made_by: Any, made: dict[str, Any], values: dict[str, Any]) -> Any:
    """As a worker's `from_template_and_values`, without the server that it asks for blocks."""
    from prefect.utilities.templating import apply_values

    variables = made_by._get_base_config_defaults(made["variables"]["properties"])
    filled = apply_values(made["job_configuration"], variables | values)
    return made_by(**filled)


@pytest.fixture
def job(run: FlowRun, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The Job of a run, as the worker would send it."""
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "nobody:knows")
    made = template("kubernetes", {"image": IMAGE, "namespace": "speech"})
    configuration = configured(KubernetesWorkerJobConfiguration, made, {"env": {"GIVEN": "1"}})
    configuration.prepare_for_flow_run(run)
    manifest: dict[str, Any] = json.loads(json.dumps(configuration.job_manifest))
    for name in NOT_OF_A_POD:
        del manifest["spec"]["template"]["spec"][name]
    return manifest


@pytest.mark.parametrize("version", ["1.30", "1.33", "1.37"])
def test_a_job_is_what_the_version_knows(job: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(job, version, strict=True)


def test_a_job_is_restricted_bounded_and_goes_away(job: dict[str, Any]) -> None:
    spec = job["spec"]["template"]["spec"]
    assert violations(spec) == []
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["image"] == IMAGE
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert container["resources"]["limits"]["memory"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    assert job["spec"]["activeDeadlineSeconds"] == 7 * 86400
    assert job["spec"]["backoffLimit"] == 0
    assert job["metadata"]["namespace"] == "speech"


def test_a_job_finds_what_the_manifests_make(job: dict[str, Any]) -> None:
    objects, spec = with_values(), job["spec"]["template"]["spec"]
    control = objects["Deployment/control"]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == control["serviceAccountName"]
    assert spec["securityContext"] == control["securityContext"]
    mounts = spec["containers"][0]["volumeMounts"]
    assert mounts == control["containers"][0]["volumeMounts"]
    for volume in spec["volumes"]:
        if "persistentVolumeClaim" in volume:
            assert (
                f"PersistentVolumeClaim/{volume['persistentVolumeClaim']['claimName']}" in objects
            )
    # The holes in the network are for a component of this name.
    component = job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
    policies = [one["spec"] for name, one in objects.items() if "NetworkPolicy/" in name]
    named = [
        policy
        for policy in policies
        for one in policy["podSelector"].get("matchExpressions", ())
        if component in one["values"]
    ]
    assert len(named) >= 5


def test_a_job_names_secrets_and_holds_none(job: dict[str, Any]) -> None:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one for one in container["env"]}
    assert variables["GIVEN"]["value"] == "1"
    for name in ("SLUICE_JOURNAL__URL", "MLFLOW_TRACKING_PASSWORD"):
        assert "secretKeyRef" in variables[name]["valueFrom"]
    control = with_values()["Deployment/control"]["spec"]["template"]["spec"]["containers"][0]
    given = {one["name"]: one for one in control["env"]}
    assert {name for name in given if name.startswith(("SLUICE", "MLFLOW"))} <= set(variables)
    assert all(variables[name] == given[name] for name in set(given) & set(variables) - OWN)


OWN = {"PREFECT_API_URL", "PREFECT_API_AUTH_STRING"}
"""What the worker passes on by itself: the password as a reference, by its own settings."""


def test_the_worker_is_told_where_the_password_of_jobs_is() -> None:
    (container,) = kustomized("base")["Deployment/worker"]["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    prefix = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET"
    assert variables[f"{prefix}_NAME"] == "sluice-prefect"
    assert variables[f"{prefix}_KEY"] == "auth"


def test_a_container_is_as_little_as_a_job() -> None:
    made = template("docker", {"image": IMAGE})["job_configuration"]
    kept = made["container_create_kwargs"]
    assert kept["user"] == "10001:10001"
    assert kept["read_only"] is True
    assert kept["cap_drop"] == ["ALL"]
    assert kept["security_opt"] == ["no-new-privileges:true"]
    assert made["privileged"] is False
    assert made["auto_remove"] is True
    # As much swap as memory would be twice the memory.
    assert made["memswap_limit"] == made["mem_limit"]


def test_prefects_own_worker_takes_the_containers_template(run: FlowRun) -> None:
    worker = pytest.importorskip("prefect_docker.worker", reason="uv pip install prefect-docker")
    made = template("docker", {"image": IMAGE})
    configuration = configured(worker.DockerWorkerJobConfiguration, made, {})
    configuration.prepare_for_flow_run(run)
    assert configuration.image == IMAGE
    assert configuration.container_create_kwargs["read_only"] is True


@pytest.mark.parametrize("kind", KINDS)
def test_every_placeholder_is_a_variable_and_every_variable_is_used(kind: str) -> None:
    made = template(kind, {})
    placed = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(made["job_configuration"])))
    assert placed == set(made["variables"]["properties"])


def test_what_is_no_kind_or_no_variable_is_refused() -> None:
    with pytest.raises(UserError, match="no kind of work pool 'ecs'"):
        template("ecs", {})
    with pytest.raises(UserError, match="a process pool has no variable 'image'"):
        template("process", {"image": IMAGE})


def test_the_command_fills_in_what_the_environment_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_WORKER_IMAGE", IMAGE)
    assert main(["show", "docker"]) == 0
    assert json.loads(capsys.readouterr().out) == template("docker", {"image": IMAGE})
    assert main(["show", "process"]) == 0


def test_the_command_says_in_a_line_that_no_server_answers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    # Port 9 is `discard`: nothing listens there.
    away = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_HOME: str(tmp_path)}
    with temporary_settings(away):
        assert main(["create", "process"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: PREFECT_API_URL: the work pool could not be made")
    assert told.count("\n") == 1
