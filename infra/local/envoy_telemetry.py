"""Counts what the front door saw, by release: requests by Envoy's statistics, sessions by lines.

What Envoy cannot see, empty answers and those by a fallback, comes from the prediction log, which
is read first and tells later: never of more of them than there were requests.

Only inference by weight counts: its clusters are used for nothing else. A REST answer is an error
when its status is not a success, a gRPC answer when its status is not OK. A REST caller who went
away before the answer is not counted; a revision that hangs shows as time-outs of the route's.
What another release answered again is an error of the release that failed first.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from canary.ports import SLOW_LIMITS_MS, ArmCounters, Telemetry
from infra.local.answer_tally import AnswerTally, Told
from infra.local.envoy_admin import EnvoyAdmin
from infra.local.envoy_clusters import INFER, RETRIED
from infra.local.envoy_files import EnvoyFiles
from infra.local.mirrored import MirroredAnswers
from infra.local.session_log import FLUSH_MS, SessionLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canary.ports import Pair
    from registry.workspace import Workspace

_STATISTIC = re.compile(
    r"cluster\.(?P<model>[a-z0-9-]+)/r(?P<release>\d+)"
    rf"/(?P<protocol>http|grpc)/(?P<use>{INFER}|{RETRIED})\.(?P<name>.+)"
)
_TIME = "upstream_rq_time"
_MERGE_S = 0.005
"""The workers hand their histograms over at their next turn."""


_FLUSHED_S = 4 * FLUSH_MS / 1000
"""In which Envoy has written the lines of what it counted, on a busy machine too."""
_POLL_S = 0.01


class EnvoyTelemetry(Telemetry):
    """Counters of one workspace's front door, as of the moment they are read.

    Those of requests start at 0 with Envoy, and again when a stopped release comes back.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._run = workspace.run
        self._files = EnvoyFiles(workspace.run)
        self._lines = SessionLog(self._files.sessions, self._reopen)
        self._mirrored = MirroredAnswers(workspace.predictions)
        self._answers = AnswerTally(workspace.predictions)
        self._requests: dict[str, int] = {}

    def read(self, model: str, slow_ms: int) -> Mapping[int, ArmCounters]:
        """Totals of every release that has a cluster.

        An answer is slow when it took `slow_ms` whole milliseconds or more, counted from the
        request's last byte to the answer's. Raises RetryableEngineError when Envoy does not answer.
        """
        if slow_ms not in SLOW_LIMITS_MS:
            raise ValueError(f"{slow_ms} ms is not one of the router's limits: {SLOW_LIMITS_MS}")
        label = self._epoch(model)
        told = self._answers.read(model, label)
        pattern = rf"^cluster\.{model}/r[0-9]+/(http|grpc)/({INFER}|{RETRIED})\."
        with EnvoyAdmin.connected(self._run) as admin:
            admin.merge_histograms()
            time.sleep(_MERGE_S)
            rows = admin.statistics(rf"{pattern}(upstream_rq_|grpc\.)")
        counted = _by_cluster(rows)
        slow = _slow_by_cluster(rows, slow_ms)
        totals = {
            release: total_of(
                (key[1], counts, slow.get(key, 0))
                for key, counts in counted.items()
                if key[0] == release
            )
            for name, release in self._files.clusters()
            if name == model
        }
        if label:
            totals = self._with_sessions(model, slow_ms, totals, label)
        return {
            release: with_answers(arm, told.get(release, Told())) for release, arm in totals.items()
        }

    def pairs(self, model: str, baseline: int, candidate: int, after: float) -> tuple[Pair, ...]:
        """Mirrored requests whose second record was written since `after`, the oldest first."""
        return self._mirrored.pairs(model, baseline, candidate, after)

    def _epoch(self, model: str) -> str:
        """The label of the route's epoch; empty while nothing is compared."""
        route = self._files.routes().get(model)
        compares = route is not None and route.compares
        return self._files.epochs().get(model, "") if compares else ""

    def _with_sessions(
        self, model: str, slow_ms: int, totals: dict[int, ArmCounters], label: str
    ) -> dict[int, ArmCounters]:
        """The totals, with the sessions of the epoch `label` where they can be told."""
        requests = sum(arm.requests for arm in totals.values())
        news = requests != self._requests.get(model)
        deadline = time.monotonic() + (_FLUSHED_S if news else 0)
        while True:
            tally = self._lines.read().get(model)
            told = tally is not None and tally.epoch == int(label.partition("-")[2])
            if told or time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        self._requests[model] = requests
        if tally is None or not told:
            return totals
        for release, arm in tally.arms().items():
            totals[release] = replace(
                totals.get(release, ArmCounters()),
                sessions=arm.sessions,
                sessions_failed=arm.failed,
                sessions_slow=arm.slow(slow_ms),
            )
        return totals

    def _reopen(self) -> None:
        with EnvoyAdmin.connected(self._run) as admin:
            admin.reopen_logs()


Key = tuple[int, str, str]


def _by_cluster(rows: Iterable[Mapping[str, Any]]) -> dict[Key, dict[str, int]]:
    found: dict[Key, dict[str, int]] = {}
    for row in rows:
        match = _STATISTIC.fullmatch(row.get("name", ""))
        if match and isinstance(row.get("value"), int):
            found.setdefault(_key(match), {})[match["name"]] = row["value"]
    return found


def _slow_by_cluster(rows: Iterable[Mapping[str, Any]], slow_ms: int) -> dict[Key, int]:
    """Envoy times in whole milliseconds; its bins have two digits, so every limit is an edge."""
    found: dict[Key, int] = {}
    details = (row["histograms"].get("details", []) for row in rows if "histograms" in row)
    for histogram in (one for group in details for one in group):
        match = _STATISTIC.fullmatch(histogram.get("name", ""))
        if match and match["name"] == _TIME:
            found[_key(match)] = sum(
                row["count"] for row in histogram["totals"] if row["lower_bound"] >= slow_ms
            )
    return found


def _key(match: re.Match[str]) -> Key:
    return int(match["release"]), match["protocol"], match["use"]


def with_answers(arm: ArmCounters, told: Told) -> ArmCounters:
    """With what the release's program told, of no more requests and sessions than there were."""
    return replace(
        arm,
        empty=min(told.requests["empty"], arm.requests),
        fallbacks=min(told.requests["fallback"], arm.requests),
        sessions_empty=min(told.sessions["empty"], arm.sessions),
        sessions_fallback=min(told.sessions["fallback"], arm.sessions),
    )


def total_of(clusters: Iterable[tuple[str, Mapping[str, int], int]]) -> ArmCounters:
    """Of one release: protocol, counts and late answers of each of its clusters."""
    requests = errors = slow = 0
    for protocol, counts, late in clusters:
        if protocol == "http":
            completed = counts.get("upstream_rq_completed", 0)
            errors += counts.get("upstream_rq_4xx", 0) + counts.get("upstream_rq_5xx", 0)
        else:
            # Answers of Envoy's own, a passed deadline among them, count here like the server's.
            completed = counts.get("grpc.success", 0) + counts.get("grpc.failure", 0)
            errors += counts.get("grpc.failure", 0)
        # Another release saved them; what it failed on too is among the errors already.
        errors += counts.get("upstream_rq_retry_success", 0)
        requests += completed
        slow += min(late, completed)
    return ArmCounters(requests, min(errors, requests), slow)
