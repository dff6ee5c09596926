"""Counts what the front door saw, by release, from Envoy's own statistics.

Only inference by weight counts: its clusters are used for nothing else. A REST answer is an error
when its status is not a success, a gRPC answer when its status is not OK. A REST caller who went
away before the answer is not counted; a revision that hangs shows as time-outs of the route's.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from canary.ports import SLOW_LIMITS_MS, ArmCounters, Telemetry
from infra.local.envoy_admin import EnvoyAdmin
from infra.local.envoy_clusters import INFER, PROTOCOLS
from infra.local.envoy_files import EnvoyFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry.workspace import Workspace

_STATISTIC = re.compile(
    rf"cluster\.(?P<model>[a-z0-9-]+)/r(?P<release>\d+)/(?P<protocol>http|grpc)/{INFER}"
    r"\.(?P<name>.+)"
)
_TIME = "upstream_rq_time"
_MERGE_S = 0.005
"""The workers hand their histograms over at their next turn."""


class EnvoyTelemetry(Telemetry):
    """Counters of one workspace's front door, as of the moment they are read.

    They start at 0 with Envoy, and again when a stopped release comes back.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._run = workspace.run
        self._files = EnvoyFiles(workspace.run)

    def read(self, model: str, slow_ms: int) -> Mapping[int, ArmCounters]:
        """Totals of every release that has a cluster.

        An answer is slow when it took `slow_ms` whole milliseconds or more, counted from the
        request's last byte to the answer's. Raises RetryableEngineError when Envoy does not answer.
        """
        if slow_ms not in SLOW_LIMITS_MS:
            raise ValueError(f"{slow_ms} ms is not one of the router's limits: {SLOW_LIMITS_MS}")
        pattern = rf"^cluster\.{model}/r[0-9]+/(http|grpc)/{INFER}\.(upstream_rq_|grpc\.)"
        with EnvoyAdmin.connected(self._run) as admin:
            admin.merge_histograms()
            time.sleep(_MERGE_S)
            rows = admin.statistics(pattern)
        counted = _by_cluster(rows)
        slow = _slow_by_cluster(rows, slow_ms)
        return {
            release: _total(
                (protocol, counted.get((release, protocol), {}), slow.get((release, protocol), 0))
                for protocol in PROTOCOLS
            )
            for name, release in self._files.clusters()
            if name == model
        }


Key = tuple[int, str]


def _by_cluster(rows: Iterable[Mapping[str, Any]]) -> dict[Key, dict[str, int]]:
    found: dict[Key, dict[str, int]] = {}
    for row in rows:
        match = _STATISTIC.fullmatch(row.get("name", ""))
        if match and isinstance(row.get("value"), int):
            key = int(match["release"]), match["protocol"]
            found.setdefault(key, {})[match["name"]] = row["value"]
    return found


def _slow_by_cluster(rows: Iterable[Mapping[str, Any]], slow_ms: int) -> dict[Key, int]:
    """Envoy times in whole milliseconds; its bins have two digits, so every limit is an edge."""
    found: dict[Key, int] = {}
    details = (row["histograms"].get("details", []) for row in rows if "histograms" in row)
    for histogram in (one for group in details for one in group):
        match = _STATISTIC.fullmatch(histogram.get("name", ""))
        if match and match["name"] == _TIME:
            found[int(match["release"]), match["protocol"]] = sum(
                row["count"] for row in histogram["totals"] if row["lower_bound"] >= slow_ms
            )
    return found


def _total(arms: Iterable[tuple[str, Mapping[str, int], int]]) -> ArmCounters:
    requests = errors = slow = 0
    for protocol, counts, late in arms:
        if protocol == "http":
            completed = counts.get("upstream_rq_completed", 0)
            errors += counts.get("upstream_rq_4xx", 0) + counts.get("upstream_rq_5xx", 0)
        else:
            # Answers of Envoy's own, a passed deadline among them, count here like the server's.
            completed = counts.get("grpc.success", 0) + counts.get("grpc.failure", 0)
            errors += counts.get("grpc.failure", 0)
        requests += completed
        slow += min(late, completed)
    return ArmCounters(requests, min(errors, requests), slow)
