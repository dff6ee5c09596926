"""The objects that a revision is in a cluster. Pure: values in, plain objects out.

Deployment, Service, autoscaler, disruption budget and network policy, all of one name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.kubernetes.kinds import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    SERVICE,
    Kind,
)
from infra.kubernetes.names import (
    COMPONENT_LABEL,
    MODEL_ANNOTATION,
    PART_OF,
    revision_labels,
    revision_name,
)
from infra.kubernetes.pod_template import DIGEST_ANNOTATION, GRPC, HTTP, METRICS, pod_template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.kubernetes.revision_spec import RevisionSpec
    from registry.kubernetes_settings import KubernetesSection

Json = dict[str, Any]

QUEUE_METRIC = "triton_queue_ms_per_request"
WEIGHT_METRIC = "sluice_revision_weight_percent"
ROLLOUT_METRIC = "sluice_rollouts_under_way"
"""Names that the rules in `prometheus-adapter.yaml` give."""
_ASKERS = ("control", "run", "drift-watch")
"""Components of the control plane that ask revisions themselves."""


def revision_objects(spec: RevisionSpec, settings: KubernetesSection) -> tuple[Json, ...]:
    """All objects of the revision: what shields it first, the Deployment last."""
    return (
        network_policy(spec, settings),
        service(spec),
        disruption_budget(spec),
        autoscaler(spec, settings),
        deployment(spec, settings),
    )


def deployment(spec: RevisionSpec, settings: KubernetesSection) -> Json:
    """`settings.replicas` pods; a new one is ready before an old one goes."""
    return _object(DEPLOYMENT, spec) | {
        "spec": {
            "replicas": settings.replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": int(settings.start_s),
            "selector": {"matchLabels": dict(revision_labels(spec.model, spec.release))},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": pod_template(spec, settings),
        }
    }


def service(spec: RevisionSpec) -> Json:
    """The one address of the revision's ready pods."""
    return _object(SERVICE, spec) | {
        "spec": {
            "type": "ClusterIP",
            "selector": dict(revision_labels(spec.model, spec.release)),
            "ports": [
                _port("http", HTTP, "http"),
                # Without the word, proxies speak HTTP/1 to it.
                _port("grpc", GRPC, "kubernetes.io/h2c"),
                _port("metrics", METRICS, "http"),
            ],
        }
    }


def autoscaler(spec: RevisionSpec, settings: KubernetesSection) -> Json:
    """Another replica when requests wait too long for their turn.

    With `scale_to_zero`, none when the revision gets no traffic and no copies and no rollout of
    its model is under way: during a bake the way back stays warm.
    """
    metrics: list[Json] = [
        {
            "type": "Pods",
            "pods": {
                "metric": {"name": QUEUE_METRIC},
                "target": {"type": "AverageValue", "averageValue": str(settings.queue_ms)},
            },
        }
    ]
    if settings.scale_to_zero:
        of_model = {"model": spec.model}
        metrics += [
            _wanted(WEIGHT_METRIC, {**of_model, "release": str(spec.release)}, 100),
            _wanted(ROLLOUT_METRIC, of_model, 1),
        ]
    return _object(AUTOSCALER, spec) | {
        "spec": {
            "scaleTargetRef": {
                "apiVersion": DEPLOYMENT.api_version,
                "kind": DEPLOYMENT.name,
                "name": revision_name(spec.model, spec.release),
            },
            "minReplicas": 0 if settings.scale_to_zero else settings.replicas,
            "maxReplicas": settings.most_replicas,
            "metrics": metrics,
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0},
                # Loading costs more than waiting: go slowly.
                "scaleDown": {
                    "stabilizationWindowSeconds": 600,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
                },
            },
        }
    }


def disruption_budget(spec: RevisionSpec) -> Json:
    """A drained node takes one pod at a time; one that is not well may always go."""
    return _object(DISRUPTION_BUDGET, spec) | {
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": dict(revision_labels(spec.model, spec.release))},
        }
    }


def network_policy(spec: RevisionSpec, settings: KubernetesSection) -> Json:
    """Only the gateway and the control plane may ask it, only Prometheus may read its metrics.

    It may itself go nowhere, but for names and a bucket where releases lie in one.
    """
    gateway = {
        "namespaceSelector": _in_namespace(settings.gateway_namespace or settings.namespace),
        "podSelector": {"matchLabels": dict(settings.gateway_pods)},
    }
    control = {
        "podSelector": {
            "matchLabels": PART_OF,
            "matchExpressions": [
                {"key": COMPONENT_LABEL, "operator": "In", "values": list(_ASKERS)}
            ],
        }
    }
    prometheus = {"namespaceSelector": _in_namespace(settings.monitoring_namespace)}
    return _object(NETWORK_POLICY, spec) | {
        "spec": {
            "podSelector": {"matchLabels": dict(revision_labels(spec.model, spec.release))},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [gateway, control], "ports": [_tcp(HTTP), _tcp(GRPC)]},
                {"from": [prometheus], "ports": [_tcp(METRICS)]},
            ],
            "egress": _ways_out(settings.repository),
        }
    }


def _ways_out(source: str) -> list[Json]:
    """To the bucket that releases lie in, and to who tells a pod of Google's which account it has.

    https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity, "network policies".
    """
    if "://" not in source:
        return []
    names = {"namespaceSelector": _in_namespace("kube-system")}
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    ways: list[Json] = [{"to": [names], "ports": dns}, {"ports": [_tcp(443)]}]
    if source.startswith("gs://"):
        ways += [
            {"to": [{"ipBlock": {"cidr": f"{address}/32"}}], "ports": [_tcp(port)]}
            for address, port in (("169.254.169.254", 80), ("169.254.169.252", 988))
        ]
    return ways


def _object(kind: Kind, spec: RevisionSpec) -> Json:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": revision_name(spec.model, spec.release),
            "labels": dict(revision_labels(spec.model, spec.release)),
            "annotations": {
                MODEL_ANNOTATION: spec.model,
                DIGEST_ANNOTATION: spec.manifest_digest,
            },
        },
    }


def _port(name: str, number: int, protocol: str) -> Json:
    return {
        "name": name,
        "port": number,
        "targetPort": name,
        "protocol": "TCP",
        "appProtocol": protocol,
    }


def _wanted(metric: str, labels: Mapping[str, str], target: int) -> Json:
    """A reason for one replica; none where it is 0."""
    return {
        "type": "External",
        "external": {
            "metric": {"name": metric, "selector": {"matchLabels": dict(labels)}},
            "target": {"type": "AverageValue", "averageValue": str(target)},
        },
    }


def _in_namespace(name: str) -> Json:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def _tcp(port: int) -> Json:
    return {"protocol": "TCP", "port": port}
