"""The control plane's own metrics for Prometheus: what the journal says, and what is true now.

The journal is read once and then only what is new, so a scrape costs what happened since the one
before. It changes nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from pipelines.metric_answers import AnswerCounts
from pipelines.metric_cost import CostGauges
from pipelines.metric_families import (
    ModelRead,
    gauge,
    of_delivery,
    of_drift,
    of_journal,
    of_releases,
    of_rollouts,
)
from registry.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric as Family

    from pipelines.assembly import Platform


class PlatformCollector:
    """A collector for `prometheus_client`: register it, or call `collect`."""

    def __init__(self, platform: Platform, *, clock: Callable[[], float] = time.time) -> None:
        self._platform = platform
        self._clock = clock
        self._known: dict[str, ModelRead] = {}
        self._answers = AnswerCounts(platform.workspace.predictions, clock())
        self._costs = CostGauges(platform.workspace)

    def collect(self) -> Iterator[Family]:
        """Every metric once. What cannot be asked is left out, and told by `sluice_up`."""
        began = time.perf_counter()
        up = {"journal": 1.0}
        try:
            read = {model: self._read(model) for model in self._platform.journal.models()}
        except EngineError:
            read, up = {}, {"journal": 0.0}
        for families in (of_releases(read), of_rollouts(read), of_drift(read)):
            yield from families
        yield from of_delivery(read, self._clock())
        yield from of_journal(read, self._clock())
        yield from self._answers.families(read, self._clock())
        yield from self._costs.families(read)
        yield from self._of_revisions(read, up)
        yield gauge("sluice_up", "Whether it could be asked.", ("part",), up)
        took = time.perf_counter() - began
        yield GaugeMetricFamily("sluice_scrape_seconds", "Seconds this answer took.", value=took)

    def _read(self, model: str) -> ModelRead:
        known = self._known.setdefault(model, ModelRead.begun(model))
        for entry in self._platform.journal.read(model, known.sequence):
            known.take(entry)
        return known

    def _of_revisions(self, read: dict[str, ModelRead], up: dict[str, float]) -> Iterator[Family]:
        labels = ("model", "release")
        ready = GaugeMetricFamily("sluice_revision_ready", "Whether it may answer.", labels=labels)
        restarts = CounterMetricFamily("sluice_revision_restarts", "Crashes seen.", labels=labels)
        memory = GaugeMetricFamily(
            "sluice_revision_memory_bytes", "Memory that its processes hold.", labels=labels
        )
        up["fleet"] = 1.0
        for model in read:
            try:
                for release in self._platform.fleet.running(model):
                    status = self._platform.fleet.status(model, release)
                    named = (model, str(release))
                    ready.add_metric(named, float(status.state.value == "ready"))
                    restarts.add_metric(named, status.restarts)
                    memory.add_metric(named, status.memory_bytes)
            except EngineError:
                up["fleet"] = 0.0
        yield from (ready, restarts, memory)
