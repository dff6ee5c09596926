"""What is rendered is valid in three versions of Kubernetes, and fit for its strictest standard."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
from kubernetes_validate import utils

from .rendering import OVERLAYS, every_rendering, kustomized, pods
from .restricted import violations

if TYPE_CHECKING:
    from collections.abc import Callable

VERSIONS = ("1.30", "1.33", "1.37")
_schema_contents = cache(utils.schema_contents)


@pytest.fixture(autouse=True)
def _read_schemas_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "schema_contents", _schema_contents)


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_what_the_version_knows(version: str) -> None:
    seen: set[str] = set()
    for objects in every_rendering().values():
        for name, one in objects.items():
            text = json.dumps(one, sort_keys=True)
            if text in seen:
                continue
            seen.add(text)
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                pytest.fail(f"{name}: {error.message}")
    assert len(seen) > 45


def test_a_misspelt_field_is_found() -> None:
    broken = copy.deepcopy(every_rendering()["base"]["Deployment/mlflow"])
    broken["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_every_pod_is_restricted() -> None:
    for where, objects in every_rendering().items():
        found = pods(objects)
        assert len(found) >= 5
        assert {name: violations(spec) for name, spec in found.items() if violations(spec)} == {}
        for name, spec in found.items():
            for one in [*spec.get("initContainers", ()), *spec["containers"]]:
                # Beyond the standard: nothing can be written but what is mounted.
                assert one["securityContext"]["readOnlyRootFilesystem"] is True, (where, name)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_namespace_asks_for_it(overlay: str) -> None:
    labels = kustomized(f"overlays/{overlay}")["Namespace/sluice"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(spec: dict[str, Any]) -> None:
        holder: Any = spec
        for step in path[:-1]:
            holder = holder.setdefault(step, {}) if isinstance(holder, dict) else holder[step]
        holder[path[-1]] = to

    return change


_ONE = ("containers", 0)
_CONTEXT = (*_ONE, "securityContext")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_set("hostNetwork", to=True), "hostNetwork"),
        (_set("volumes", to=[{"name": "x", "hostPath": {"path": "/"}}]), "volume x"),
        (_set("securityContext", "runAsNonRoot", to=False), "runAsNonRoot"),
        (_set("securityContext", "runAsUser", to=0), "runAsUser 0"),
        (_set("securityContext", "seccompProfile", to={}), "seccompProfile"),
        (_set("securityContext", "sysctls", to=[{"name": "kernel.msgmax"}]), "sysctl"),
        (_set(*_CONTEXT, "privileged", to=True), "privileged"),
        (_set(*_CONTEXT, "allowPrivilegeEscalation", to=None), "allowPrivilegeEscalation"),
        (_set(*_CONTEXT, "capabilities", "drop", to=["KILL"]), "not dropped"),
        (_set(*_CONTEXT, "capabilities", "add", to=["SYS_ADMIN"]), "are added"),
        (_set(*_CONTEXT, "procMount", to="Unmasked"), "procMount"),
        (_set(*_CONTEXT, "seccompProfile", to={"type": "Unconfined"}), "Unconfined"),
        (_set(*_CONTEXT, "appArmorProfile", to={"type": "Unconfined"}), "appArmorProfile"),
        (_set(*_CONTEXT, "seLinuxOptions", to={"role": "x"}), "seLinuxOptions"),
        (_set(*_ONE, "ports", to=[{"containerPort": 1, "hostPort": 1}]), "hostPort"),
        (_set(*_ONE, "livenessProbe", "httpGet", "host", to="10.0.0.1"), "host"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_pod_that_takes_more_is_found(
    change: Callable[[dict[str, Any]], None], told: str
) -> None:
    spec = copy.deepcopy(pods(every_rendering()["base"])["Deployment/mlflow"])
    assert violations(spec) == []
    change(spec)
    assert any(told in found for found in violations(spec))
