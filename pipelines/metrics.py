"""The control plane's own metrics for Prometheus: what the journal says, and what is true now.

The journal is read once and then only what is new, so a scrape costs what happened since the one
before. It changes nothing.
"""

from __future__ import annotations

import threading
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
from registry.names import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric as Family

    from pipelines.assembly import Platform
    from registry.journal import Entry

_FEW, _PAGE = 200, 5000
"""Entries of one model: what is read together with other models', and what is held at a time."""


class PlatformCollector:
    """A collector for `prometheus_client`: register it, or call `collect`.

    Scrapes that come at once are answered one after the other: each counts what is new.
    """

    def __init__(self, platform: Platform, *, clock: Callable[[], float] = time.time) -> None:
        self._platform = platform
        self._clock = clock
        self._known: dict[str, ModelRead] = {}
        self._alone = threading.Lock()
        self._answers = AnswerCounts(platform.workspace.predictions, clock())
        self._costs = CostGauges(platform.workspace)

    def collect(self) -> Iterator[Family]:
        """Every metric once. What cannot be asked is left out, and told by `sluice_up`."""
        with self._alone:
            yield from list(self._families())

    def catch_up(self) -> None:
        """Read what the journal has so far, so that the first scrape need not.

        Raises EngineError when it cannot be read.
        """
        with self._alone:
            self._read()

    def _families(self) -> Iterator[Family]:
        began = time.perf_counter()
        up = {"journal": 1.0}
        try:
            read = self._read()
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

    def _read(self) -> dict[str, ModelRead]:
        """All models, with what is new: few entries of many models at once, many page by page."""
        journal = self._platform.journal
        heads = {model: head for model, (head, _) in journal.heads().items() if model != WORKSPACE}
        for model in heads:
            self._known.setdefault(model, ModelRead.begun(model))
        behind = {
            model: one.sequence
            for model, one in self._known.items()
            if one.sequence < heads.get(model, 0)
        }
        few = {model: mark for model, mark in behind.items() if heads[model] - mark <= _FEW}
        for model, entries in journal.read_after(few):
            self._take(model, entries)
        for model in behind.keys() - few.keys():
            while page := journal.read(model, self._known[model].sequence, limit=_PAGE):
                self._take(model, page)
        return {model: self._known[model] for model in sorted(heads)}

    def _take(self, model: str, entries: Iterable[Entry]) -> None:
        self._known[model].take([self._platform.counted(entry) for entry in entries])

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
