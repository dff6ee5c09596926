"""What answers cost, as metrics: of releases that get traffic, under the workspace's prices now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily

from pipelines.cost import measured, price_here
from registry.errors import SluiceError
from validation.order_statistics import quantile_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric as Family

    from pipelines.metric_families import ModelRead
    from registry.workspace import Workspace

TAIL = 0.025
_LABELS = ("model", "release", "currency")


class CostGauges:
    """Reads each release's report once; the price is the one of when the exporter began."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._found: dict[str, tuple[float, float]] = {}
        """By report: requests a second, and seconds of sound in a request."""

    def families(self, read: dict[str, ModelRead]) -> Iterator[Family]:
        """Empty families without a price."""
        hour = GaugeMetricFamily(
            "sluice_cost_per_hour", "The price of an hour.", labels=("device", "currency")
        )
        request = GaugeMetricFamily(
            "sluice_cost_per_request", "With full batches, no hour idle.", labels=_LABELS
        )
        minute = GaugeMetricFamily(
            "sluice_cost_per_audio_minute", "With full batches, no hour idle.", labels=_LABELS
        )
        try:
            price = price_here(self._workspace)
        except SluiceError:
            price = None
        if price is not None:
            hour.add_metric((price.name, price.currency), price.hourly)
            for labels, rps, seconds in self._routed(read):
                named = (*labels, price.currency)
                request.add_metric(named, price.hourly / 3600 / rps)
                if seconds:
                    minute.add_metric(named, price.hourly / seconds / 60 / rps)
        yield from (hour, request, minute)

    def _routed(self, read: dict[str, ModelRead]) -> Iterator[tuple[tuple[str, str], float, float]]:
        for model, one in read.items():
            for share in one.serving.route or ():
                record = one.catalog.releases.get(share.release)
                rps, seconds = self._measured(record.body["report_digest"]) if record else (0, 0)
                if rps:
                    yield (model, str(share.release)), rps, seconds

    def _measured(self, digest: str) -> tuple[float, float]:
        if digest not in self._found:
            found = measured(self._workspace, digest)
            # As a report counts it, so that both tell the same sum.
            rounds = found.throughput_rps if found else ()
            rps = quantile_interval(rounds, 0.5, TAIL).value if rounds else 0.0
            seconds = sum(found.audio_s) / len(found.audio_s) if found and found.audio_s else 0.0
            self._found[digest] = (rps, seconds)
        return self._found[digest]
