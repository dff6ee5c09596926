"""The files that Envoy watches: the route table and the clusters, versioned by their content.

They are the routes' only memory, so an Envoy that was restarted has the same ones. A file's
version is the hash of its content; Envoy tells which one it uses.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from infra.local.envoy_bootstrap import bootstrap
from infra.local.envoy_clusters import revision_clusters, revision_of
from infra.local.envoy_routes import route_table, routes_of
from registry.errors import PermanentEngineError
from registry.files import canonical_json, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from canary.ports import Route
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

    @property
    def bootstrap(self) -> Path:
        """What Envoy starts with."""
        return self._folder / "bootstrap.json"

    def prepare(self, host: str, port: int, admin: Path) -> None:
        """Write the fixed part, and empty tables where there are none yet."""
        for path, resources in ((self._routes, [route_table([])]), (self._clusters, [])):
            if not path.exists():
                _write(path, resources)
        fixed = bootstrap(host, port, admin, self._routes, self._clusters)
        write_atomic(self.bootstrap, canonical_json(fixed), mode=0o600)

    def routes(self) -> dict[str, Route]:
        """The routes that were written last, by model."""
        resources = _read(self._routes)
        return routes_of(resources[0]) if resources else {}

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
        """Replace the route table, `parts` as `route_table` takes them; returns its version."""
        return _write(self._routes, [route_table(routes.values(), parts)])

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
        for share in route.shares:
            key = (route.model, share.release)
            if key not in wanted and key not in known:
                raise PermanentEngineError(
                    f"release {share.release} of {route.model} has no revision to send requests to"
                )
            wanted.setdefault(key, known.get(key, []))
    return wanted


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
    version = sha256(canonical_json(resources)).hexdigest()[:16]
    write_atomic(path, canonical_json({"version_info": version, "resources": resources}))
    return version
