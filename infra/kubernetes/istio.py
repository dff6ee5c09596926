"""Routes by Istio: a VirtualService for each model, and a DestinationRule for each routed release.

Istiod writes no status unless it is told to, so a probe is what confirms a route here. It makes no
Gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.kubernetes.kinds import DESTINATION_RULE, VIRTUAL_SERVICE
from infra.kubernetes.route_istio import destination_rules, route_of, virtual_service
from infra.kubernetes.route_leaks import istio_leaks
from infra.kubernetes.route_objects import labels
from infra.kubernetes.route_status import Told, istio_acceptance
from infra.kubernetes.route_writing import ClusterRouter
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canary.ports import Route
    from infra.kubernetes.cluster import Cluster
    from infra.kubernetes.route_objects import Door, Json
    from infra.kubernetes.route_probe import Probes


class IstioRouter(ClusterRouter):
    """Routes of one namespace, on one ingress Gateway."""

    kinds = (VIRTUAL_SERVICE,)

    def __init__(self, cluster: Cluster, door: Door, *, probes: Probes, **bounds: float) -> None:
        """Raises UserError without a probe: nothing else would tell what proxies do."""
        if not probes:
            raise UserError(
                "Istio tells no status of a route, so nothing would confirm a weight",
                where="[kubernetes] probe",
                remedy="set it to the ingress gateway's address",
            )
        super().__init__(cluster, door, probes=probes, **bounds)

    def _objects(self, route: Route) -> tuple[Json, ...]:
        return (virtual_service(route, self._door),)

    def _prepare(self, route: Route) -> None:
        """A destination comes before the route that names it."""
        for manifest in destination_rules(route, self._door):
            found = self._cluster.get(DESTINATION_RULE, manifest["metadata"]["name"])
            if found is None or found.get("spec") != manifest["spec"]:
                self._cluster.apply(manifest)

    def _tidy(self, route: Route) -> None:
        """And goes after the last one that did."""
        named = {one["metadata"]["name"] for one in destination_rules(route, self._door)}
        for one in self._cluster.list(DESTINATION_RULE, labels(route.model)):
            if one["metadata"]["name"] not in named:
                self._cluster.delete(DESTINATION_RULE, one["metadata"]["name"])

    def _acceptance(self, found: Mapping[str, Any]) -> Told:
        return istio_acceptance(found)

    def _route_of(self, found: Mapping[str, Any]) -> Route:
        return route_of(found, self._door)

    def _leaks(self, route: Route) -> Iterator[str]:
        return istio_leaks(route, self._door, self._cluster.list(VIRTUAL_SERVICE, {}))
