"""Which leaves of the manifests are a chart's values: the one table that people extend.

A value's default is what stands in the manifests, so it is written down once. It renders nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Path = tuple["str | int", ...]
_POD = ("spec", "template", "spec")
_CONTAINER = (*_POD, "containers", 0)
_EGRESS = ("spec", "egress", 0, "to")
_MONITORING = (0, "namespaceSelector", "matchLabels", "kubernetes.io/metadata.name")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A place in one object, `Kind/name`, whose content is a value.

    `optional`: the key is absent from the manifests, and from what is rendered while the value is
    empty.
    """

    value: str
    target: str
    path: Path
    optional: bool = False


def _workload(value: str, target: str) -> tuple[Leaf, ...]:
    """What every workload lets be chosen."""
    return (
        Leaf(f"{value}.resources", target, (*_CONTAINER, "resources")),
        Leaf("scheduling.nodeSelector", target, (*_POD, "nodeSelector"), optional=True),
        Leaf("scheduling.tolerations", target, (*_POD, "tolerations"), optional=True),
        Leaf("images.pullSecrets", target, (*_POD, "imagePullSecrets"), optional=True),
    )


def _claim(value: str, target: str) -> tuple[Leaf, ...]:
    return (
        Leaf(f"{value}.accessModes", target, ("spec", "accessModes")),
        Leaf(f"{value}.size", target, ("spec", "resources", "requests", "storage")),
        Leaf(f"{value}.className", target, ("spec", "storageClassName"), optional=True),
    )


LEAVES = (
    Leaf("settings", "ConfigMap/sluice-settings", ("data", "sluice.toml")),
    *_claim("storage.workspace", "PersistentVolumeClaim/sluice-workspace"),
    *_claim("storage.mlflow", "PersistentVolumeClaim/sluice-mlflow"),
    *_workload("control", "Deployment/control"),
    *_workload("worker", "Deployment/worker"),
    Leaf("worker.replicas", "Deployment/worker", ("spec", "replicas")),
    *_workload("metrics", "Deployment/metrics"),
    *_workload("mlflow", "Deployment/mlflow"),
    Leaf("mlflow.replicas", "Deployment/mlflow", ("spec", "replicas")),
    Leaf("mlflow.strategy", "Deployment/mlflow", ("spec", "strategy", "type")),
    Leaf(
        "mlflow.topologySpreadConstraints",
        "Deployment/mlflow",
        (*_POD, "topologySpreadConstraints"),
        optional=True,
    ),
    *_workload("prefectServer", "Deployment/prefect-server"),
    *_workload("driftWatch", "Deployment/drift-watch-whisper-grid"),
    *_workload("postgresql", "StatefulSet/postgresql"),
    Leaf(
        "postgresql.size",
        "StatefulSet/postgresql",
        ("spec", "volumeClaimTemplates", 0, "spec", "resources", "requests", "storage"),
    ),
    Leaf(
        "monitoring.namespace",
        "NetworkPolicy/metrics-from-prometheus",
        ("spec", "ingress", 0, "from", *_MONITORING),
    ),
    Leaf(
        "monitoring.namespace",
        "NetworkPolicy/control-plane-to-monitoring",
        (*_EGRESS, *_MONITORING),
    ),
    Leaf("network.gateway", "NetworkPolicy/control-plane-to-gateway", _EGRESS),
    Leaf("network.database", "NetworkPolicy/clients-to-database", _EGRESS, optional=True),
    Leaf("network.apiServer", "NetworkPolicy/control-plane-to-api-server", _EGRESS, optional=True),
    Leaf("network.objectStore", "NetworkPolicy/clients-to-object-store", _EGRESS, optional=True),
    Leaf("quota", "ResourceQuota/sluice-devices", ("spec", "hard")),
    Leaf(
        "serviceAccounts.revision.annotations",
        "ServiceAccount/sluice-revision",
        ("metadata", "annotations"),
        optional=True,
    ),
    Leaf(
        "serviceAccounts.control.annotations",
        "ServiceAccount/sluice-control",
        ("metadata", "annotations"),
        optional=True,
    ),
)

WHOLE_SCALARS: Mapping[str, str] = {
    "images.invalid/sluice-control": "images.control",
    "images.invalid/sluice-worker": "images.worker",
    "images.invalid/postgres": "images.postgresql",
}
"""A scalar that is this, wherever it stands, is that value."""

NAMESPACE = "namespace.name"
NAMESPACE_PATHS = (
    "namespace",
    "SLUICE_NAMESPACE",
    "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES",
)
"""Keys, and variables, whose content is the namespace."""

DEFAULTS: Mapping[str, object] = {
    "namespace.create": True,
    "postgresql.enabled": False,
    "driftWatch.models": [],
    # Rendered only where it is not empty, unlike the overlay's.
    "quota": {},
}
"""Values that stand in no manifest, or have another default than there."""

CONDITIONS: Mapping[str, str] = {
    "Namespace/sluice": "namespace.create",
    "ConfigMap/postgresql-databases": "postgresql.enabled",
    "StatefulSet/postgresql": "postgresql.enabled",
    "Service/postgresql": "postgresql.enabled",
    "NetworkPolicy/postgresql-from-clients": "postgresql.enabled",
    "ResourceQuota/sluice-devices": "quota",
}
"""Objects that are rendered only where the value is not empty."""

REPEATED = {"Deployment/drift-watch-whisper-grid": ("driftWatch.models", "whisper-grid")}
"""Objects that are rendered for each item, and the text in them that is the item."""
