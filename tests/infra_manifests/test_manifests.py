"""What stands in the manifests: no secrets, no tags, few rights, named holes, bounds on all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from registry.settings import WorkspaceSettings, load_settings

from .rendering import KUBERNETES, OVERLAYS, every_rendering, kustomized, pods, with_values

if TYPE_CHECKING:
    from pathlib import Path

    from .rendering import Objects

SECRET_NAME = re.compile(
    r"password|secret|token|auth_string|_url$|store_uri|api_key", re.IGNORECASE
)
PLAIN = {
    "PREFECT_API_URL",
    "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME",
    "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_KEY",
}
"""Variables that sound secret and are not: an address, and the name and key of a Secret."""


@pytest.fixture(scope="module")
def base() -> Objects:
    return with_values()


def containers(objects: Objects) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, one)
        for name, spec in pods(objects).items()
        for one in [*spec.get("initContainers", ()), *spec["containers"]]
    ]


def test_secrets_are_named_and_never_given() -> None:
    for objects in every_rendering().values():
        assert not [name for name in objects if name.startswith("Secret/")]
        for _, one in containers(objects):
            for variable in one.get("env", ()):
                if SECRET_NAME.search(variable["name"]) and variable["name"] not in PLAIN:
                    assert "secretKeyRef" in variable.get("valueFrom", {}), variable
        assert not re.search(r"://[^/\s:@]+:[^/\s@$]+@", yaml.safe_dump_all(objects.values()))


def test_an_image_is_nobodys_until_it_is_named_by_digest(base: Objects) -> None:
    images = {one["image"] for _, one in containers(base)}
    # RFC 2606: a name under .invalid is never found, so nothing is pulled by mistake.
    assert images == {"images.invalid/sluice-control", "images.invalid/sluice-worker"}


def test_everything_is_bounded_and_asked_after() -> None:
    for where, objects in every_rendering().items():
        for name, spec in pods(objects).items():
            assert spec["enableServiceLinks"] is False
            for one in [*spec.get("initContainers", ()), *spec["containers"]]:
                at = (where, name, one["name"])
                assert {"cpu", "memory"} <= set(one["resources"]["requests"]), at
                assert "memory" in one["resources"]["limits"], at
            for volume in spec["volumes"]:
                if "emptyDir" in volume:
                    assert volume["emptyDir"]["sizeLimit"], (where, name, volume["name"])
            if not name.startswith("Deployment/drift-watch"):
                # The watch asks nobody's requests; it ends when it fails.
                (main,) = spec["containers"]
                assert {"readinessProbe", "livenessProbe"} & set(main), (where, name)


def test_who_serves_nobody_from_the_api_server_has_no_token(base: Objects) -> None:
    shown = {
        name
        for name, spec in pods({**base, **with_values("values-dev.yaml")}).items()
        if spec["automountServiceAccountToken"]
    }
    assert shown == {"Deployment/control", "Deployment/worker", "Deployment/metrics"}
    accounts = [one for name, one in base.items() if name.startswith("ServiceAccount/")]
    assert not [one for one in accounts if one["automountServiceAccountToken"]]


def test_roles_stay_in_the_namespace_and_hold_no_wildcard(base: Objects) -> None:
    assert not [name for name in base if name.startswith("Cluster")]
    roles = {name: one["rules"] for name, one in base.items() if name.startswith("Role/")}
    for rules in roles.values():
        for rule in rules:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            if "secrets" in rule["resources"]:
                assert rule.get("resourceNames"), "only Secrets that are named"
    assert {verb for rule in roles["Role/sluice-metrics"] for verb in rule["verbs"]} == {
        "get",
        "list",
    }


def test_nobody_is_reached_but_through_a_named_hole(base: Objects) -> None:
    policies = {name: one["spec"] for name, one in base.items() if "NetworkPolicy/" in name}
    closed = policies.pop("NetworkPolicy/default-deny")
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, spec in policies.items():
        assert name == "NetworkPolicy/all-to-dns" or spec["podSelector"], name
        assert len(spec["policyTypes"]) == 1, name
        for hole in [*spec.get("ingress", ()), *spec.get("egress", ())]:
            # Into a pod: from whom and where. Out of one: to whom, or at least by which port.
            entering = "Ingress" in spec["policyTypes"]
            assert hole["from"] and hole["ports"] if entering else hole.get("to", hole.get("ports"))


def test_every_way_out_has_its_way_in() -> None:
    """What may call a server, is let in there by the same port."""
    objects = with_values("values-dev.yaml")
    specs = {name: one["spec"] for name, one in objects.items() if "NetworkPolicy/" in name}
    for out, into in (
        ("control-plane-to-mlflow", "mlflow-from-control-plane"),
        ("control-plane-to-prefect", "prefect-from-control-plane"),
        ("clients-to-database", "postgresql-from-clients"),
    ):
        leaving, entering = specs[f"NetworkPolicy/{out}"], specs[f"NetworkPolicy/{into}"]
        (door,) = entering["ingress"]
        assert leaving["podSelector"] == door["from"][0]["podSelector"]
        assert leaving["egress"][0]["ports"] == door["ports"]


def test_selectors_find_pods_and_services_find_ports() -> None:
    for objects in every_rendering().values():
        labels = [
            one["spec"]["template"]["metadata"]["labels"]
            for one in objects.values()
            if one["kind"] in {"Deployment", "StatefulSet"}
        ]
        named = {port["name"] for _, one in containers(objects) for port in one.get("ports", ())}
        for name, one in objects.items():
            if one["kind"] == "Service":
                wanted = one["spec"]["selector"].items()
                assert sum(wanted <= label.items() for label in labels) == 1, name
                assert {port["targetPort"] for port in one["spec"]["ports"]} <= named, name
            if one["kind"] in {"Deployment", "StatefulSet", "PodDisruptionBudget"}:
                wanted = one["spec"]["selector"]["matchLabels"].items()
                assert sum(wanted <= label.items() for label in labels) == 1, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_are_a_workspaces(
    overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for section in WorkspaceSettings.model_fields:
        monkeypatch.delenv(f"SLUICE_{section.upper()}", raising=False)
    file = tmp_path / "sluice.toml"
    objects = kustomized(f"overlays/{overlay}")
    file.write_text(objects["ConfigMap/sluice-settings"]["data"]["sluice.toml"])
    settings = load_settings(file)
    assert settings.serving.platform == "kubernetes"
    assert (settings.kubernetes.route, settings.telemetry.dialect) == (
        "gateway-api",
        "envoy-gateway",
    )
    assert settings.kubernetes.namespace == "sluice"
    for place in (settings.kubernetes.repository, settings.kubernetes.predictions):
        assert f"PersistentVolumeClaim/{place.removeprefix('pvc:')}" in objects
    assert f"ServiceAccount/{settings.kubernetes.service_account}" in objects
    if overlay == "gpu":
        (device,) = settings.kubernetes.pools["gpu"].resources
        assert f"requests.{device}" in objects["ResourceQuota/sluice-devices"]["spec"]["hard"]


def test_what_overlays_build_on_is_used() -> None:
    used = {path.name for path in KUBERNETES.rglob("*.yaml") if "chart" not in path.parts}
    for folder in ("base", "postgresql", "drift-watch", *(f"overlays/{one}" for one in OVERLAYS)):
        listed = yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text())
        patches = [patch["path"] for patch in listed.get("patches", ())]
        named = {*listed["resources"], *patches}
        there = {path.name for path in (KUBERNETES / folder).glob("*.yaml")}
        assert there - {"kustomization.yaml"} == {name for name in named if name in used}, folder
