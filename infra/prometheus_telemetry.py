"""Counts what front doors saw, by release, from the Prometheus that scrapes them.

Raw samples are read and added up here, never a rate: rates of overlapping windows count a request
twice, and one that is rounded or extrapolated is no count. A front door that restarts begins at 0
again, one that goes keeps what it counted, and one that comes adds to it, so totals never fall.

Samples are late by nature. A read waits for a scrape that began after it was asked, by
Prometheus's own clock, and gives up in words when there is none: what was counted before a change
of weights must not be taken for what came after it. Slow answers come later than their requests by
Envoy's `stats_flush_interval`, at which it merges its histograms, for both arms alike. What the
counters are called is the dialect's part (`prometheus_dialects`).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from canary.ports import SLOW_LIMITS_MS, ArmCounters, Telemetry
from infra.local.answer_tally import AnswerTally, Told
from infra.local.envoy_telemetry import total_of, with_answers
from infra.local.mirrored import MirroredAnswers
from infra.prometheus_dialects import DIALECTS, TIMED, within
from registry.errors import PermanentEngineError, RetryableEngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import httpx

    from canary.ports import Pair
    from infra.prometheus_dialects import Dialect, DialectName

FRESH_S = 60.0
"""The longest that a read waits for a scrape: four of Prometheus's usual intervals of 15 s."""
_POLL_S = 0.25
_TIMEOUT_S = 5.0
_LIVE = "envoy_server_live"
"""What every proxy has, of whichever dialect."""

Sample = tuple[float, float]
"""Seconds since 1970, value."""
Series = frozenset[tuple[str, str]]
"""A series' labels."""


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
    as `namespace="speech"`, `dialect` what kind of proxy they are. Prometheus knows no sessions, so
    requests are the unit. What programs say of their answers, and pairs, come from the prediction
    log below `predictions`.
    """

    def __init__(
        self,
        url: str,
        predictions: Path,
        *,
        selector: str = "",
        token: str = "",
        fresh_s: float = FRESH_S,
        dialect: DialectName = "sluice",
    ) -> None:
        self._url = url.rstrip("/")
        self._selector = selector
        self._token = token
        self._fresh_s = fresh_s
        self._dialect: Dialect = DIALECTS[dialect]
        self._answers = AnswerTally(predictions)
        self._mirrored = MirroredAnswers(predictions)
        self._totals: dict[Series, RunningTotal] = {}

    def read(self, model: str, slow_ms: int) -> Mapping[int, ArmCounters]:
        """Totals by release, since the first sample that Prometheus keeps within the last minutes.

        Raises RetryableEngineError when Prometheus does not answer or has no scrape in time,
        UserError for a selector that is none, and PermanentEngineError when the proxies' histogram
        has no edge at `slow_ms`.
        """
        if slow_ms not in SLOW_LIMITS_MS:
            raise ValueError(f"{slow_ms} ms is not one of the router's limits: {SLOW_LIMITS_MS}")
        told = self._answers.read(model)
        with self._client() as client:
            self._await_scrape(client)
            series = self._query(client, self._totals_query(model, slow_ms))
        for one in series:
            key = frozenset(one["metric"].items())
            samples = [(float(at), float(value)) for at, value in one["values"]]
            self._totals.setdefault(key, RunningTotal()).add(samples)
        arms = _by_release(self._totals, model, slow_ms, self._dialect)
        return {
            release: with_answers(arm, told.get(release, Told())) for release, arm in arms.items()
        }

    def pairs(self, model: str, baseline: int, candidate: int, after: float) -> tuple[Pair, ...]:
        """Mirrored requests that both releases answered since `after`, from the prediction log."""
        return self._mirrored.pairs(model, baseline, candidate, after)

    def _totals_query(self, model: str, slow_ms: int) -> str:
        """Raw samples of all that is counted of one model, far enough back to see each restart."""
        # Counters have no edge, and Prometheus 3 writes one as a float.
        edge = f'le=~"({slow_ms}([.]0)?)?"'
        chosen = f",{self._selector}" if self._selector else ""
        window = max(1, round(4 * self._fresh_s))
        return f"{{{self._dialect.matchers(model)},{edge}{chosen}}}[{window}s]"

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


def _by_release(
    totals: Mapping[Series, RunningTotal], model: str, slow_ms: int, dialect: Dialect
) -> dict[int, ArmCounters]:
    clusters: dict[tuple[int, str, str], dict[str, int]] = {}
    for series, running in totals.items():
        told = dialect.counted(model, dict(series))
        if told is not None:
            counted = clusters.setdefault((told.release, told.protocol, told.cluster), {})
            for what in told.what:
                counted[what] = counted.get(what, 0) + round(running.total)
    parts: dict[int, list[tuple[str, Mapping[str, int], int]]] = {}
    for (release, protocol, _), counted in clusters.items():
        late = _late_answers(counted, slow_ms, dialect)
        parts.setdefault(release, []).append((protocol, counted, late))
    return {release: total_of(found) for release, found in sorted(parts.items())}


def _late_answers(counted: Mapping[str, int], slow_ms: int, dialect: Dialect) -> int:
    timed, fast = counted.get(TIMED, 0), counted.get(within(slow_ms))
    if timed and fast is None:
        raise PermanentEngineError(
            f"the histogram of answer times has no edge at {slow_ms} ms",
            where="the proxies' metrics",
            remedy=dialect.edges,
        )
    return timed - (fast or 0)
