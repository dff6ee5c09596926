"""What a cluster would be given: by Kustomize, and by Helm. Each is rendered once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
KUBERNETES = CHECKOUT / "infra/kubernetes"
CHART = KUBERNETES / "chart"
HELM = Path(sys.executable).parent / "helm"
OVERLAYS = ("dev", "prod", "gpu")
VALUES = {
    "base": (),
    "overlays/dev": ("values-dev.yaml",),
    "overlays/prod": ("values-prod.yaml",),
    "overlays/gpu": ("values-prod.yaml", "values-gpu.yaml"),
}
"""What a chart's values are for each folder of Kustomize."""

Objects = dict[str, dict[str, Any]]


@cache
def kustomized(folder: str) -> Objects:
    """`Kind/name` -> object, of a folder of ours."""
    return built(KUBERNETES / folder)


def built(folder: Path) -> Objects:
    """As Kustomize builds the folder. Skips the test where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl: apt-get install kubernetes-client")
    return _objects("kubectl", "kustomize", str(folder))


@cache
def templated(*arguments: str) -> Objects:
    """As Helm renders the chart with these arguments."""
    return _objects(str(HELM), "template", "sluice", str(CHART), *arguments)


def with_values(*names: str) -> Objects:
    return templated(*(word for name in names for word in ("--values", str(CHART / name))))


def every_rendering() -> dict[str, Objects]:
    """All that is checked against Kubernetes' own rules; Helm's are Kustomize's, tested apart."""
    return {
        **{folder: with_values(*values) for folder, values in VALUES.items()},
        "all of it": templated(
            *("--set", "postgresql.enabled=true", "--set", "driftWatch.models={whisper-grid,lips}"),
            *("--set", "storage.workspace.className=fast", "--set", "mlflow.replicas=3"),
            *("--set", "scheduling.nodeSelector.pool=control", "--set-json", f"network={HOLES}"),
            *("--set", "images.pullSecrets[0].name=registry"),
            *("--set", r"serviceAccounts.revision.annotations.example\.com/role=reader"),
        ),
    }


HOLES = '{"apiServer": [{"ipBlock": {"cidr": "10.96.0.1/32"}}], "database": null}'


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    """`Kind/name` -> the pod's spec, of everything that makes pods."""
    kinds = ("Deployment", "StatefulSet", "DaemonSet", "Job")
    return {
        name: one["spec"]["template"]["spec"]
        for name, one in objects.items()
        if one["kind"] in kinds
    }


def _objects(*command: str) -> Objects:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found = [one for one in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if one]
    objects = {f"{one['kind']}/{one['metadata']['name']}": one for one in found}
    assert len(objects) == len(found)
    return objects
