"""Routes by Gateway API: an HTTPRoute and a GRPCRoute for each model, on one Gateway.

It asks the cluster for what is stored and the Gateway's controller, by its status, for what is
used. It makes no Gateway and no listener.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.kubernetes.kinds import HTTP_ROUTE
from infra.kubernetes.route_gateway_api import (
    KINDS,
    manifest_of,
    refuse_shared_listener,
    route_of,
)
from infra.kubernetes.route_leaks import gateway_leaks
from infra.kubernetes.route_status import Told, gateway_acceptance
from infra.kubernetes.route_writing import ClusterRouter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canary.ports import Route
    from infra.kubernetes.cluster import Cluster
    from infra.kubernetes.kinds import Kind
    from infra.kubernetes.route_objects import Door, Json, Protocol
    from infra.kubernetes.route_probe import Probes


class GatewayApiRouter(ClusterRouter):
    """Routes of one namespace, attached to one Gateway.

    `probes` by protocol say which release answers a session; without one, status alone confirms.
    """

    def __init__(
        self, cluster: Cluster, door: Door, *, probes: Probes | None = None, **bounds: float
    ) -> None:
        """Raises UserError when HTTP and gRPC are to share a listener."""
        refuse_shared_listener(door)
        super().__init__(cluster, door, probes=probes or {}, **bounds)
        self._offered: dict[Protocol, Kind] = (
            KINDS if door.grpc_listener else {"http": KINDS["http"]}
        )
        self.kinds = tuple(self._offered.values())

    def _objects(self, route: Route) -> tuple[Json, ...]:
        return tuple(manifest_of(route, self._door, protocol) for protocol in self._offered)

    def _acceptance(self, found: Mapping[str, Any]) -> Told:
        return gateway_acceptance(found, self._door, _protocol(found))

    def _route_of(self, found: Mapping[str, Any]) -> Route:
        return route_of(found, self._door, _protocol(found))

    def _leaks(self, route: Route) -> Iterator[str]:
        for protocol, kind in self._offered.items():
            yield from gateway_leaks(route, self._door, protocol, self._cluster.list(kind, {}))


def _protocol(found: Mapping[str, Any]) -> Protocol:
    return "http" if found["kind"] == HTTP_ROUTE.name else "grpc"
