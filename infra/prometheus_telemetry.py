"""Counts what Envoy's front doors saw, by release, from the Prometheus that scrapes them.

Raw samples are read and added up here, never a rate: rates of overlapping windows count a request
twice, and one that is rounded or extrapolated is no count. A front door that restarts begins at 0
again, one that goes keeps what it counted, and one that comes adds to it, so totals never fall.

Samples are late by nature. A read waits for a scrape that began after it was asked, by
Prometheus's own clock, and gives up in words when there is none: what was counted before a change
of weights must not be taken for what came after it. Slow answers come later than their requests by
Envoy's `stats_flush_interval`, at which it merges its histograms, for both arms alike.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from canary.ports import SLOW_LIMITS_MS, ArmCounters, Telemetry
from infra.local.answer_tally import AnswerTally, Told
from infra.local.envoy_clusters import INFER, RETRIED
from infra.local.envoy_telemetry import total_of, with_answers
from infra.local.mirrored import MirroredAnswers
from registry.errors import PermanentEngineError, RetryableEngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import httpx

    from canary.ports import Pair

FRESH_S = 60.0
"""The longest that a read waits for a scrape: four of Prometheus's usual intervals of 15 s."""
_POLL_S = 0.25
_TIMEOUT_S = 5.0
_LIVE = "envoy_server_live"
_CLUSTER = re.compile(
    rf"(?P<model>[a-z0-9-]+)/r(?P<release>\d+)/(?P<protocol>http|grpc)/(?:{INFER}|{RETRIED})"
)
_COUNTS = {
    "envoy_cluster_upstream_rq_completed": "upstream_rq_completed",
    "envoy_cluster_upstream_rq_retry_success": "upstream_rq_retry_success",
    "envoy_cluster_grpc_success": "grpc.success",
    "envoy_cluster_grpc_failure": "grpc.failure",
}
_CLASSES = "envoy_cluster_upstream_rq_xx"
_BUCKETS, _TIMES = "envoy_cluster_upstream_rq_time_bucket", "envoy_cluster_upstream_rq_time_count"

Sample = tuple[float, float]
"""Seconds since 1970, value."""


@dataclass
class RunningTotal:
    """What a counter counted over all of its restarts. Pure; one for each series."""

    total: float = 0.0
    _at: float = field(default=-1.0, repr=False)
    _value: float = field(default=0.0, repr=False)

    def add(self, samples: Iterable[Sample]) -> None:
        """Take raw samples in the order of time; those that were taken before are passed over.

        A value below the one before is a counter that began at 0 again.
        """
        for at, value in samples:
            if at <= self._at:
                continue
            self.total += value - self._value if value >= self._value else value
            self._at, self._value = at, value


class PrometheusTelemetry(Telemetry):
    """Totals of the front doors that the label selector finds, as of a scrape after the question.

    `url` is Prometheus's, `selector` label matchers that part these front doors from others, such
    as `namespace="speech"`. Prometheus knows no sessions, so requests are the unit. What programs
    say of their answers, and pairs, come from the prediction log below `predictions`.
    """

    def __init__(
        self,
        url: str,
        predictions: Path,
        *,
        selector: str = "",
        token: str = "",
        fresh_s: float = FRESH_S,
    ) -> None:
        self._url = url.rstrip("/")
        self._selector = selector
        self._token = token
        self._fresh_s = fresh_s
        self._answers = AnswerTally(predictions)
        self._mirrored = MirroredAnswers(predictions)
        self._totals: dict[tuple[str, ...], RunningTotal] = {}

    def read(self, model: str, slow_ms: int) -> Mapping[int, ArmCounters]:
        """Totals by release, since the first sample that Prometheus keeps within the last minutes.

        Raises RetryableEngineError when Prometheus does not answer or has no scrape in time,
        UserError for a selector that is none, and PermanentEngineError when Envoy's histogram has
        no edge at `slow_ms`.
        """
        if slow_ms not in SLOW_LIMITS_MS:
            raise ValueError(f"{slow_ms} ms is not one of the router's limits: {SLOW_LIMITS_MS}")
        told = self._answers.read(model)
        with self._client() as client:
            self._await_scrape(client)
            series = self._query(
                client, _totals_query(model, slow_ms, self._matchers, self._fresh_s)
            )
        for one in series:
            key = _key(one["metric"])
            samples = [(float(at), float(value)) for at, value in one["values"]]
            self._totals.setdefault(key, RunningTotal()).add(samples)
        arms = _by_release(self._totals, model, slow_ms)
        return {
            release: with_answers(arm, told.get(release, Told())) for release, arm in arms.items()
        }

    def pairs(self, model: str, baseline: int, candidate: int, after: float) -> tuple[Pair, ...]:
        """Mirrored requests that both releases answered since `after`, from the prediction log."""
        return self._mirrored.pairs(model, baseline, candidate, after)

    @property
    def _matchers(self) -> str:
        return f",{self._selector}" if self._selector else ""

    def _client(self) -> httpx.Client:
        import httpx

        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return httpx.Client(timeout=_TIMEOUT_S, headers=headers)

    def _await_scrape(self, client: httpx.Client) -> None:
        """Return when every front door that is scraped was so after now."""
        (asked,) = self._query(client, "vector(time())")
        deadline = time.monotonic() + self._fresh_s
        began = float(asked["value"][1])
        while True:
            found = self._query(client, f"timestamp({_LIVE}{{{self._selector}}})")
            oldest = min((float(one["value"][1]) for one in found), default=None)
            if oldest is not None and oldest >= began:
                return
            if time.monotonic() > deadline:
                raise self._late(oldest, began)
            time.sleep(_POLL_S)

    def _late(self, oldest: float | None, began: float) -> RetryableEngineError:
        if oldest is None:
            what = f"no front door is scraped: {_LIVE}{{{self._selector}}} has no series"
            remedy = "let Prometheus scrape Envoy's /stats/prometheus, or mend the selector"
        else:
            age = f"the oldest is of {began - oldest:.0f} s before"
            what = f"no new scrape of every front door in {self._fresh_s:g} s; {age}"
            remedy = "look at Prometheus's targets; scrape every 5 s"
        return RetryableEngineError(what, where=self._url, remedy=remedy)

    def _query(self, client: httpx.Client, query: str) -> Sequence[Mapping[str, Any]]:
        import httpx

        try:
            answer = client.post(f"{self._url}/api/v1/query", data={"query": query})
            told = answer.json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            reason = f"Prometheus does not answer: {error or type(error).__name__}"
            raise RetryableEngineError(reason, where=self._url) from error
        if told.get("status") == "success":
            series: Sequence[Mapping[str, Any]] = told["data"]["result"]
            return series
        reason = f"Prometheus refuses a query: {told.get('error', answer.status_code)}"
        if told.get("errorType") == "bad_data":
            raise UserError(reason, where="telemetry.selector", remedy="write label matchers")
        raise RetryableEngineError(reason, where=self._url)


def _totals_query(model: str, slow_ms: int, matchers: str, fresh_s: float) -> str:
    """Raw samples of all that is counted of one model, far enough back to see each restart."""
    counted = "|".join([*_COUNTS, _CLASSES, _TIMES, _BUCKETS])
    clusters = f'envoy_cluster_name=~"{model}/r[0-9]+/(http|grpc)/({INFER}|{RETRIED})"'
    # Counters have no edge, and Prometheus 3 writes one as a float.
    edge = f'le=~"({slow_ms}([.]0)?)?"'
    window = max(1, round(4 * fresh_s))
    return f'{{__name__=~"{counted}",{edge},{clusters}{matchers}}}[{window}s]'


def _key(labels: Mapping[str, str]) -> tuple[str, ...]:
    """The series: its cluster and what it counts first, then all that parts it from others."""
    name = labels["__name__"]
    counts = _COUNTS.get(name, name)
    if name == _CLASSES:
        counts = f"upstream_rq_{labels.get('envoy_response_code_class', '')}xx"
    if name == _BUCKETS:
        counts = f"within {float(labels['le']):g}"
    others = (f"{key}={value}" for key, value in sorted(labels.items()) if key != "__name__")
    return labels["envoy_cluster_name"], counts, *others


def _by_release(
    totals: Mapping[tuple[str, ...], RunningTotal], model: str, slow_ms: int
) -> dict[int, ArmCounters]:
    clusters: dict[tuple[int, str, str], dict[str, int]] = {}
    for (cluster, counts, *_), running in totals.items():
        match = _CLUSTER.fullmatch(cluster)
        if match is not None and match["model"] == model:
            key = int(match["release"]), match["protocol"], cluster
            counted = clusters.setdefault(key, {})
            counted[counts] = counted.get(counts, 0) + round(running.total)
    parts: dict[int, list[tuple[str, Mapping[str, int], int]]] = {}
    for (release, protocol, _), counted in clusters.items():
        late = _late_answers(counted, slow_ms)
        parts.setdefault(release, []).append((protocol, counted, late))
    return {release: total_of(found) for release, found in sorted(parts.items())}


def _late_answers(counted: Mapping[str, int], slow_ms: int) -> int:
    timed, within = counted.get(_TIMES, 0), counted.get(f"within {slow_ms}")
    if timed and within is None:
        raise PermanentEngineError(
            f"Envoy's histogram of answer times has no edge at {slow_ms} ms",
            where="upstream_rq_time",
            remedy="set its buckets to those of the plan's limits (histogram_bucket_settings)",
        )
    return timed - (within or 0)
