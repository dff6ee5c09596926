"""Whether a release that is to get traffic has a replica that can answer.

A gateway answers 503 for a Service without ready endpoints, so a weight is not written to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.kubernetes.kinds import POD, SERVICE
from registry.errors import PermanentEngineError, RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.kubernetes.cluster import Cluster
    from infra.kubernetes.route_objects import Door


def refuse_unready(cluster: Cluster, door: Door, model: str, release: int) -> None:
    """Raise PermanentEngineError without a Service, RetryableEngineError without a ready replica.

    Replicas are the pods that the Service selects, which are what its endpoints are made of.
    """
    name = door.service(model, release)
    service = cluster.get(SERVICE, name)
    if service is None:
        raise PermanentEngineError(
            f"release {release} of {model} has no revision", where=f"Service {name}"
        )
    selector = (service.get("spec") or {}).get("selector") or {}
    pods = cluster.list(POD, selector) if selector else ()
    if not any(_is_ready(pod) for pod in pods):
        raise RetryableEngineError(
            f"release {release} of {model} gets no traffic: none of {len(pods)} replicas is ready",
            where=f"Service {name}",
        )


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
