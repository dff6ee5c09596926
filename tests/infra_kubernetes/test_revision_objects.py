"""A revision's objects fit Kubernetes' schemas, its strictest pod standard, and the release."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from infra.kubernetes.names import model_labels, revision_labels, revision_name
from infra.kubernetes.pod_template import FORWARDED_HEADERS, RESTRICTED, SECRET_HEADER
from infra.kubernetes.revision_objects import (
    QUEUE_METRIC,
    ROLLOUT_METRIC,
    WEIGHT_METRIC,
    revision_objects,
)
from infra.kubernetes.revision_spec import RevisionSpec
from infra.local import triton
from registry.kubernetes_settings import KubernetesSection, PoolSection, Toleration

VERSIONS = ("1.33", "1.35", "1.37")
IMAGE = f"example.test/triton@sha256:{'a' * 64}"
CLAIM = KubernetesSection(
    namespace="speech",
    image=IMAGE,
    control_image=f"example.test/sluice@sha256:{'b' * 64}",
    repository="pvc:sluice-workspace",
    predictions="pvc:sluice-workspace",
)
BUCKET = CLAIM.model_copy(
    update={
        "repository": "s3://releases/speech",
        "predictions": "",
        "scale_to_zero": True,
        "most_replicas": 8,
    }
)
CPU = RevisionSpec(
    model="speech",
    release=7,
    triton_models=("speech.network", "speech"),
    manifest_digest="c" * 64,
    record='{"record": {}}',
    root="{}",
    size_bytes=40 << 20,
    memory_bytes=1 << 30,
    cores=4,
    pool=PoolSection(),
    cache_bytes=64 << 20,
)
GPU = replace(
    CPU,
    pool=PoolSection(
        node_selector={"sluice.dev/pool": "gpu"},
        spot={"cloud.example/spot": "true"},
        tolerations=(Toleration(key="nvidia.com/gpu", effect="NoSchedule"),),
        resources={"nvidia.com/gpu": 1},
        image=f"example.test/vllm@sha256:{'d' * 64}",
    ),
)


def objects(
    spec: RevisionSpec = CPU, settings: KubernetesSection = CLAIM
) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in revision_objects(spec, settings)}


def pod(spec: RevisionSpec = CPU, settings: KubernetesSection = CLAIM) -> dict[str, Any]:
    made: dict[str, Any] = objects(spec, settings)["Deployment"]["spec"]["template"]["spec"]
    return made


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("spec", "settings"), [(CPU, CLAIM), (GPU, BUCKET)])
def test_every_object_fits_the_schemas(
    version: str, spec: RevisionSpec, settings: KubernetesSection
) -> None:
    for manifest in revision_objects(spec, settings):
        assert kubernetes_validate.validate(manifest, version, strict=True).startswith(version)


def test_a_schema_refuses_what_is_wrong() -> None:
    """So the test above can fail."""
    manifest = objects()["Deployment"]
    manifest["spec"]["replicass"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


@pytest.mark.parametrize(("spec", "settings"), [(CPU, CLAIM), (GPU, BUCKET)])
def test_the_pod_is_fit_for_the_restricted_standard(
    spec: RevisionSpec, settings: KubernetesSection
) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, "Restricted"."""
    made = pod(spec, settings)
    assert made["securityContext"]["runAsNonRoot"] is True
    assert made["securityContext"]["runAsUser"] > 0
    assert made["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & made.keys()
    for container in (*made["initContainers"], *made["containers"]):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in context
        assert not any("hostPort" in port for port in container.get("ports", ()))
    allowed = {"emptyDir", "downwardAPI", "persistentVolumeClaim", "secret"}
    assert all(volume.keys() - {"name"} <= allowed for volume in made["volumes"])
    assert made["automountServiceAccountToken"] is False


def test_images_are_named_by_digest_and_a_pool_may_have_its_own() -> None:
    images = [one["image"] for one in (*pod()["initContainers"], *pod()["containers"])]
    assert images == [CLAIM.control_image, IMAGE]
    assert pod(GPU)["containers"][0]["image"] == GPU.pool.image


def test_triton_gets_the_options_that_it_gets_on_one_machine() -> None:
    (server,) = pod()["containers"]
    local = (
        f"--http-restricted-api={triton._RESTRICTED}:{triton.SECRET_HEADER}=",
        f"--http-header-forward-pattern={triton._FORWARDED_HEADERS}",
    )
    assert any(one.startswith(local[0]) for one in server["args"])
    assert local[1] in server["args"]
    assert (RESTRICTED, SECRET_HEADER) == (triton._RESTRICTED, triton.SECRET_HEADER)
    assert FORWARDED_HEADERS == triton._FORWARDED_HEADERS
    loaded = [one for one in server["args"] if one.startswith("--load-model=")]
    assert loaded == ["--load-model=speech.network", "--load-model=speech"]
    assert {"--model-config-name=r7", "--disable-auto-complete-config"} <= set(server["args"])
    assert f"--cache-config=local,size={CPU.cache_bytes}" in server["args"]


def test_the_secret_stands_in_no_object() -> None:
    (server,) = pod()["containers"]
    (name,) = (one["name"] for one in server["env"] if "valueFrom" in one)
    words = [
        one.partition(f"{SECRET_HEADER}=")[2] for one in server["args"] if SECRET_HEADER in one
    ]
    assert words == [f"$({name})"] * 2
    reference = next(one for one in server["env"] if one["name"] == name)["valueFrom"]
    assert reference == {"secretKeyRef": {"name": "sluice-revision", "key": "restricted-api"}}


def test_only_the_releases_folder_of_a_claim_is_shown_and_only_to_be_read() -> None:
    (fetch,) = pod()["initContainers"]
    source = next(one for one in fetch["volumeMounts"] if one["name"] == "source")
    assert source == {
        "name": "source",
        "mountPath": "/source",
        "readOnly": True,
        "subPath": ".sluice/repository",
    }
    (server,) = pod()["containers"]
    mounts = {one["name"]: one for one in server["volumeMounts"]}
    assert "source" not in mounts
    assert mounts["repository"]["readOnly"] is True
    named = CLAIM.model_copy(update={"repository": "pvc:releases/eu/one"})
    (fetch,) = pod(settings=named)["initContainers"]
    assert [one["subPath"] for one in fetch["volumeMounts"] if "subPath" in one] == ["eu/one"]


def test_it_gets_the_memory_that_was_measured_with_room_above() -> None:
    (server,) = pod(GPU, BUCKET)["containers"]
    assert server["resources"] == {
        "requests": {"cpu": "4", "memory": "1088Mi", "nvidia.com/gpu": "1"},
        "limits": {"memory": f"{1088 * 3 // 2 + 256}Mi", "nvidia.com/gpu": "1"},
    }


def test_cheap_nodes_are_preferred_and_any_other_of_the_pool_does() -> None:
    made = pod(GPU)
    assert made["nodeSelector"] == {"sluice.dev/pool": "gpu"}
    assert made["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    affinity = made["affinity"]["nodeAffinity"]
    assert list(affinity) == ["preferredDuringSchedulingIgnoredDuringExecution"]
    assert "affinity" not in pod(CPU)


def test_it_starts_slowly_drains_and_is_asked_where_triton_answers() -> None:
    made = pod()
    (server,) = made["containers"]
    probes = {name: server[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    assert [one["httpGet"]["path"] for one in probes.values()] == [
        "/v2/health/ready",
        "/v2/health/ready",
        "/v2/health/live",
    ]
    assert probes["startup"]["failureThreshold"] * probes["startup"]["periodSeconds"] >= 900
    drained = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    (ends,) = (one for one in server["args"] if one.startswith("--exit-timeout-secs="))
    assert made["terminationGracePeriodSeconds"] > drained + int(ends.partition("=")[2])


def test_only_the_gateway_and_the_control_plane_may_ask_and_prometheus_read_metrics() -> None:
    settings = CLAIM.model_copy(update={"gateway_namespace": "gateways"})
    spec = objects(settings=settings)["NetworkPolicy"]["spec"]
    asking, reading = spec["ingress"]
    assert [one["port"] for one in asking["ports"]] == [8000, 8001]
    gateway, control = asking["from"]
    assert gateway["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "gateways"
    }
    assert "namespaceSelector" not in control
    assert [one["port"] for one in reading["ports"]] == [8002]
    assert len(reading["from"]) == 1
    assert spec["egress"] == []
    assert [
        one["ports"][0]["port"]
        for one in objects(settings=BUCKET)["NetworkPolicy"]["spec"]["egress"]
    ] == [53, 443]


def test_scaling_follows_the_queue_and_to_zero_the_route() -> None:
    scaler = objects()["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 4)
    assert [one["pods"]["metric"]["name"] for one in scaler["metrics"]] == [QUEUE_METRIC]
    scaler = objects(settings=BUCKET)["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (0, 8)
    wanted = [one["external"]["metric"] for one in scaler["metrics"][1:]]
    assert wanted == [
        {"name": WEIGHT_METRIC, "selector": {"matchLabels": {"model": "speech", "release": "7"}}},
        {"name": ROLLOUT_METRIC, "selector": {"matchLabels": {"model": "speech"}}},
    ]


def test_the_adapters_rules_give_the_metrics_that_scaling_asks_for() -> None:
    path = Path(revision_objects.__code__.co_filename).with_name("prometheus-adapter.yaml")
    rules = yaml.safe_load(path.read_text())["rules"]
    assert [one["name"]["as"] for one in rules["custom"]] == [QUEUE_METRIC]
    assert [one["name"]["as"] for one in rules["external"]] == [WEIGHT_METRIC, ROLLOUT_METRIC]


@pytest.mark.parametrize("model", ["a", "0-", "x" * 63, "a" * 62 + "-", "speech-to-text"])
def test_any_models_name_makes_names_and_labels_that_a_cluster_takes(model: str) -> None:
    name = revision_name(model, 2**31 - 1)
    assert len(name) <= 63
    settings = CLAIM
    for manifest in revision_objects(replace(CPU, model=model), settings):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
        value = manifest["metadata"]["labels"]["sluice.dev/model"]
        assert len(value) <= 63
        assert value[0].isalnum()
        assert value[-1].isalnum()
    assert model_labels(model).items() <= revision_labels(model, 1).items()


def test_names_of_long_models_do_not_meet() -> None:
    names = {revision_name("x" * 60 + end, 1) for end in ("a", "b", "ab", "ba")}
    assert len(names) == 4


def test_the_pod_carries_what_it_checks_by() -> None:
    notes = objects()["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert json.loads(notes["sluice.dev/signed-record"]) == {"record": {}}
    (trust,) = (one for one in pod()["volumes"] if one["name"] == "trust")
    shown = {one["path"]: one["fieldRef"]["fieldPath"] for one in trust["downwardAPI"]["items"]}
    assert shown == {
        "record.json": "metadata.annotations['sluice.dev/signed-record']",
        "root.json": "metadata.annotations['sluice.dev/root']",
    }
