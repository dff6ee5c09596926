"""Which router the settings ask for, with the probes that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.kubernetes.cluster import Cluster
from infra.kubernetes.gateway_api import GatewayApiRouter
from infra.kubernetes.istio import IstioRouter
from infra.kubernetes.route_objects import Door
from infra.kubernetes.route_probe import grpc_probe, http_probe

if TYPE_CHECKING:
    from infra.kubernetes.route_objects import Protocol
    from infra.kubernetes.route_probe import Probe
    from infra.kubernetes.route_writing import ClusterRouter
    from registry.kubernetes_settings import KubernetesSection


def open_router(settings: KubernetesSection, cluster: Cluster | None = None) -> ClusterRouter:
    """The router for `[kubernetes] route`; asks nobody yet.

    Raises UserError for settings that leave a route without a listener of its own or without
    anybody who would confirm it, and PermanentEngineError when no credentials can be read.
    """
    door = Door(
        namespace=settings.namespace,
        gateway=settings.gateway,
        gateway_namespace=settings.gateway_namespace,
        hosts=settings.hosts,
        http_listener=settings.http_listener,
        grpc_listener=settings.grpc_listener,
    )
    probes: dict[Protocol, Probe] = {}
    if settings.probe:
        probes["http"] = http_probe(settings.probe)
    if settings.grpc_probe:
        probes["grpc"] = grpc_probe(settings.grpc_probe)
    engine = IstioRouter if settings.route == "istio" else GatewayApiRouter
    return engine(cluster or Cluster.connect(settings), door, probes=probes)
