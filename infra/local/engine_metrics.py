"""The engines' own metrics of this machine, under their own names: one address for Prometheus.

Triton's ports here are free ones and Envoy's administration is a socket, so nobody else could
scrape them. Only what rules and dashboards use is handed on; nothing is computed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from prometheus_client.core import Metric

from infra.local.envoy_admin import EnvoyAdmin
from infra.local.envoy_clusters import INFER, RETRIED
from infra.local.ports import LOOPBACK
from infra.local.revisions import RevisionRecords
from registry.errors import RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from registry.workspace import Workspace

TRITON_METRICS = (
    "nv_cache_num_hits",
    "nv_cache_num_misses",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_pending_request_count",
    "nv_inference_queue_duration_us",
    "nv_inference_request_duration_us",
    "nv_inference_request_failure",
    "nv_inference_request_success",
)
ENVOY_METRICS = (
    "envoy_cluster_grpc_failure",
    "envoy_cluster_grpc_success",
    "envoy_cluster_upstream_rq_completed",
    "envoy_cluster_upstream_rq_time",
    "envoy_cluster_upstream_rq_xx",
)
_SAMPLE = re.compile(r"(?P<name>[a-z0-9_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ENDINGS = re.compile(r"_(?:bucket|sum|count)$")
_TIMEOUT_S = 1.0


def engine_metrics(workspace: Workspace) -> Iterator[Metric]:
    """What every revision and the front door tell now; one that does not answer is left out."""
    families = {name: Metric(name, "The engine's own.", "unknown") for name in _NAMES}
    for (model, release), endpoints in RevisionRecords(workspace.run).all().items():
        own = {"model": model, "version": str(release)}
        _take(families, _triton(endpoints.metrics), own)
    _take(families, _envoy(workspace), {})
    yield from families.values()


_NAMES = (*TRITON_METRICS, *ENVOY_METRICS)


def _take(families: dict[str, Metric], lines: Iterable[str], own: dict[str, str]) -> None:
    for line in lines:
        match = _SAMPLE.match(line)
        if match is None:
            continue
        name = match["name"]
        family = families.get(name) or families.get(_ENDINGS.sub("", name))
        if family is not None:
            labels = dict(_LABEL.findall(match["labels"] or ""))
            family.add_sample(name, own | labels, float(match["value"]))


def _triton(port: int) -> list[str]:
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(f"http://{LOOPBACK}:{port}/metrics", timeout=_TIMEOUT_S) as answer:
            return list(answer.read().decode().splitlines())
    except (URLError, OSError):
        return []


def _envoy(workspace: Workspace) -> list[str]:
    """Clusters that take traffic by weight; probes and copies are nobody's traffic."""
    counted = rf"^cluster\..+/({INFER}|{RETRIED})\.(upstream_rq_|grpc\.)"
    try:
        with EnvoyAdmin.connected(workspace.run) as admin:
            return admin.prometheus(counted).splitlines()
    except RetryableEngineError:
        return []
