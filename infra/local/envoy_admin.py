"""Asks the running Envoy over its admin socket: which configuration it uses, what it counted."""

from __future__ import annotations

import http.client
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from infra.local.door_policy import VERIFIED, WITHDRAWN
from infra.local.envoy_bootstrap import STAT_PREFIX
from infra.local.envoy_routes import ROUTE_TABLE
from infra.local.unix_sockets import UnixConnection, socket_path
from registry.errors import RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 2.0


def admin_socket(run: Path) -> Path:
    """Where Envoy's admin interface of `run` listens."""
    return socket_path(run.resolve(), "envoy.sock")


_CLUSTERS, _ROUTES = "cluster_manager.cds", f"http.{STAT_PREFIX}.rds.{ROUTE_TABLE}"
_VERSIONS = (f"{_CLUSTERS}.version_text", f"{_ROUTES}.version_text")
_CALLERS = (
    f"extension_config_discovery.http_filter.{VERIFIED}.version_text",
    f"extension_config_discovery.http_filter.{WITHDRAWN}.version_text",
)
_REJECTIONS = (f"{_CLUSTERS}.update_rejected", f"{_ROUTES}.update_rejected")


@dataclass(frozen=True, slots=True)
class Taken:
    """Versions of the watched files that Envoy uses, empty before it took one."""

    clusters: str = ""
    routes: str = ""


class EnvoyAdmin:
    """One open connection to the admin interface; close it by leaving `connected`."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def connected(cls, run: Path) -> Iterator[EnvoyAdmin]:
        """An interface to ask; RetryableEngineError when Envoy does not answer in time."""
        connection = UnixConnection(admin_socket(run), TIMEOUT_S)
        try:
            yield cls(connection)
        except (OSError, http.client.HTTPException) as error:
            raise RetryableEngineError(
                f"the front door (Envoy) does not answer: {error}",
                where=str(run),
                remedy="run `sluice up`",
            ) from error
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether Envoy has its configuration and accepts connections."""
        return self._get("/ready").strip() == b"LIVE"

    def prometheus(self, pattern: str) -> str:
        """Statistics whose name matches, in Prometheus' text format."""
        return self._get(f"/stats/prometheus?filter={quote(pattern, safe='')}").decode()

    def route_tables(self) -> list[dict[str, Any]]:
        """Each dynamic route table in use: `version_info` and `route_config`."""
        return self._configs("dynamic_route_configs")

    def taken(self) -> Taken:
        """Which of its watched files' versions Envoy uses now."""
        values = self._values("TextReadouts", _VERSIONS)
        return Taken(*(str(values.get(name, "")) for name in _VERSIONS))

    def callers_taken(self) -> tuple[str, str]:
        """Which versions of the callers' and the withdrawn tokens' files Envoy uses now."""
        values = self._values("TextReadouts", _CALLERS)
        first, second = (str(values.get(name, "")) for name in _CALLERS)
        return first, second

    def rejections(self) -> int:
        """How many files Envoy refused since it started."""
        return sum(int(value) for value in self._values("Counters&usedonly", _REJECTIONS).values())

    def merge_histograms(self) -> None:
        """Have Envoy collect its workers' histograms; the next `statistics` shows them."""
        self._get("/stats?filter=^$")

    def reopen_logs(self) -> None:
        """Have Envoy open its log files anew, with its next line."""
        self._get("/reopen_logs", method="POST")

    def statistics(self, pattern: str) -> list[dict[str, Any]]:
        """Statistics whose names match the regular expression `pattern`, by Envoy's JSON."""
        filtered = quote(pattern, safe="^$()|[]")
        query = f"/stats?format=json&histogram_buckets=detailed&filter={filtered}"
        rows: list[dict[str, Any]] = json.loads(self._get(query)).get("stats", [])
        return rows

    def _values(self, kind: str, names: tuple[str, ...]) -> dict[str, Any]:
        """Values by name. Asked by kind: of all statistics it would take three times as long."""
        pattern = quote("|".join(map(re.escape, names)), safe="|")
        rows = json.loads(self._get(f"/stats?format=json&type={kind}&filter={pattern}"))["stats"]
        return {row["name"]: row["value"] for row in rows if row.get("name") in names}

    def _configs(self, resource: str) -> list[dict[str, Any]]:
        reply = json.loads(self._get(f"/config_dump?resource={resource}"))
        configs: list[dict[str, Any]] = reply.get("configs", [])
        return configs

    def _get(self, path: str, *, method: str = "GET") -> bytes:
        self._connection.request(method, path)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200 and not path.startswith("/ready"):
            raise http.client.HTTPException(
                f"status {response.status} for {path.split('?', maxsplit=1)[0]}"
            )
        return body
