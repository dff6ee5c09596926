"""The same calls on a real cluster, where `SLUICE_TEST_KUBECONFIG` names one (kind will do).

It needs a cluster with its usual controllers, and the right to make a namespace. No image is
pulled that exists, so no revision gets ready: what is tried is that a real API server takes every
object under the "restricted" standard, and that nothing of it is left.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from canary.ports import RevisionState
from infra.kubernetes.cluster import CONFIG_MAP, DEPLOYMENT, Cluster
from infra.kubernetes.fleet import KubernetesFleet
from infra.kubernetes.kinds import KINDS
from infra.kubernetes.names import model_labels
from registry.database_errors import RacedError

from .fleet_world import MODEL, SETTINGS, publish_all
from .test_fleet import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KUBECONFIG = os.environ.get("SLUICE_TEST_KUBECONFIG", "")
pytestmark = pytest.mark.skipif(
    not KUBECONFIG, reason="SLUICE_TEST_KUBECONFIG names no cluster (`kind create cluster`)"
)
ENFORCED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture
def namespace() -> Iterator[str]:
    from kubernetes.client import CoreV1Api, V1Namespace, V1ObjectMeta
    from kubernetes.config import new_client_from_config

    name = f"sluice-test-{uuid.uuid4().hex[:8]}"
    client = new_client_from_config(KUBECONFIG)  # type: ignore[no-untyped-call]
    core = CoreV1Api(client)
    core.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=name, labels=ENFORCED)))
    yield name
    core.delete_namespace(name)


@pytest.fixture
def fleet(namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KubernetesFleet:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", KUBECONFIG)
    text = SETTINGS.replace('namespace = "speech"', f'namespace = "{namespace}"')
    return KubernetesFleet(publish_all(tmp_path, text))


def test_objects_are_kept_compared_and_deleted(fleet: KubernetesFleet) -> None:
    cluster: Cluster = fleet._cluster
    manifest: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one", "labels": {"app": "sluice"}},
        "data": {"a": "1", "b": "2"},
    }
    first = cluster.apply(manifest)["metadata"]["resourceVersion"]
    manifest["data"] = {"a": "2"}
    assert cluster.apply(manifest)["data"] == {"a": "2"}
    with pytest.raises(RacedError):
        cluster.apply(manifest | {"data": {"a": "3"}}, resource_version=first)
    assert len(cluster.list(CONFIG_MAP, {"app": "sluice"})) == 1
    cluster.delete(CONFIG_MAP, "one", wait_s=10)
    assert cluster.get(CONFIG_MAP, "one") is None


def test_a_revision_is_taken_by_the_server_and_leaves_nothing(fleet: KubernetesFleet) -> None:
    fleet.start(MODEL, 1)
    fleet.start(MODEL, 1)
    assert fleet.running(MODEL) == (1,)
    assert fleet.status(MODEL, 1).state in {RevisionState.STARTING, RevisionState.FAILED}
    for kind in ALL:
        assert KINDS[kind.api_version, kind.name] is kind
        assert len(fleet._cluster.list(kind, model_labels(MODEL))) == 1
    fleet.stop(MODEL, 1)
    assert fleet.status(MODEL, 1).state is RevisionState.ABSENT
    assert not any(fleet._cluster.list(kind, model_labels(MODEL)) for kind in ALL)
    assert fleet._cluster.list(DEPLOYMENT, {}) == ()
