"""The files that Envoy watches: the route table and the clusters, versioned by their content.

They are the routes' only memory, so an Envoy that was restarted has the same ones. A file's
version is the hash of its content; Envoy tells which one it uses.
"""

from __future__ import annotations

import json
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from infra.local.envoy_bootstrap import Watched, bootstrap
from infra.local.envoy_clusters import (
    is_composite,
    retried_clusters,
    revision_clusters,
    revision_of,
)
from infra.local.envoy_routes import epochs_of, route_table, routes_of
from infra.local.session_log import live_log
from registry.errors import PermanentEngineError
from registry.files import canonical_json, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from canary.ports import Route
    from infra.local.door_policy import DoorPolicy
    from infra.local.request_tracing import RequestTracing
    from infra.local.triton import Endpoints

Revision = tuple[str, int]
Clusters = dict[Revision, list[dict[str, Any]]]


class EnvoyFiles:
    """Envoy's files below one `run` folder."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "envoy"
        # Each alone in its folder, because Envoy reads a file again on any rename beside it.
        self._routes = self._folder / "routes" / "routes.json"
        self._clusters = self._folder / "clusters" / "clusters.json"
        self._callers = self._folder / "callers" / "callers.json"
        self._withdrawn = self._folder / "withdrawn" / "withdrawn.json"

    @property
    def bootstrap(self) -> Path:
        """What Envoy starts with."""
        return self._folder / "bootstrap.json"

    @property
    def sessions(self) -> Path:
        """Folder of the lines about compared sessions."""
        return self._folder / "sessions"

    def prepare(
        self,
        host: str,
        port: int,
        admin: Path,
        policy: DoorPolicy,
        tracing: RequestTracing | None = None,
    ) -> None:
        """Write the fixed part, and empty tables where there are none yet.

        Where tokens are asked for, `write_callers` comes first.
        """
        for path, resources in ((self._routes, [route_table([])]), (self._clusters, [])):
            if not path.exists():
                _write(path, resources)
        self.sessions.mkdir(parents=True, exist_ok=True)
        watched = Watched(self._routes, self._clusters, self._callers, self._withdrawn)
        sessions = live_log(self.sessions)
        fixed = bootstrap(host, port, admin, watched, sessions, policy, tracing)
        write_atomic(self.bootstrap, canonical_json(fixed), mode=0o600)

    def write_callers(self, verified: dict[str, Any], withdrawn: dict[str, Any]) -> tuple[str, str]:
        """Replace who may ask and which tokens are withdrawn; returns both files' versions."""
        return _write(self._callers, [verified]), _write(self._withdrawn, [withdrawn])

    def routes(self) -> dict[str, Route]:
        """The routes that were written last, by model."""
        resources = _read(self._routes)
        return routes_of(resources[0]) if resources else {}

    def epochs(self) -> dict[str, str]:
        """By model, the numbers of its comparison and of its weights' last change."""
        resources = _read(self._routes)
        return epochs_of(resources[0]) if resources else {}

    def clusters(self) -> Clusters:
        """The clusters that were written last, by revision."""
        found: Clusters = {}
        for cluster in _read(self._clusters):
            found.setdefault(revision_of(cluster["name"]), []).append(cluster)
        return found

    def routes_version(self) -> str:
        """Version of the route table on disk; empty without one."""
        return _version_on_disk(self._routes)

    def clusters_version(self) -> str:
        """Version of the cluster file on disk; empty without one."""
        return _version_on_disk(self._clusters)

    def write_routes(self, routes: Mapping[str, Route], parts: Mapping[str, frozenset[str]]) -> str:
        """Replace the route table, `parts` as `route_table` takes them; returns its version.

        A model whose shares change begins a new epoch, whose number no earlier one had.
        """
        table = next(iter(_read(self._routes)), {})
        before, known = routes_of(table), epochs_of(table)
        epochs = {
            model: _epoch(before.get(model), known.get(model, ""), route)
            for model, route in routes.items()
        }
        return _write(self._routes, [route_table(routes.values(), parts, epochs)])

    def write_clusters(self, clusters: Clusters) -> str:
        """Replace the cluster file; returns its version."""
        return _write(self._clusters, [one for key in sorted(clusters) for one in clusters[key]])


def wanted_clusters(
    routes: Mapping[str, Route], records: Mapping[Revision, Endpoints], known: Clusters
) -> Clusters:
    """The clusters that `routes` and the running revisions need.

    A revision that is routed to but stopped keeps the cluster it had. Raises PermanentEngineError
    when it never had one.
    """
    wanted = {key: revision_clusters(*key, endpoints) for key, endpoints in records.items()}
    for route in routes.values():
        for release in _named(route):
            key = (route.model, release)
            if key not in wanted and key not in known:
                raise PermanentEngineError(
                    f"release {release} of {route.model} has no revision to send requests to"
                )
            kept = [cluster for cluster in known.get(key, []) if not is_composite(cluster)]
            wanted.setdefault(key, kept)
        for share in route.shares:
            if route.retry_to not in {None, share.release}:
                again = retried_clusters(route.model, share.release, route.retry_to)
                wanted[route.model, share.release] += again
    return wanted


def joined(known: Clusters, wanted: Clusters) -> Clusters:
    """The clusters of both, as `wanted` has them where both do."""
    merged = {key: {one["name"]: one for one in clusters} for key, clusters in known.items()}
    for key, clusters in wanted.items():
        merged.setdefault(key, {}).update({one["name"]: one for one in clusters})
    return {key: list(clusters.values()) for key, clusters in merged.items()}


def _epoch(before: Route | None, known: str, route: Route) -> str:
    """`known` while the shares stay; else a later one, of the same comparison if it goes on."""
    if before is not None and known and before.shares == route.shares:
        return known
    series, _, number = known.partition("-")
    following = max(int(number or 0) + 1, time.time_ns() // 1_000_000)
    goes_on = before is not None and before.compares and route.compares and known
    return f"{series if goes_on else following}-{following}"


def _named(route: Route) -> tuple[int, ...]:
    """Every release that a route may send a request to."""
    releases = [share.release for share in route.shares]
    releases += [route.mirror.release] if route.mirror else []
    releases += [route.retry_to] if route.retry_to is not None else []
    return tuple(dict.fromkeys(releases))


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        resources: list[dict[str, Any]] = json.loads(path.read_bytes())["resources"]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError) as error:
        raise PermanentEngineError(
            f"is not one of Envoy's files: {error}",
            where=str(path),
            remedy="remove it, then run `sluice up` and write the routes again",
        ) from error
    return resources


def _version_on_disk(path: Path) -> str:
    try:
        return str(json.loads(path.read_bytes())["version_info"])
    except FileNotFoundError:
        return ""


def _write(path: Path, resources: list[dict[str, Any]]) -> str:
    content = canonical_json(resources)
    version = sha256(content).hexdigest()[:16]
    write_atomic(path, b'{"resources":%b,"version_info":"%b"}' % (content, version.encode()))
    return version
